"""Where tables and text are printed: as wide as the terminal, and in a pipe or a file so that nothing is folded."""

from rich.console import Console
from rich.text import Text

from centaurlab.runtime.names import shown

_WIDTH_ELSEWHERE = 160


def console() -> Console:
    """A console for standard output."""
    found = Console()
    return found if found.is_terminal else Console(width=_WIDTH_ELSEWHERE)


def say(text: str, style: str = "") -> None:
    """Print a sentence as it is, without markup, highlighting or line breaks of our own."""
    console().print(Text(shown(text), style), soft_wrap=True)
