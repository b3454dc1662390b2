"""Time scoring or training against a plain loop: the same as 'centaurlab benchmark'.

Started with 'accelerate launch' on several processes; --help shows options and examples.
"""

from centaurlab.cli.commands import find_command

if __name__ == "__main__":
    find_command("benchmark").main()
