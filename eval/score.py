"""Score human responses: the same as 'centaurlab score', for 'accelerate launch eval/score.py'.

Started with 'accelerate launch' on several processes; --help shows options and examples.
"""

from centaurlab.cli.commands import find_command

if __name__ == "__main__":
    find_command("score").main()
