"""Train a Centaur, a LoRA adapter on human responses: the same as 'centaurlab train'.

Started with 'accelerate launch'; --help shows options and examples.
"""

from centaurlab.cli.commands import find_command

if __name__ == "__main__":
    find_command("train").main()
