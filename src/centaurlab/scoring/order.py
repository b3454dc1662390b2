"""Which process scores which session, in what order, and what neighbouring sessions share.

Sessions are read window by window and sorted by text, so that those with the same instructions are neighbours and
the KV cache of the instructions is computed once. What the store lacks of a window is divided among the processes by
estimated cost, not by count. The windows and what is shared depend on the data alone: a resumed run and one on other
numbers of processes compute the same.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from heapq import heapify, heapreplace
from itertools import pairwise
from os.path import commonprefix

from centaurlab.data.transcripts import OPEN, Transcript
from centaurlab.prompts.prompt import Prompt

WINDOW_CHARACTERS = 16_000_000
"""Sessions planned and held in memory at once."""

_SESSION_CHARACTERS = 2_000  # what the memory of a session is worth beside its text

MIN_SHARED_CHARACTERS = 256
"""A shared stretch shorter than this (about 60 tokens) costs as much in an extra chunk as it saves."""


@dataclass(frozen=True)
class OrderedText:
    """A text's place in the order: ``index`` into the texts given, and what it has in common with its neighbours.

    ``shared``: lengths of leading stretches, in characters, increasing. ``reused``: how many of these characters the
    text before leaves in the cache.
    """

    index: int
    shared: tuple[int, ...]
    reused: int = 0


def session_size(transcript: Transcript) -> int:
    """The characters that a session takes of a window: those of its text, and what else is kept of it."""
    return len(transcript.text) + _SESSION_CHARACTERS


def fits_window(size: int) -> bool:
    """Whether sessions of so many characters together leave their window open for more."""
    return size < WINDOW_CHARACTERS


def windows(transcripts: Iterable[Transcript]) -> Iterator[list[Transcript]]:
    """Cut a stream of sessions into runs of consecutive ones that fit in memory, however many there are."""
    window: list[Transcript] = []
    size = 0
    for transcript in transcripts:
        window.append(transcript)
        size += session_size(transcript)
        if not fits_window(size):
            yield window
            window, size = [], 0
    if window:
        yield window


def order_texts(texts: Sequence[str], before: Sequence[int] | None = None) -> list[OrderedText]:
    """Put texts in the order of scoring, each with the lengths of the prefixes worth keeping for its neighbours.

    A prefix ends at white space before the first response, since tokens of a word depend on how it goes on and
    the responses of every session have to be scored. ``before``: the characters before that of each text,
    which may hold those of others; None: as many as there are before the first marker.
    """
    order = sorted(range(len(texts)), key=lambda i: (texts[i], i))
    ends = {i: len(texts[i]) if before is None else before[i] for i in order}
    common = (
        [0] + [_shareable(texts[a][: ends[a]], texts[b][: ends[b]], before is None) for a, b in pairwise(order)] + [0]
    )
    shared: list[list[int]] = [[] for _ in order]
    reused = [0] * len(order)
    groups = [(0, len(order), 0)]
    while groups:
        first, last, depth = groups.pop()
        start = first
        for end in range(first + 1, last + 1):
            if end < last and common[end] >= depth + MIN_SHARED_CHARACTERS:
                continue
            if end - start > 1:
                deepest = min(common[start + 1 : end])
                for member in range(start, end):
                    shared[member].append(deepest)
                    if member > start:
                        reused[member] = deepest
                groups.append((start, end, deepest))
            start = end
    return [OrderedText(order[i], tuple(shared[i]), reused[i]) for i in range(len(order))]


def shared_by_pieces(pieces: Sequence[Prompt], shared: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Of each piece of a session the prefixes worth keeping: of neighbouring sessions, of all pieces, of the next.

    A session that is one piece has those of its neighbours, ``shared``, alone.
    """
    if len(pieces) == 1:
        return [shared]
    common = [_common(a, b) for a, b in pairwise(pieces)]
    of_all = min(common)
    grows = [n if n >= of_all + MIN_SHARED_CHARACTERS else of_all for n in common]
    of_others = {n for n in shared if n <= of_all} | {of_all}
    return [
        tuple(sorted(of_others | {before, after}))
        for before, after in zip([of_all, *grows], [*grows, of_all], strict=True)
    ]


def _common(a: Prompt, b: Prompt) -> int:
    """Characters that two pieces begin with alike, up to white space and before what is scored in either."""
    first = min((piece.responses[0].start - len(OPEN) for piece in (a, b) if piece.responses), default=0)
    prefix = commonprefix([a.text[: max(first, 0)], b.text[: max(first, 0)]])
    return max(prefix.rfind(" "), prefix.rfind("\n"), 0)


def _shareable(a: str, b: str, to_first_marker: bool) -> int:
    prefix = commonprefix([a, b])
    before_response = prefix.find(OPEN) if to_first_marker else -1
    end = len(prefix) if before_response < 0 else before_response
    return max(prefix.rfind(" ", 0, end), prefix.rfind("\n", 0, end), 0)


def divide(costs: Sequence[float], n_processes: int, loads: Sequence[float] = ()) -> list[list[int]]:
    """Divide sessions among processes so that their summed costs are about equal.

    The costliest session goes to the process with the least so far, then the next. Sessions of a study cost about the
    same, so each process has a part of every study, and an error in what a study costs falls on all alike; a shared
    prefix is computed by each process that has sessions with it.

    Parameters
    ----------
    costs
        Of each session, in any unit.
    n_processes
        At least 1.
    loads
        What each process has been given before, in the same unit; default: nothing.

    Returns
    -------
    list of lists
        The positions of each process's sessions, increasing.

    References
    ----------
    Graham 1969, doi:10.1137/0117039: the slowest is never above 4/3 of the best division, and near it with many
    sessions.
    """
    given = [(load, process) for process, load in enumerate(loads or [0.0] * n_processes)]
    heapify(given)
    shares: list[list[int]] = [[] for _ in range(n_processes)]
    for i in sorted(range(len(costs)), key=lambda i: -costs[i]):
        load, process = given[0]
        shares[process].append(i)
        heapreplace(given, (load + costs[i], process))
    return [sorted(share) for share in shares]
