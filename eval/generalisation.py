"""Judge an adapter on people and studies it was not trained on: the same as 'centaurlab generalisation'.

Started with 'accelerate launch' on several processes; --help shows options and examples.
"""

from centaurlab.cli.commands import find_command

if __name__ == "__main__":
    find_command("generalisation").main()
