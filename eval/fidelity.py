"""Simulated behaviour against people's: the same as 'centaurlab fidelity'.

It needs no model; --help shows options and examples.
"""

from centaurlab.cli.commands import find_command

if __name__ == "__main__":
    find_command("fidelity").main()
