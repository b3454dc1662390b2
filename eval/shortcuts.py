"""Whether it is the task that models make use of: the same as 'centaurlab shortcuts'.

Started with 'accelerate launch' on several processes; --help shows options and examples.
"""

from centaurlab.cli.commands import find_command

if __name__ == "__main__":
    find_command("shortcuts").main()
