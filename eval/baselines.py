"""Predict people without a language model: the same as 'centaurlab baselines'.

Needs no GPU; --help shows options and examples.
"""

from centaurlab.cli.commands import find_command

if __name__ == "__main__":
    find_command("baselines").main()
