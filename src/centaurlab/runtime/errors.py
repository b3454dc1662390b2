"""The one error a user can cause, and the exit code it ends in.

Everything a user can get wrong (a file, a line, a name, a setting) raises ``UserError`` with one sentence that
says where and what to do. Anything else is a bug of ours and keeps its traceback.
"""

import sys
import textwrap
from collections.abc import Callable

from centaurlab.runtime.names import shown
from centaurlab.runtime.secrets import mask_secrets

_WORDLESS = (LookupError, TypeError, AttributeError, NameError, ArithmeticError, AssertionError, RecursionError)

EXIT_INCOMPLETE, EXIT_USER_ERROR = 1, 2


class UserError(Exception):
    """A mistake in input or settings: the message names the place and the remedy."""

    exit_code = EXIT_USER_ERROR

    def __str__(self) -> str:
        """On one line, whatever separators the names of files and participants hold."""
        return " ".join(super().__str__().splitlines())


class IncompleteError(UserError):
    """All that could be done is done and written, but something is missing: the message says what."""

    exit_code = EXIT_INCOMPLETE


def exit_on_user_error(main: Callable[[], None]) -> None:
    """Run a script's ``main``; print a ``UserError`` as one line on stderr and exit with its code."""
    try:
        main()
    except UserError as error:
        print(f"error: {shown(mask_secrets(str(error)))}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print("interrupted: what is done is saved, the same command continues", file=sys.stderr)
        sys.exit(130)


def one_line(error: BaseException, width: int = 300) -> str:
    """What a library says of an error, to be part of a sentence."""
    return textwrap.shorten(str(error) or type(error).__name__, width, placeholder=" …")


def failure(error: BaseException) -> str:
    """What a library says of a stranger's file, with the kind of error where its words alone say nothing.

    Examples
    --------
    >>> failure(KeyError("rope_type")), failure(ValueError("no such file"))
    ("KeyError: 'rope_type'", 'no such file')
    """
    said = one_line(error)
    return f"{type(error).__name__}: {said}" if isinstance(error, _WORDLESS) and str(error) else said
