"""Models by human-likeness and assistant accuracy: the same as 'centaurlab frontier'.

Started with 'accelerate launch' on several processes; --help shows options and examples.
"""

from centaurlab.cli.commands import find_command

if __name__ == "__main__":
    find_command("frontier").main()
