"""Run a W&B sweep file on this machine, without a server: the same as 'centaurlab sweep'.

--help shows options and examples.
"""

from centaurlab.cli.commands import find_command

if __name__ == "__main__":
    find_command("sweep").main()
