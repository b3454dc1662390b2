"""Which sessions are held out: participants within a study, and whole studies.

Everything here is a pure function of session keys and a seed. The order of a study's participants comes from
a hash of the key, not from the order in a file, so that the same people are held out wherever the data lie,
and the first 3 of a study are among its first 10.
"""

import difflib
import hashlib
import json
from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from centaurlab.errors import UserError
from centaurlab.transcripts import SessionKey

MAX_TEST_PER_STUDY = 100


@dataclass(frozen=True)
class Partition:
    """Three disjoint sets of sessions: to train on, unseen people of seen studies, and unseen studies."""

    train: frozenset[SessionKey]
    test: frozenset[SessionKey]
    novel: frozenset[SessionKey]


def participant_order(keys: Iterable[SessionKey], seed: int) -> dict[str, list[SessionKey]]:
    """The sessions of each study in the seeded order, whatever the order of ``keys``, each once."""
    by_study: dict[str, list[SessionKey]] = defaultdict(list)
    for key in set(keys):
        by_study[key.study].append(key)
    return {study: sorted(by_study[study], key=lambda key: _rank(key, seed)) for study in sorted(by_study)}


def first_participants(keys: Iterable[SessionKey], count: int, seed: int) -> frozenset[SessionKey]:
    """The first ``count`` sessions of each study in the seeded order."""
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


def _test_size(participants: int) -> int:
    return min(max(participants // 10, int(participants >= 2)), MAX_TEST_PER_STUDY)


def _rank(key: SessionKey, seed: int) -> bytes:
    identity = json.dumps([seed, key.study, key.experiment, key.participant])
    return hashlib.sha256(identity.encode("ascii")).digest()
