"""Let a model act: the same as 'centaurlab simulate', for 'accelerate launch eval/simulate.py'.

Started with 'accelerate launch' on several processes; --help shows options and examples.
"""

from centaurlab.cli.commands import find_command

if __name__ == "__main__":
    find_command("simulate").main()
