"""The one error a user can cause, and the exit code it ends in.

Everything a user can get wrong (a file, a line, a name, a setting) raises ``UserError`` with one sentence that
says where and what to do. Anything else is a bug of ours and keeps its traceback.
"""

import _thread
import errno
import os
import select
import signal
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import FrameType
from typing import NoReturn, TextIO

from centaurlab.runtime.names import shown
from centaurlab.runtime.secrets import mask_secrets

_WORDLESS = (LookupError, TypeError, AttributeError, NameError, ArithmeticError, AssertionError, RecursionError)

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FULL_IN_WORDS = (
    *("No space left on device", "(os error 28)", "PytorchStreamWriter failed writing", "file write failed"),
    *("unexpected pos ", "database or disk is full"),
)
"""What libraries say that have errors of their own for it."""

DISK_FULL = "the disk or your quota is full, or a file may grow no further"

_LONGEST_IMPORT_SECONDS = 10.0

EXIT_INCOMPLETE, EXIT_USER_ERROR, EXIT_INTERRUPTED = 1, 2, 130


class UserError(Exception):
    """A mistake in input or settings: the message names the place and the remedy."""

    exit_code = EXIT_USER_ERROR

    def __str__(self) -> str:
        """On one line, whatever separators the names of files and participants hold."""
        return " ".join(super().__str__().splitlines())


class IncompleteError(UserError):
    """All that could be done is done and written, but something is missing: the message says what."""

    exit_code = EXIT_INCOMPLETE


class _Interrupt:
    """Ctrl-C, remembered: libraries turn a KeyboardInterrupt into errors of their own, or pass over it.

    What comes during an import waits until it has ended: torch's own code, imported, aborts at an exception. An import
    that takes long is some file's that does not end.
    """

    def __init__(self) -> None:
        self.came = 0.0

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self.came = self.came or time.monotonic()
        if _importing(frame) and time.monotonic() - self.came < _LONGEST_IMPORT_SECONDS:
            again = threading.Timer(0.02, _interrupt_main, (number,))
            again.daemon = True
            again.start()
        else:
            raise KeyboardInterrupt


def _interrupt_main(number: int) -> None:
    """Whatever the main thread waits for: where signals can be sent to it, the other way waits too."""
    main = threading.main_thread().ident
    if main and hasattr(signal, "pthread_kill"):
        signal.pthread_kill(main, number)
    else:
        _thread.interrupt_main()


def _importing(frame: FrameType | None) -> bool:
    while frame and frame.f_code.co_filename != "<frozen importlib._bootstrap>":
        frame = frame.f_back
    return frame is not None


def exit_on_user_error(main: Callable[[], None]) -> None:
    """Run a script's ``main``; print a ``UserError`` as one line on stderr and exit with its code.

    Ctrl-C, at whatever moment, is one line too, and so is a full disk, also that of a file that the output goes to.
    Where nobody reads the output any more (``| head``), the script ends as other programs do, without a word.
    """
    before = signal.getsignal(signal.SIGINT)
    interrupt = before if isinstance(before, _Interrupt) else _Interrupt()
    if before is signal.default_int_handler and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, interrupt)
    try:
        main()
        if sys.stdout:  # None where it was closed
            sys.stdout.flush()
    except SystemExit:
        raise
    except BaseException as error:
        if interrupt.came or isinstance(error, KeyboardInterrupt):
            _end_interrupted(interrupt.came > 0)
        if isinstance(error, UserError):
            _end(str(error), error.exit_code)
        if isinstance(error, BrokenPipeError) and _nobody_reads():
            sys.exit(128 + signal.SIGPIPE)
        if is_disk_full(error):
            _end(f"{DISK_FULL}; free space, then give the same command again: what is done is saved")
        raise
    finally:
        if signal.getsignal(signal.SIGINT) is interrupt and before is signal.default_int_handler:
            signal.signal(signal.SIGINT, before)


def is_disk_full(error: BaseException) -> bool:
    """Whether an error, or one that it came from, is that of a full disk, or of a file that may grow no further."""
    return any(
        (isinstance(one, OSError) and one.errno in _FULL) or any(words in str(one) for words in _FULL_IN_WORDS)
        for one in _chain(error)
    )


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error and id(error) not in seen:  # they may form a circle
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _end(sentence: str, code: int = EXIT_USER_ERROR) -> NoReturn:
    """Say what is wrong and exit, whatever becomes of what was printed before."""
    _end_bars()
    with suppress(OSError):
        print(f"error: {shown(mask_secrets(sentence))}", file=sys.stderr)
    for stream in filter(None, (sys.stdout, sys.stderr)):
        try:
            stream.flush()
        except OSError:  # or Python would try once more at its end, and exit with a code of its own
            _lead_nowhere(stream)
    sys.exit(code)


def _end_bars() -> None:
    """Let progress bars end, as a sentence would stand across them; the lower ones first."""
    with suppress(KeyError, AttributeError, OSError):  # it is not imported, or not to its end
        for bar in sorted(sys.modules["tqdm"].tqdm._instances, key=lambda bar: -abs(bar.pos)):
            bar.close()


def _lead_nowhere(stream: TextIO) -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _end_interrupted(by_signal: bool) -> NoReturn:
    if by_signal:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # what is left to do is short
    # Where Ctrl-C came while a string was executed (namedtuple, dataclass), Python would kill itself with SIGINT at its
    # end, in place of the exit code; executing another string makes it forget that.
    exec("")
    _end_bars()
    print("interrupted: the same command goes on from what is saved", file=sys.stderr)
    sys.exit(EXIT_INTERRUPTED)


def _nobody_reads() -> bool:
    """Whether standard output is a pipe that was closed; from now on it then leads nowhere."""
    pipe = select.poll()
    try:
        pipe.register(sys.stdout.fileno(), select.POLLOUT)
    except (OSError, ValueError):  # it is no file
        return False
    if not any(events & select.POLLERR for _, events in pipe.poll(0)):
        return False
    _lead_nowhere(sys.stdout)
    return True


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
