"""What --precision would have saved: the same as 'centaurlab precision'.

--help shows options and examples.
"""

from centaurlab.cli.commands import find_command

if __name__ == "__main__":
    find_command("precision").main()
