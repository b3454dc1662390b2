"""Where text and tables are printed, and how a name looks there: as it is, whatever it holds.

A console is as wide as the terminal, and in a pipe or a file wide enough that nothing is folded.
"""

import re

from rich.console import Console
from rich.text import Text

_WIDTH_ELSEWHERE = 160

_INVISIBLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff]")
"""What moves the cursor, ends a line, turns the direction of writing round, or cannot be encoded."""


def console() -> Console:
    """A console for standard output."""
    found = Console()
    return found if found.is_terminal else Console(width=_WIDTH_ELSEWHERE)


def shown(name: str) -> str:
    """``name`` as it may be printed anywhere: its control characters are written out, all else is as it is.

    Examples
    --------
    >>> shown("[bold]\\x1b[31mred")
    '[bold]\\\\x1b[31mred'
    """
    return _INVISIBLE.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), name)


def say(text: str, style: str = "") -> None:
    """Print a sentence as it is, without markup, highlighting or line breaks of our own."""
    console().print(Text(shown(text), style), soft_wrap=True)
