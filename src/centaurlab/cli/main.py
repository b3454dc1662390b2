"""The command ``centaurlab``: finds the command that is meant, and hands it its arguments.

Every command imports what it needs when it runs, so that ``--help`` answers at once.
"""

import difflib
import os
import sys
from collections.abc import Sequence

from centaurlab import __version__
from centaurlab.cli.commands import COMMANDS, GROUPS, find_command
from centaurlab.runtime.errors import UserError, exit_on_user_error

_ABOUT = """usage: centaurlab COMMAND [options]

How human-like are language models, and what does post-training do to it?
"""
_FOOT = """'centaurlab COMMAND --help' shows options and examples.
On several processes: accelerate launch -m centaurlab COMMAND …"""


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line; a user's mistake ends in one line on stderr and exit code 2."""
    if "_ARGCOMPLETE" in os.environ:  # a shell asks what could come next
        from centaurlab.cli.completion import complete

        complete()
    exit_on_user_error(lambda: _run(list(sys.argv[1:] if argv is None else argv)))


def _run(argv: list[str]) -> None:
    if not argv or argv[0] in ("-h", "--help"):
        print(_overview())
        return
    if argv[0] == "--version":
        print(f"centaurlab {__version__}")
        return
    name, rest = split(argv)
    find_command(name).main(rest, prog=f"centaurlab {name}")


def split(argv: Sequence[str]) -> tuple[str, list[str]]:
    """The command of a command line, of one word or two, and what follows it; ``UserError`` where there is none."""
    for n_words in (2, 1):
        name = " ".join(argv[:n_words])
        if name in COMMANDS:
            return name, list(argv[n_words:])
    below = [name for name in COMMANDS if name.split()[0] == argv[0]]
    if below:
        raise UserError(f"centaurlab {argv[0]} is followed by {' or '.join(name.split()[1] for name in below)}")
    close = difflib.get_close_matches(argv[0], COMMANDS, n=1)
    meant = f"did you mean '{close[0]}'?" if close else "'centaurlab --help' lists them"
    raise UserError(f"there is no command {argv[0]!r}; {meant}")


def _overview() -> str:
    width = max(map(len, COMMANDS)) + 2
    lines = [_ABOUT]
    for heading, commands in GROUPS.items():
        lines += [f"{heading}:", *(f"  {name:{width}}{line}" for name, (_, line) in commands.items()), ""]
    return "\n".join([*lines, _FOOT])


if __name__ == "__main__":
    main()
