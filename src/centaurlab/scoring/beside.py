"""What a thread does beside the model: the next sessions are tokenized, and the last one is written to the disk."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")


def ahead(make: Callable[[A], B], inputs: Iterable[A], n: int) -> Iterator[B]:
    """What ``make`` makes of each input, in order, of which up to ``n`` are made before they are asked for.

    What it raises for one of them is raised in its place, after all before it, and no more are made then.
    """
    left = iter(inputs)
    with ThreadPoolExecutor(1, "ahead") as thread:
        made = deque(thread.submit(make, one) for one in islice(left, n))
        try:
            while made:
                result = made.popleft().result()
                made.extend(thread.submit(make, one) for one in islice(left, 1))
                yield result
        finally:
            thread.shutdown(cancel_futures=True)


@contextmanager
def behind() -> Iterator[Callable[..., None]]:
    """A function that has a call done behind the caller's back, one after another; all are when the block ends.

    It waits for the call before it; what that raised, it raises, or the end of the block does.
    """
    last: Future[None] | None = None

    def do(call: Callable[..., None], *arguments: object) -> None:
        nonlocal last
        before, last = last, None
        if before:
            before.result()
        last = thread.submit(call, *arguments)

    with ThreadPoolExecutor(1, "behind") as thread:
        try:
            yield do
        finally:
            if last:
                last.result()
