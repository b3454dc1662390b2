"""Models between a base and its post-trained version: the same as 'centaurlab interpolate'.

--help shows options and examples.
"""

from centaurlab.cli.commands import find_command

if __name__ == "__main__":
    find_command("interpolate").main()
