"""Where tables are printed: as wide as the terminal, and in a pipe or a file wide enough that nothing is folded."""

from rich.console import Console

_WIDTH_ELSEWHERE = 160


def console() -> Console:
    """A console for standard output."""
    found = Console()
    return found if found.is_terminal else Console(width=_WIDTH_ELSEWHERE)
