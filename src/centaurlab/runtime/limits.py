"""An end to what a stranger's program may take, in time and in memory: a user's own file, a checkpoint's template."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

_USED = Path("/proc/self/statm")


class OutOfTimeError(BaseException):
    """Time is up. No ``Exception``, so that an ``except Exception`` in a loop without end does not keep it."""


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise ``OutOfTimeError`` in what takes longer than ``seconds``.

    By a signal, which only the main thread of a process can set, and Windows has not: elsewhere there is no limit.
    """
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGALRM, _time_is_up)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def memory_limit(more_bytes: int) -> Iterator[None]:
    """Let this process allocate ``more_bytes`` beyond what it has; Python raises ``MemoryError`` then.

    Nothing on systems without /proc.
    """
    if not _USED.is_file():
        yield
        return
    import resource  # which systems without /proc may lack

    used = int(_USED.read_text().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)  # a cluster may have set some
    limits = [limit for limit in (soft, hard) if limit != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_AS, (min([used + more_bytes, *limits]), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _time_is_up(number: int, frame: FrameType | None) -> None:
    raise OutOfTimeError
