"""Which sessions are held out: people within a study, and whole studies.

Everything here is a pure function of session keys, of who their people are (``persons``) and of a seed. The order of a
study's people comes from a hash of the person, not from the order in a file, so that the same people are held out
wherever the data lie, and the first 3 of a study are among its first 10. What is counted and held out is always a
person, with all sessions: who is held out in one study is so in every study that the person takes part in.
"""

import difflib
import hashlib
import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from centaurlab.data.persons import Persons, Unit
from centaurlab.data.transcripts import SessionKey
from centaurlab.runtime.errors import UserError

MAX_TEST_PER_STUDY = 100

Order = dict[str, list[tuple[SessionKey, ...]]]
"""By study, its people in the seeded order: the sessions of each."""


@dataclass(frozen=True)
class Partition:
    """Three disjoint sets of sessions: to train on, unseen people of seen studies, and unseen studies."""

    train: frozenset[SessionKey]
    test: frozenset[SessionKey]
    novel: frozenset[SessionKey]


def person_order(keys: Iterable[SessionKey], persons: Persons, seed: int) -> Order:
    """The people of each study in the seeded order, whatever the order of ``keys``, each session once."""
    by_study: dict[str, list[SessionKey]] = defaultdict(list)
    for key in keys:
        by_study[key.study].append(key)
    return {study: _ranked(by_study[study], persons, seed) for study in sorted(by_study)}


def study_order(keys: Iterable[SessionKey], seed: int) -> list[str]:
    """The studies in a seeded order, whatever the order of ``keys``."""
    return sorted({key.study for key in keys}, key=lambda study: _rank((study,), seed))


def first_people(keys: Iterable[SessionKey], persons: Persons, count: int | None, seed: int) -> frozenset[SessionKey]:
    """The sessions of the first ``count`` people of each study (None: all) in the seeded order."""
    return frozenset(_sessions(person_order(keys, persons, seed), count))


def held_out(keys: Iterable[SessionKey], persons: Persons, seed: int) -> frozenset[SessionKey]:
    """The test sessions: of a study with n people those of the first min(⌊n / 10⌋, 100), at least 1 if n ≥ 2.

    And, of studies that share people, those of whoever is among these first in another one.
    """
    return frozenset(_sessions(_half(person_order(keys, persons, seed), persons, "test")))


def partition(
    keys: Iterable[SessionKey], persons: Persons, seed: int, novel_studies: Collection[str] = ()
) -> Partition:
    """Split ``keys`` into train, test and novel; ``novel_studies`` are held out whole.

    Raises ``UserError`` when a novel study is not among the keys.
    """
    sessions = frozenset(keys)
    check_studies(novel_studies, {key.study for key in sessions})
    novel = frozenset(key for key in sessions if key.study in novel_studies)
    test = held_out(sessions, persons, seed) - novel
    return Partition(train=sessions - novel - test, test=test, novel=novel)


def select_people(
    keys: Iterable[SessionKey], persons: Persons, half: str, count: int | None, seed: int
) -> Iterator[SessionKey]:
    """The sessions of the first ``count`` people of each study (None: all), each once.

    ``half``: of those held out (``test``), of the others (``train``), or of ``all``.
    """
    order = person_order(keys, persons, seed)
    return _sessions(order if half == "all" else _half(order, persons, half), count)


def check_studies(named: Iterable[str], present: Collection[str]) -> None:
    """Raise ``UserError`` naming the nearest study for the first of ``named`` that is not ``present``."""
    for study in named:
        if study not in present:
            nearest = difflib.get_close_matches(study, present, n=1, cutoff=0.5)
            hint = f"did you mean {nearest[0]!r}?" if nearest else f"it has {', '.join(sorted(present)[:20])}"
            raise UserError(f"no study {study!r} in the data; {hint}")


def _ranked(keys: Iterable[SessionKey], persons: Persons, seed: int) -> list[tuple[SessionKey, ...]]:
    by_person = persons.by_person(keys)
    return [tuple(by_person[unit]) for unit in sorted(by_person, key=lambda unit: _rank(unit, seed))]


def _half(order: Order, persons: Persons, half: str) -> Order:
    """Of each study the people who are held out (``test``), or the others (``train``), in their order."""
    first = {persons.unit(one[0]) for people in order.values() for one in people[: _test_size(len(people))]}
    return {
        study: [one for one in people if (persons.unit(one[0]) in first) == (half == "test")]
        for study, people in order.items()
    }


def _sessions(order: Order, count: int | None = None) -> Iterator[SessionKey]:
    return (key for people in order.values() for one in people[:count] for key in one)


def _test_size(n_people: int) -> int:
    return min(max(n_people // 10, int(n_people >= 2)), MAX_TEST_PER_STUDY)


def _rank(unit: Unit, seed: int) -> bytes:
    return hashlib.sha256(json.dumps([seed, *unit]).encode("ascii")).digest()
