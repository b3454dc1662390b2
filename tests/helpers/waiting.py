"""Waiting for what other processes do."""

import time
from collections.abc import Callable


def wait_until(condition: Callable[[], bool], seconds: float = 60, every: float = 0.05) -> None:
    """Return as soon as ``condition`` holds, looking ``every`` so many seconds; an error where it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} seconds"
        time.sleep(every)
