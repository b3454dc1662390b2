"""One command: the options it takes, in groups that are declared once, and what it does with them."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from centaurlab.runtime.arguments import parse_arguments
from centaurlab.runtime.errors import exit_on_user_error
from centaurlab.runtime.processes import leave_group

_HELP = ("-h", "--help")
_HELP_ALL = ("--help_all", "--help-all")


@dataclass(frozen=True)
class Command:
    """``description``: the text of ``--help``, with examples; ``run`` gets an instance of each of ``arguments``.

    The module that defines a command imports no torch, so that ``--help`` answers at once; ``run`` does. Where options
    come from a library that takes seconds to import, ``arguments`` are those that ``--help`` shows, and
    ``all_arguments`` gives what is parsed, and shown by ``--help_all``.
    """

    description: str
    arguments: tuple[type[Any], ...]
    run: Callable[..., None]
    all_arguments: Callable[[], tuple[type[Any], ...]] | None = None

    def main(self, argv: Sequence[str] | None = None, prog: str | None = None) -> None:
        """Parse ``argv`` (default: the command line) and run; a user's mistake ends in a sentence and exit code 2."""
        exit_on_user_error(lambda: self._main(list(sys.argv[1:] if argv is None else argv), prog))

    def _main(self, argv: list[str], prog: str | None) -> None:
        kinds = self.arguments
        if self.all_arguments and not set(_HELP) & set(argv):
            kinds = self.all_arguments()
            argv = ["--help" if word in _HELP_ALL else word for word in argv]
        self.run(*parse_arguments(kinds, self.description, argv, prog))
        leave_group()
