"""Which process scores which session, in what order, and what neighbouring sessions share.

Sessions are read window by window and sorted by text, so that those with the same instructions are neighbours and
the KV cache of the instructions is computed once. What the store lacks of a window is divided among the processes by
estimated cost, not by count. The windows and what is shared depend on the data alone: a resumed run and one on other
numbers of processes compute the same.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from heapq import heapify, heapreplace
from itertools import pairwise
from os.path import commonprefix

import numpy as np
from transformers import PreTrainedTokenizerBase

from centaurlab.data.transcripts import OPEN, Transcript
from centaurlab.prompts.encoding import encode_prompt
from centaurlab.prompts.prompt import Prompt

WINDOW_CHARACTERS = 64_000_000
"""Sessions planned and held in memory at once."""

_SESSION_CHARACTERS = 2_000  # what the memory of a session is worth beside its text

MIN_SHARED_CHARACTERS = 256
"""A shared stretch shorter than this (about 60 tokens) costs as much in an extra chunk as it saves."""

SAMPLED_PER_STUDY = 8
"""Sessions of a study and window that are tokenized to learn how many tokens its characters make."""


@dataclass(frozen=True)
class PlannedSession:
    """``index`` into the texts given; ``shared``: characters in common with neighbours, increasing.

    ``reused``: how many of these the session before leaves in the cache.
    """

    index: int
    shared: tuple[int, ...]
    reused: int = 0


@dataclass(frozen=True)
class SessionLength:
    """Estimated tokens of a session up to the end of its last response, of its responses, and per character."""

    n_tokens: float
    n_response_tokens: float
    per_character: float


def windows(transcripts: Iterable[Transcript]) -> Iterator[list[Transcript]]:
    """Runs of consecutive sessions that fit in memory, whatever the number of sessions."""
    window: list[Transcript] = []
    size = 0
    for transcript in transcripts:
        window.append(transcript)
        size += len(transcript.text) + _SESSION_CHARACTERS
        if size >= WINDOW_CHARACTERS:
            yield window
            window, size = [], 0
    if window:
        yield window


def plan_sessions(texts: Sequence[str]) -> list[PlannedSession]:
    """The texts in scoring order, each with the lengths of the prefixes worth keeping for its neighbours.

    A prefix ends at white space before the first response, since tokens of a word depend on how it goes on and
    the responses of every session have to be scored.
    """
    order = sorted(range(len(texts)), key=lambda i: (texts[i], i))
    common = [0] + [_shareable(texts[a], texts[b]) for a, b in pairwise(order)] + [0]
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
    return [PlannedSession(order[i], tuple(shared[i]), reused[i]) for i in range(len(order))]


def _shareable(a: str, b: str) -> int:
    prefix = commonprefix([a, b])
    before_response = prefix.find(OPEN)
    end = len(prefix) if before_response < 0 else before_response
    return max(prefix.rfind(" ", 0, end), prefix.rfind("\n", 0, end), 0)


def estimate_lengths(
    transcripts: Sequence[Transcript],
    prompt_of: Callable[[Transcript], Prompt],
    tokenizer: PreTrainedTokenizerBase,
    max_tokens: int,
) -> list[SessionLength]:
    """Tokens of each session, of which a few per study are tokenized and the others judged by their characters.

    Studies differ: a session of numbers has 1.6 characters per token where prose has 4. ``max_tokens`` cuts the longer
    ones, and their responses in proportion.
    """
    characters = [_characters(prompt_of(transcript)) for transcript in transcripts]
    by_study: dict[str, list[int]] = defaultdict(list)
    for i, transcript in enumerate(transcripts):
        by_study[transcript.study].append(i)
    lengths = [SessionLength(0, 0, 0)] * len(transcripts)
    for members in by_study.values():
        ranks = np.linspace(0, len(members) - 1, min(SAMPLED_PER_STUDY, len(members))).round().astype(int)
        sample = [members[rank] for rank in ranks]
        encodings = [encode_prompt(prompt_of(transcripts[i]), tokenizer) for i in sample]
        n_read, n_answered = np.sum([characters[i] for i in sample], axis=0).tolist()
        per_character = sum(len(e.input_ids_T) for e in encodings) / max(n_read, 1)
        per_answered = sum(int((e.end_R - e.start_R).sum()) for e in encodings) / max(n_answered, 1)
        for i in members:
            n_tokens = characters[i][0] * per_character
            kept = min(1, max_tokens / n_tokens) if n_tokens else 0
            lengths[i] = SessionLength(n_tokens * kept, characters[i][1] * per_answered * kept, per_character)
    return lengths


def _characters(prompt: Prompt) -> tuple[int, int]:
    """Up to the end of the last response, and of all responses."""
    if not prompt.responses:
        return 0, 0
    return prompt.responses[-1].end, sum(r.end - r.start for r in prompt.responses)


def divide(costs: Sequence[float], n_processes: int, loads: Sequence[float] = ()) -> list[list[int]]:
    """The positions of each process's sessions, increasing, so that summed costs are about equal.

    ``loads``: what the processes have been given before. The costliest session goes to the process with the least so
    far, then the next (Graham 1969, doi:10.1137/0117039: never above 4/3 of the best division, and near it with many
    sessions). Sessions of a study cost about the same, so each process has a part of every study, and an error in
    what a study costs falls on all alike; a shared prefix is computed by each process that has sessions with it.
    """
    given = [(load, process) for process, load in enumerate(loads or [0.0] * n_processes)]
    heapify(given)
    shares: list[list[int]] = [[] for _ in range(n_processes)]
    for i in sorted(range(len(costs)), key=lambda i: -costs[i]):
        load, process = given[0]
        shares[process].append(i)
        heapreplace(given, (load + costs[i], process))
    return [sorted(share) for share in shares]
