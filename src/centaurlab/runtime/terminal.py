"""Where tables and text are printed: as wide as the terminal, and in a pipe or a file so that nothing is folded."""

from rich.console import Console
from rich.text import Text

from centaurlab.runtime.names import shown

_WIDTH_ELSEWHERE = 160


class _Console(Console):
    """Leaves it to the command how it ends where nobody reads its output."""

    def on_broken_pipe(self) -> None:
        """As ``print`` does, where Rich would end the process."""
        raise BrokenPipeError


def console(is_error: bool = False) -> Console:
    """A console for standard output, or standard error."""
    found = _Console(stderr=is_error)
    return found if found.is_terminal else _Console(stderr=is_error, width=_WIDTH_ELSEWHERE)


def say(text: str, style: str = "", is_error: bool = False) -> None:
    """Print a sentence as it is, without markup, highlighting or line breaks of our own; control characters shown.

    Whatever holds a name of somebody else's (study, person, model, file, what a library says) is printed by this.
    """
    console(is_error).print(Text(shown(text), style), soft_wrap=True)
