"""Who a session's person is: the one answer for splits, test shares, clusters, personas and counts.

A ``person`` column says it, where there is one, over all studies. Else an id is one person in a study, unless something
speaks against it: the catalog (``catalog.facts``) knows studies whose ids begin anew in each experiment, and two
sessions of one id are of different people where a field that both have, and that is known to be the same for a person
at any time, differs. Sessions that nothing tells apart stay together, with equal metadata or without any: to keep two
people on one side of a split costs a little, to have one person on both makes every number wrong. Studies that the
catalog knows to share a sample share people, by the same ids. Nothing is ever joined across ids, since different people
give the same answers.
"""

import math
import re
from array import array
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal
from functools import lru_cache
from hashlib import blake2b
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from centaurlab.catalog.facts import facts_of
from centaurlab.data.checks import TIMES, as_list
from centaurlab.data.keys import NO_SESSIONS, SessionNumbers, unpacked
from centaurlab.data.records import PERSON_FIELD, as_name, key_fields
from centaurlab.data.transcripts import SessionKey, is_missing

Unit = tuple[str, ...]
"""What is drawn, ranked and held out as one, equal for all sessions of a person. One of a person with one session is
the session's key, whatever else the data hold: so it keeps its place in every seeded order."""

BY_COLUMN, BY_CATALOG = "one person by the column", "one person by the catalog"
BY_METADATA = "one person by equal metadata"
UNTOLD = "kept together as one person, as no metadata tell"
ANEW, OTHER_METADATA = "another person in each experiment by the catalog", "several people by other metadata"
"""Whether an id of several sessions counts as one person, and why."""

_OF_A_PERSON = {
    *("age", "ages", "birth", "birthdate", "birthday", "birthyear", "born", "dob", "education", "ethnicity", "gender"),
    *("handedness", "nationality", "native", "race", "sex"),
}
"""Words in the names of fields that tell people apart: of others nobody knows that they are as they were the last time,
as a treatment, a visit and the score of a questionnaire are not."""
_OF_OTHERS = {"avatar", "face", "opponent", "partner", "stimulus", "target"}
_OUTCOMES = {
    *("accuracy", "bonus", "comment", "comments", "correct", "date", "duration", "earned", "earnings", "end", "errors"),
    *("latency", "payment", "payoff", "points", "reward", "rewards", "rt", "rts", "start", "time", "times"),
    *("timestamp", "winnings"),
}
_OF_A_SESSION = _OUTCOMES | {
    *("block", "blocks", "condition", "conditions", "counterbalance", "counterbalancing", "day", "file", "filename"),
    *("list", "order", "origin", "phase", "round", "run", "seed", "session", "sessions", "set", "task", "trial"),
    *("trials", "version", "wave"),
}
"""Words in the names of fields that tell of a session and not of the person."""
_SCORE = {"average", "completed", "feedback", "final", "mean", "performance", "score", "scores", "sum", "total"}
"""Words that tell of a session where there is no other; a score of a questionnaire is the person's."""
_ALIKE = {"true": "1.0", "false": "0.0", "f": "female", "m": "male"}
_YEARS = ("of even years", "of odd years")
_WORD = re.compile(r"[A-Z]+s(?![a-z])|[A-Z]?[a-z]+|[A-Z]+(?![a-z])")  # RTs is a word

Traits = tuple[tuple[str, str], ...]
_Digested = tuple[tuple[str, bytes], ...]
_VALUE_BYTES = 8


class _Session(NamedTuple):
    experiment: str
    traits: _Digested


class _Person(NamedTuple):
    """Whose several sessions are: the unit and the name, and whether these are of one study."""

    unit: Unit
    name: str
    is_joined: bool


