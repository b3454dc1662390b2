"""Compare how well models predict people: the same as 'centaurlab misalignment'.

Started with 'accelerate launch' on several processes; --help shows options and examples.
"""

from centaurlab.cli.commands import find_command

if __name__ == "__main__":
    find_command("misalignment").main()
