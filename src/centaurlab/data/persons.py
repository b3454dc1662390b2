"""Who a session's person is: the one answer for splits, test shares, clusters, personas and counts.

A ``person`` column says it, where there is one, over all studies. Else an id is one person in a study, unless something
speaks against it: the catalog (``catalog.facts``) knows studies whose ids begin anew in each experiment, and two
sessions of one id are of different people where a person-level field that both have differs. Sessions that nothing
tells apart stay together, with equal metadata or without any: to keep two people on one side of a split costs a
little, to have one person on both makes every number wrong. Studies that the catalog knows to share a sample share
people, by the same ids. Nothing is ever joined across ids, since different people give the same answers.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import product
from typing import NamedTuple

from centaurlab.catalog.facts import facts_of
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

_OF_A_SESSION = {
    *("block", "blocks", "bonus", "condition", "conditions", "counterbalance", "counterbalancing", "date", "day"),
    *("duration", "earned", "earnings", "end", "file", "filename", "list", "order", "origin", "payment"),
    *("phase", "points", "reward", "rewards", "round", "rt", "rts", "run", "seed", "session", "sessions", "set"),
    *("start", "task", "time", "times", "timestamp", "trial", "trials", "version", "wave"),
}
"""Words in the names of fields that tell of a session and not of the person."""
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")

_Traits = tuple[tuple[str, str], ...]


class _Session(NamedTuple):
    experiment: str
    traits: _Traits


@dataclass(frozen=True)
class _Known:
    """Of a session that is not alone with its id: its person's unit and name, and whether the study has more of it."""

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
    _known: Mapping[SessionKey, _Known] = field(default_factory=dict, repr=False)

    def unit(self, key: SessionKey) -> Unit:
        """The session's person, among all studies."""
        known = self._known.get(key)
        return known.unit if known else (key.study, key.experiment, key.participant)

    def name(self, key: SessionKey) -> str:
        """What the person is called, within the study."""
        known = self._known.get(key)
        return known.name if known else key.participant

    def joined(self, key: SessionKey) -> str | None:
        """The person's name, if the study holds several sessions of the person; else None: the session is one."""
        known = self._known.get(key)
        return known.name if known and known.is_joined else None

    @property
    def any_joined(self) -> bool:
        """Whether some study holds several sessions of one person."""
        return any(known.is_joined for known in self._known.values())

    def by_person(self, keys: Iterable[SessionKey]) -> dict[Unit, list[SessionKey]]:
        """The sessions of each person, each once and in the order of their names."""
        found: dict[Unit, list[SessionKey]] = defaultdict(list)
        for key in sorted(set(keys), key=_names):
            found[self.unit(key)].append(key)
        return found


SEPARATE = Persons()
"""Where every session is a person."""


def find_persons(sessions: Iterable[tuple[SessionKey, Mapping[str, object]]]) -> Persons:
    """Who the person of each session is, from all sessions of the data with their metadata.

    Reads a stream; about 300 bytes of each session are kept until its end, metadata that many share but once.
    """
    by_column: dict[str, dict[SessionKey, None]] = {}
    by_id: dict[tuple[str, str], list[_Session]] = {}
    samples: dict[str, str] = {}
    shared: dict[_Traits, _Traits] = {}
    names: dict[str, str] = {}
    for key, fields in sessions:
        study = names.setdefault(key.study, key.study)
        if (person := as_name(fields.get(PERSON_FIELD))) is not None:
            person = person.encode("utf-8", "backslashreplace").decode()  # half of a surrogate pair is no UTF-8
            by_column.setdefault(person, {})[key] = None
            continue
        if study not in samples:
            samples[study] = facts_of(study).sample
        traits = traits_of(fields)
        session = _Session(names.setdefault(key.experiment, key.experiment), shared.setdefault(traits, traits))
        by_id.setdefault((study, key.participant), []).append(session)
    known: dict[SessionKey, _Known] = {}
    how: dict[str, Counter[str]] = defaultdict(Counter)
    for person, keys in by_column.items():
        of_study = Counter(key.study for key in keys)
        for key in keys:
            known[key] = _Known((person,), person, of_study[key.study] > 1)
        for study, n in of_study.items():
            how[study][BY_COLUMN] += n > 1
    for (study, participant), found in by_id.items():
        for key, one in _of_id(study, participant, list(dict.fromkeys(found)), samples[study], how):
            known[key] = one
    n_ids = Counter(study for study, _ in by_id)
    n_ids.update(study for keys in by_column.values() for study in {key.study for key in keys})
    return Persons({study: dict(+counts) for study, counts in how.items() if +counts}, dict(n_ids), known)


def _of_id(
    study: str, participant: str, sessions: Sequence[_Session], sample: str, how: Mapping[str, Counter[str]]
) -> Iterator[tuple[SessionKey, _Known]]:
    """The sessions of one id, as far as it has several in the study or the study shares its people with others."""
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
        for experiment in experiments:
            key = SessionKey(study, experiment, participant)
            if sample:
                unit: Unit = (sample, participant)
            else:
                unit = (study, name) if is_joined else (study, experiment, participant)
            yield key, _Known(unit, name, is_joined)


def _told_apart(sessions: Sequence[_Session]) -> tuple[list[list[_Session]], str]:
    """The sessions of an id by person, and how that is known.

    Joined is whatever no field that both have tells apart, and what is joined with the same; for each two sets of
    fields, sessions are compared by the values of the fields that both sets hold.
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
        told &= bool(common)
        for alike in _matched(*(_by_values(sessions, by_fields[fields], common) for fields in (first, second))):
            for i in alike:
                parent[root(i)] = root(alike[0])
    groups: dict[int, list[_Session]] = defaultdict(list)
    for i, session in enumerate(sessions):
        groups[root(i)].append(session)
    if len(groups) > 1:
        return list(groups.values()), OTHER_METADATA
    return list(groups.values()), BY_METADATA if told else UNTOLD


def _by_values(sessions: Sequence[_Session], of: Sequence[int], names: Collection[str]) -> dict[_Traits, list[int]]:
    """The sessions ``of`` these numbers by their values of the fields ``names``."""
    found: dict[_Traits, list[int]] = defaultdict(list)
    for i in of:
        found[tuple(trait for trait in sessions[i].traits if trait[0] in names)].append(i)
    return found


def _matched(first: Mapping[_Traits, list[int]], second: Mapping[_Traits, list[int]]) -> Iterator[list[int]]:
    return (first[values] + second[values] for values in first if values in second)


def traits_of(fields: Mapping[str, object]) -> _Traits:
    """What a session's metadata say of the person: fields with one known value that do not tell of the session."""
    known = ("text", PERSON_FIELD, "participant", *key_fields(fields))
    return tuple(
        sorted(
            (name, _plain(value))
            for name, value in fields.items()
            if name not in known
            and isinstance(value, str | int | float | Decimal)
            and not is_missing(value)
            and _OF_A_SESSION.isdisjoint(word.casefold() for word in _WORD.findall(name))
        )
    )


def _plain(value: str | float | Decimal) -> str:
    """A value as it is compared: ``37``, ``37.0`` and ``'37'`` are equal, and so are ``Female`` and ``female``."""
    try:
        return repr(float(value))
    except ValueError:
        return str(value).strip().casefold()


def _names(key: SessionKey) -> tuple[str, str, str]:
    return key.study, key.experiment, key.participant
