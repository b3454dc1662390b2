"""Merge an adapter into its base model: the same as 'centaurlab merge'.

--help shows options and examples.
"""

from centaurlab.cli.commands import find_command

if __name__ == "__main__":
    find_command("merge").main()
