"""Why one model predicts people's choices worse than another: the same as 'centaurlab diagnosis'.

Started with 'accelerate launch' on several processes; --help shows options and examples.
"""

from centaurlab.cli.commands import find_command

if __name__ == "__main__":
    find_command("diagnosis").main()