@dataclass(frozen=True)
class Persons:
    """Who the person of each session is. Sessions that it does not know are of a person each.

    ``how``: per study with ids in several sessions, how many of these ids count as one person or several, and why.
    ``n_ids``: per study, how many ids there are (of a ``person`` column: people).
    """

    how: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    n_ids: Mapping[str, int] = field(default_factory=dict)
    _people: tuple[_Person, ...] = field(default=(), repr=False)
    _sessions: SessionNumbers = field(default_factory=lambda: NO_SESSIONS, repr=False)

    def unit(self, key: SessionKey) -> Unit:
        """The session's person, among all studies."""
        person = self._find(key)
        return person.unit if person else (key.study, key.experiment, key.participant)

    def name(self, key: SessionKey) -> str:
        """What the person is called, within the study."""
        person = self._find(key)
        return person.name if person else key.participant

    def joined(self, key: SessionKey) -> str | None:
        """The person's name, if the study holds several sessions of the person; else None: the session is one."""
        person = self._find(key)
        return person.name if person and person.is_joined else None

    @property
    def any_joined(self) -> bool:
        """Whether some study holds several sessions of one person."""
        return any(person.is_joined for person in self._people)

    @property
    def n_across_studies(self) -> int:
        """How many people have sessions in several studies."""
        n_studies = Counter(person.unit for person in self._people)
        return sum(n > 1 for n in n_studies.values())

    def by_person(self, keys: Iterable[SessionKey]) -> dict[Unit, list[SessionKey]]:
        """The sessions of each person, each once and in the order of their names."""
        found: dict[Unit, list[SessionKey]] = defaultdict(list)
        for key in sorted(set(keys), key=_names):
            found[self.unit(key)].append(key)
        return found

    def _find(self, key: SessionKey) -> _Person | None:
        number = self._sessions.find(key)
        return None if number is None else self._people[number]


SEPARATE = Persons()
"""Where every session is a person."""


