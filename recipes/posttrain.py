"""Post-train a base model into an assistant: the same as 'centaurlab posttrain'.

Started with 'accelerate launch'; --help shows options and examples.
"""

from centaurlab.cli.commands import find_command

if __name__ == "__main__":
    find_command("posttrain").main()
