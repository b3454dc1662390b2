"""Which process scores which session, in what order, and what neighbouring sessions share.

Sessions are sorted by text, so that those with the same instructions are neighbours and the KV cache of the
instructions is computed once; the sorted list is split among processes by estimated cost, not by count. Both
depend on the data alone, so that a resumed run and one on other numbers of processes compute the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from os.path import commonprefix

from centaurlab.transcripts import OPEN

MIN_SHARED_CHARACTERS = 256
"""A shared stretch shorter than this (about 60 tokens) costs as much in an extra chunk as it saves."""

_QUADRATIC_CHARACTERS = 60_000
"""Length at which attention, which grows with the square, costs about as much as everything else."""


@dataclass(frozen=True)
class PlannedSession:
    """``index`` into the texts given; ``shared``: characters in common with neighbours, increasing."""

    index: int
    shared: tuple[int, ...]


def plan_sessions(texts: Sequence[str]) -> list[PlannedSession]:
    """The texts in scoring order, each with the lengths of the prefixes worth keeping for its neighbours.

    A prefix ends at white space before the first response, since tokens of a word depend on how it goes on and
    the responses of every session have to be scored.
    """
    order = sorted(range(len(texts)), key=lambda i: (texts[i], i))
    common = [0] + [_shareable(texts[a], texts[b]) for a, b in pairwise(order)] + [0]
    shared: list[list[int]] = [[] for _ in order]
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
                groups.append((start, end, deepest))
            start = end
    return [PlannedSession(index, tuple(lengths)) for index, lengths in zip(order, shared, strict=True)]


def _shareable(a: str, b: str) -> int:
    prefix = commonprefix([a, b])
    before_response = prefix.find(OPEN)
    end = len(prefix) if before_response < 0 else before_response
    return max(prefix.rfind(" ", 0, end), prefix.rfind("\n", 0, end), 0)


def cost(n_characters: int) -> float:
    """Relative cost of scoring a session: linear in its length, plus attention's square."""
    return n_characters * (1 + n_characters / _QUADRATIC_CHARACTERS)


def split_by_cost(costs: Sequence[float], n_parts: int) -> list[slice]:
    """Contiguous slices of about equal summed cost, one per process."""
    total, running, bounds = sum(costs), 0.0, [0]
    for i, c in enumerate(costs):
        while len(bounds) < n_parts and running + c / 2 >= total * len(bounds) / n_parts:
            bounds.append(i)
        running += c
    bounds += [len(costs)] * (n_parts + 1 - len(bounds))
    return [slice(a, b) for a, b in pairwise(bounds)]
