"""Which sessions are held out: participants within a study, and whole studies.

Everything here is a pure function of session keys and a seed. The order of a study's participants comes from
a hash of the key, not from the order in a file, so that the same people are held out wherever the data lie,
and the first 3 of a study are among its first 10.
"""

import difflib
import hashlib
import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from centaurlab.data.transcripts import SessionKey
from centaurlab.runtime.errors import UserError

MAX_TEST_PER_STUDY = 100


@dataclass(frozen=True)
class Partition:
    """Three disjoint sets of sessions: to train on, unseen people of seen studies, and unseen studies."""

    train: frozenset[SessionKey]
    test: frozenset[SessionKey]
    novel: frozenset[SessionKey]


@dataclass(frozen=True)
class RankSelection:
    """Per study, the sessions from the first rank on and before the second in the seeded order; None: to the end.

    However many sessions there are, two ranks per study say which are meant.
    """

    seed: int
    bounds: Mapping[str, tuple[bytes, bytes | None]]

    def takes(self, key: SessionKey) -> bool:
        """Whether ``key`` is among them."""
        if key.study not in self.bounds:
            return False
        low, high = self.bounds[key.study]
        rank = _rank(key, self.seed)
        return low <= rank and (high is None or rank < high)


def select_participants(keys: Iterable[SessionKey], half: str, count: int | None, seed: int) -> RankSelection:
    """The first ``count`` sessions of each study (None: all), of its ``test`` or ``train`` half or of ``all``.

    Reads ``keys`` as a stream; kept are about as many ranks per study as are asked for, and 16 bytes of each key's
    rank, to count a key once: 100 to 160 bytes of memory each.
    """
    ranks: dict[str, _LowestRanks] = {}
    seen: set[bytes] = set()
    for key in keys:
        rank = _rank(key, seed)
        if rank[:16] not in seen:
            seen.add(rank[:16])
            ranks.setdefault(key.study, _LowestRanks(MAX_TEST_PER_STUDY + (count or 0) + 1)).add(rank)
    bounds = {}
    for study, lowest in ranks.items():
        n_test = _test_size(lowest.n)
        first = n_test if half == "train" else 0
        last = n_test if half == "test" else lowest.n
        if count is not None:
            last = min(last, first + count)
        bounds[study] = lowest.at(first), lowest.at(last)
    return RankSelection(seed, {study: (low, high) for study, (low, high) in bounds.items() if low is not None})


def participant_order(keys: Iterable[SessionKey], seed: int) -> dict[str, list[SessionKey]]:
    """The sessions of each study in the seeded order, whatever the order of ``keys``, each once."""
    by_study: dict[str, list[SessionKey]] = defaultdict(list)
    for key in set(keys):
        by_study[key.study].append(key)
    return {study: sorted(by_study[study], key=lambda key: _rank(key, seed)) for study in sorted(by_study)}


def first_participants(keys: Iterable[SessionKey], count: int | None, seed: int) -> frozenset[SessionKey]:
    """The first ``count`` sessions of each study (None: all) in the seeded order."""
    return frozenset(key for order in participant_order(keys, seed).values() for key in order[:count])


def held_out(keys: Iterable[SessionKey], seed: int) -> frozenset[SessionKey]:
    """The test sessions: of a study with n sessions the first min(⌊n / 10⌋, 100), at least 1 if n ≥ 2."""
    return frozenset(key for order in participant_order(keys, seed).values() for key in order[: _test_size(len(order))])


def partition(keys: Iterable[SessionKey], seed: int, novel_studies: Collection[str] = ()) -> Partition:
    """Split ``keys`` into train, test and novel; ``novel_studies`` are held out whole.

    Raises ``UserError`` when a novel study is not among the keys.
    """
    sessions = frozenset(keys)
    check_studies(novel_studies, {key.study for key in sessions})
    novel = frozenset(key for key in sessions if key.study in novel_studies)
    test = held_out(sessions - novel, seed)
    return Partition(train=sessions - novel - test, test=test, novel=novel)


def check_studies(named: Iterable[str], present: Collection[str]) -> None:
    """Raise ``UserError`` naming the nearest study for the first of ``named`` that is not ``present``."""
    for study in named:
        if study not in present:
            nearest = difflib.get_close_matches(study, present, n=1, cutoff=0.5)
            hint = f"did you mean {nearest[0]!r}?" if nearest else f"it has {', '.join(sorted(present)[:20])}"
            raise UserError(f"no study {study!r} in the data; {hint}")


class _LowestRanks:
    """The lowest ``n_kept`` of ranks that are added one by one; ``n`` is the number of all."""

    def __init__(self, n_kept: int) -> None:
        self.n = 0
        self._n_kept = n_kept
        self._ranks: list[bytes] = []

    def add(self, rank: bytes) -> None:
        self.n += 1
        self._ranks.append(rank)
        if len(self._ranks) >= 2 * self._n_kept:
            self._ranks = sorted(self._ranks)[: self._n_kept]

    def at(self, position: int) -> bytes | None:
        """The rank at ``position``, which is among those kept, or None at the end of all."""
        return None if position >= self.n else sorted(self._ranks)[position]


def _test_size(participants: int) -> int:
    return min(max(participants // 10, int(participants >= 2)), MAX_TEST_PER_STUDY)


def _rank(key: SessionKey, seed: int) -> bytes:
    identity = json.dumps([seed, key.study, key.experiment, key.participant])
    return hashlib.sha256(identity.encode("ascii")).digest()