def find_persons(sessions: Iterable[tuple[SessionKey, Mapping[str, object]]]) -> Persons:
    """Who the person of each session is, from all sessions of the data with their metadata.

    Reads a stream. Until its end about 50 bytes of each session are kept, and 8 for each field of its metadata; then
    20, of those alone whose person has several or is named by a column, and some 400 of each of these people.
    """
    by_column, by_id = _ByColumn(), _ById()
    for key, fields in sessions:
        if (person := as_name(fields.get(PERSON_FIELD))) is None:
            by_id.add(key, traits_of(fields))
        else:
            by_column.add(key, person.encode("utf-8", "backslashreplace").decode())  # half of a pair is no UTF-8
    how: dict[str, Counter[str]] = defaultdict(Counter)
    n_ids: Counter[str] = Counter()
    found = sorted([*by_column.people(how, n_ids), *by_id.people(how, n_ids)], key=lambda one: one[0])
    n_each = [len(digests) // SessionKey.DIGEST_BYTES for _, digests in found]
    number_N = np.repeat(np.arange(len(found), dtype=np.int32), n_each)
    return Persons(
        {study: dict(+counts) for study, counts in how.items() if +counts},
        dict(n_ids),
        tuple(person for person, _ in found),
        SessionNumbers(unpacked(b"".join(digests for _, digests in found)), number_N),
    )


class _ByColumn:
    """The sessions whose person a column names."""

    def __init__(self) -> None:
        self._people: dict[str, int] = {}
        self._studies: dict[str, int] = {}
        self._pairs, self._digests = array("i"), bytearray()

    def add(self, key: SessionKey, person: str) -> None:
        self._pairs.append(self._people.setdefault(person, len(self._people)))
        self._pairs.append(self._studies.setdefault(key.study, len(self._studies)))
        self._digests += key.digest()

    def people(self, how: Mapping[str, Counter[str]], n_ids: Counter[str]) -> Iterator[tuple[_Person, bytes]]:
        """Each person of each study with the sessions, and their count into ``how`` and ``n_ids``."""
        people, studies = list(self._people), list(self._studies)
        digest_N, pair_N2 = unpacked(self._digests), np.frombuffer(self._pairs, np.intc).reshape(-1, 2)
        for of_pair_N in _alike(pair_N2[:, 0] * np.int64(len(studies)) + pair_N2[:, 1]):
            person, study = (names[i] for names, i in zip((people, studies), pair_N2[of_pair_N[0]], strict=True))
            sessions = np.unique(digest_N[of_pair_N])
            how[study][BY_COLUMN] += len(sessions) > 1
            n_ids[study] += 1
            yield _Person((person,), person, len(sessions) > 1), sessions.tobytes()


class _ById:
    """The sessions whose person the id tells, and what speaks against it.

    Of these: digests of study and id; the names, one after the other; values of metadata, as digests of 8 bytes, since
    they are only ever asked whether they are equal.
    """

    def __init__(self) -> None:
        self._studies: dict[str, int] = {}
        self._experiments: dict[str, int] = {}
        self._fields: dict[tuple[str, ...], int] = {}
        self._kinds = array("i")  # study, experiment and fields of each
        self._digests, self._names, self._values = bytearray(), bytearray(), bytearray()
        self._ends = array("q", [0, 0])  # of names and values

    def add(self, key: SessionKey, traits: Traits) -> None:
        traits = tuple(part for trait in traits for part in _aged(*trait))
        fields = tuple(name for name, _ in traits)
        self._kinds.append(self._studies.setdefault(key.study, len(self._studies)))
        self._kinds.append(self._experiments.setdefault(key.experiment, len(self._experiments)))
        self._kinds.append(self._fields.setdefault(fields, len(self._fields)))
        self._digests += SessionKey(key.study, "", key.participant).digest()
        self._names += key.participant.encode("utf-8", "surrogatepass")
        for _, value in traits:
            self._values += blake2b(value.encode("utf-8", "surrogatepass"), digest_size=_VALUE_BYTES).digest()
        self._ends.extend((len(self._names), len(self._values)))

    def people(self, how: Mapping[str, Counter[str]], n_ids: Counter[str]) -> Iterator[tuple[_Person, bytes]]:
        """The people of ids that recur, or that other studies share; and counts of all into ``how`` and ``n_ids``."""
        studies, experiments, fields = list(self._studies), list(self._experiments), list(self._fields)
        samples = [facts_of(study).sample for study in studies]
        for of_id_N in _alike(unpacked(self._digests)):
            study = self._kinds[3 * of_id_N[0]]
            n_ids[studies[study]] += 1
            if len(of_id_N) == 1 and not samples[study]:
                continue
            sessions = dict.fromkeys(
                _Session(experiments[self._kinds[3 * i + 1]], self._traits(fields[self._kinds[3 * i + 2]], i))
                for i in of_id_N.tolist()
            )
            yield from _of_id(studies[study], self._participant(of_id_N[0]), list(sessions), samples[study], how)

    def _participant(self, session: int) -> str:
        return self._names[self._ends[2 * session] : self._ends[2 * session + 2]].decode("utf-8", "surrogatepass")

    def _traits(self, fields: Sequence[str], session: int) -> _Digested:
        start = self._ends[2 * session + 1]
        ends = (start + _VALUE_BYTES * (i + 1) for i in range(len(fields)))
        return tuple(
            (name, bytes(self._values[end - _VALUE_BYTES : end])) for name, end in zip(fields, ends, strict=True)
        )


def _alike(values_N: npt.NDArray[Any]) -> Iterator[npt.NDArray[np.int64]]:
    """The places of each value, in the order in which the values first appear."""
    order_N = np.argsort(values_N, kind="stable")
    sorted_N = values_N[order_N]
    starts = np.flatnonzero(np.append(np.ones(len(values_N[:1]), bool), sorted_N[1:] != sorted_N[:-1]))
    ends = np.append(starts[1:], len(values_N))
    for group in np.argsort(order_N[starts]):
        yield order_N[starts[group] : ends[group]]


def _of_id(
    study: str, participant: str, sessions: Sequence[_Session], sample: str, how: Mapping[str, Counter[str]]
) -> Iterator[tuple[_Person, bytes]]:
    """The people of one id, as far as it has several sessions in the study or the study shares people with others."""
    several = len({session.experiment for session in sessions}) > 1
    if not (several or sample):
        return
    meaning = facts_of(study).ids
    if sample or meaning == "person":
        groups, reason = [list(sessions)], BY_CATALOG
    elif meaning == "anew":
        groups, reason = [[session] for session in sessions], ANEW
    else:
        groups, reason = _told_apart(sessions)
    how[study][reason] += several
    for group in groups:
        experiments = sorted({session.experiment for session in group})
        name = participant if len(groups) == 1 else f"{participant} ({experiments[0]})"
        is_joined = len(experiments) > 1
        if sample:
            unit: Unit = (sample, participant)
        else:
            unit = (study, name) if is_joined else (study, experiments[0], participant)
        keys = (SessionKey(study, experiment, participant) for experiment in experiments)
        yield _Person(unit, name, is_joined), b"".join(key.digest() for key in keys)


def _told_apart(sessions: Sequence[_Session]) -> tuple[list[list[_Session]], str]:
    """The sessions of an id by person, and how that is known.

    Joined is whatever no field of a person that both have tells apart, and what is joined with the same; for each two
    sets of fields, sessions are compared by the values of those that both sets hold.
    """
    parent = list(range(len(sessions)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = i = parent[parent[i]]
        return i

    by_fields: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for i, session in enumerate(sessions):
        by_fields[tuple(name for name, _ in session.traits)].append(i)
    told = True
    for first, second in product(by_fields, repeat=2):
        common = set(first) & set(second)
        of_person = set(filter(_is_of_a_person, common))
        pair = [*by_fields[first], *by_fields[second]]
        told &= bool(of_person) or (bool(common) and len(_by_values(sessions, pair, common)) == 1)
        for years in _YEARS:
            names = {name for name in of_person if not name.endswith(years)}
            for alike in _matched(*(_by_values(sessions, by_fields[fields], names) for fields in (first, second))):
                for i in alike:
                    parent[root(i)] = root(alike[0])
    groups: dict[int, list[_Session]] = defaultdict(list)
    for i, session in enumerate(sessions):
        groups[root(i)].append(session)
    if len(groups) > 1:
        return list(groups.values()), OTHER_METADATA
    return list(groups.values()), BY_METADATA if told else UNTOLD


def _by_values(sessions: Sequence[_Session], of: Sequence[int], names: Collection[str]) -> dict[_Digested, list[int]]:
    """The sessions ``of`` these numbers by their values of the fields ``names``."""
    found: dict[_Digested, list[int]] = defaultdict(list)
    for i in of:
        found[tuple(trait for trait in sessions[i].traits if trait[0] in names)].append(i)
    return found


def _matched(first: Mapping[_Digested, list[int]], second: Mapping[_Digested, list[int]]) -> Iterator[list[int]]:
    return (first[values] + second[values] for values in first if values in second)


@lru_cache(4096)
def _is_of_a_person(name: str) -> bool:
    words = {word.casefold() for word in _WORD.findall(name)}
    return not words.isdisjoint(_OF_A_PERSON) and words.isdisjoint(_OF_OTHERS)


def _aged(name: str, value: str) -> Traits:
    """A trait as it is compared; an age as two, of which one is equal where there is at most a birthday between."""
    if "age" in {word.casefold() for word in _WORD.findall(name)}:
        with suppress(ValueError, OverflowError):
            years = math.floor(float(value))
            return tuple((f"{name} {half}", str((years + i) // 2)) for i, half in enumerate(_YEARS))
    return ((name, value),)


@lru_cache(4096)
def _is_of_a_session(name: str, is_outcome: bool = False) -> bool:
    words = {word.casefold() for word in _WORD.findall(name)}
    of_these = not words.isdisjoint(_OUTCOMES if is_outcome else _OF_A_SESSION)
    is_score = bool(words) and words <= _SCORE
    return of_these or is_score or TIMES.fullmatch(name) is not None


def is_outcome(name: str, value: object) -> bool:
    """Whether a field of a session tells what came of it, such as times, gains, and whatever it lists."""
    return _is_of_a_session(name, True) or as_list(value) is not None


def traits_of(fields: Mapping[str, object]) -> Traits:
    """What a session's metadata say of the person: fields with one known value that do not tell of the session."""
    known = ("text", PERSON_FIELD, "participant", "participant_id", *key_fields(fields))
    return tuple(
        sorted(
            (name, _plain(value))
            for name, value in fields.items()
            if name not in known
            and isinstance(value, str | int | float | Decimal)
            and not is_missing(value)
            and not _is_of_a_session(name)
            and as_list(value) is None
        )
    )


def _plain(value: str | float | Decimal) -> str:
    """A value as it is compared: ``37``, ``37.0`` and ``'37'`` are equal, and ``Female`` and ``f``, True and 'true'."""
    try:
        return repr(float(value))
    except ValueError:
        text = str(value).strip().casefold()
        return _ALIKE.get(text, text)


def _names(key: SessionKey) -> tuple[str, str, str]:
    return key.study, key.experiment, key.participant
