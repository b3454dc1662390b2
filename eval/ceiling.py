"""How predictable people are: the same as 'centaurlab ceiling'.

Needs no GPU; --help shows options and examples.
"""

from centaurlab.cli.commands import find_command

if __name__ == "__main__":
    find_command("ceiling").main()
