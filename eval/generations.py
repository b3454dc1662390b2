"""Whole families of models by size and generation: the same as 'centaurlab generations'.

Started with 'accelerate launch' on several processes; --help shows options and examples.
"""

from centaurlab.cli.commands import find_command

if __name__ == "__main__":
    find_command("generations").main()
