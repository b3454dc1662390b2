"""Follow a training run checkpoint by checkpoint: the same as 'centaurlab trajectory'.

Started with 'accelerate launch' on several processes; --help shows options and examples.
"""

from centaurlab.cli.commands import find_command

if __name__ == "__main__":
    find_command("trajectory").main()
