"""Sessions in a model's chat template against plain text: the same as 'centaurlab templates'.

Started with 'accelerate launch' on several processes; --help shows options and examples.
"""

from centaurlab.cli.commands import find_command

if __name__ == "__main__":
    find_command("templates").main()
