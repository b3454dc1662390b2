"""Published effects where models took part: the same as 'centaurlab effects'.

It needs no model; --help shows options and examples.
"""

from centaurlab.cli.commands import find_command

if __name__ == "__main__":
    find_command("effects").main()
