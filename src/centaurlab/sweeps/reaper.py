"""The process that ends a trial with its driver, however the driver ends.

A driver that is told to stop ends its trials itself. One that is killed cannot, and a trial may be a launcher with
processes below it that no signal reaches: so beside each trial waits a process that learns from the end of a pipe that
the driver is gone, and ends the trial's process group.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress

STOP_SECONDS = 30.0
"""A trial that is told to stop has this long before it is killed."""


class Reaper:
    """Waits for the end of this process; started before the trial, so that no trial is ever without one."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "centaurlab.sweeps.reaper"], stdin=subprocess.PIPE, start_new_session=True
        )

    def watch(self, group: int) -> None:
        """Name the process group that is to be ended."""
        assert self._process.stdin, "it is a pipe"
        self._process.stdin.write(f"{group}\n".encode())
        self._process.stdin.flush()

    def dismiss(self) -> None:
        """The trial has ended: nothing is left to do."""
        self._process.kill()
        self._process.communicate()


def end_group(group: int, reap: Callable[[], object]) -> None:
    """Stop a process with all that it has started (``accelerate launch`` passes no signal on), gently first.

    ``reap`` is called while it lasts, to wait for what is a child of this process.
    """
    for number, seconds in ((signal.SIGTERM, STOP_SECONDS), (signal.SIGKILL, 5.0)):
        deadline = time.monotonic() + seconds
        with suppress(ProcessLookupError):
            os.killpg(group, number)
            while time.monotonic() < deadline:
                reap()
                os.killpg(group, 0)  # raises once none of them is left
                time.sleep(0.1)


def main() -> None:
    """Wait until standard input ends, and end the group that it named."""
    named = sys.stdin.read().split()
    if named:
        end_group(int(named[0]), lambda: None)


if __name__ == "__main__":
    main()
