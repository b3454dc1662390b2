"""How many people realign a model: the same as 'centaurlab realignment'.

Started with 'accelerate launch' on several processes; --help shows options and examples.
"""

from centaurlab.cli.commands import find_command

if __name__ == "__main__":
    find_command("realignment").main()
