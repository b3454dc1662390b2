"""Does it help a model to know who the participant is: the same as 'centaurlab personas'.

Started with 'accelerate launch' on several processes; --help shows options and examples.
"""

from centaurlab.cli.commands import find_command

if __name__ == "__main__":
    find_command("personas").main()
