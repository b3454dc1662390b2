"""From a contributed record (the fields of one JSON line or parquet row) to a validated transcript.

Readers yield records and problems; here a record gets its study, experiment and participant as strings, and
its text is checked once, so that everything downstream can trust a ``Transcript``.
"""

import math
import re
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, time
from decimal import Decimal
from typing import Protocol
from uuid import UUID

from centaurlab.catalog.tables import study_domains
from centaurlab.data.keys import DigestSet
from centaurlab.data.transcripts import BLANK, SessionKey, Transcript, check_study_name, marker_problem
from centaurlab.runtime.errors import UserError

KEY_FIELDS = ("study", "experiment", "participant")
"""What names a session; PsychLing-101 calls the last ``participant_id`` (``key_fields``)."""
PERSON_FIELD = "person"
_NAMES = (str, int, float, Decimal, date, time, UUID, type(None))
_EMPTY_RESPONSE = re.compile(f"<<{BLANK}>>")
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Place:
    """A file's stem (no ``.jsonl.gz`` and the like) and its folder's name: either may name the study.

    ``is_in_data``: whether the folder is part of the data, and not merely where a file lies that was given by itself.
    """

    folder: str
    stem: str
    is_in_data: bool = True


@dataclass(frozen=True)
class Problem:
    """What is wrong with a session or a file, and where: ``origin`` is ``file:line`` or ``file: row N``."""

    origin: str
    reason: str
    places: tuple[Place, ...] = ()

    def __str__(self) -> str:
        return f"{self.origin}: {self.reason}"


@dataclass(frozen=True)
class Record:
    """One session as contributed. ``places``: where it was read, innermost (archive member) first.

    ``problem``: why its text cannot be used, where its reader knows; the session is named nonetheless.
    """

    fields: Mapping[str, object]
    origin: str
    places: tuple[Place, ...] = ()
    problem: str | None = None


class Reader(Protocol):
    """Reads a source from its start, in the same order each time."""

    def __call__(self, *, keys_only: bool = False) -> Iterator[Record | Problem]:
        """Every session; with ``keys_only`` the text may be left out."""
        ...


@dataclass(frozen=True)
class Examined:
    """A session and what is wrong with it.

    ``transcript`` is None where the session cannot be used; both are set where only responses are empty.
    """

    transcript: Transcript | None
    problem: Problem | None


def session_key(record: Record) -> SessionKey | Problem:
    """The identity of a record's session, or why it has none."""
    names = key_fields(record.fields)
    for name in names:
        value = record.fields.get(name)
        if not isinstance(value, _NAMES):
            return Problem(record.origin, f"`{name}` is {_kind(value)}, not a text, number or date", record.places)
    participant = as_name(record.fields.get(names[-1]))
    if participant is None:
        return Problem(record.origin, "no `participant`; every session needs one", record.places)
    experiment = as_name(record.fields.get("experiment"))
    try:
        study = check_study_name(_study(record, experiment), record.origin)
    except UserError as error:
        return Problem(record.origin, str(error).removeprefix(f"{record.origin}: "), record.places)
    if _SURROGATE.search(f"{study}{experiment}{participant}"):
        return Problem(record.origin, "a name holds half of a surrogate pair", record.places)
    # Once in memory, however many sessions have them.
    study, experiment = sys.intern(str(study)), sys.intern(str(study if experiment is None else experiment))
    return SessionKey(study, experiment, participant)


def key_fields(fields: Mapping[str, object]) -> tuple[str, str, str]:
    """The fields of a line that name its session: study, experiment, and the participant as this line calls it."""
    has_other = fields.get("participant") is None and fields.get("participant_id") is not None
    return ("study", "experiment", "participant_id" if has_other else "participant")


def examine(records: Iterable[Record | Problem]) -> Iterator[Examined]:
    """Check every session of ``records``, each on its own and against the others (duplicates).

    To know duplicates, 16 bytes of a digest are kept of every session.
    """
    seen = DigestSet()
    for record in records:
        if isinstance(record, Problem):
            yield Examined(None, record)
            continue
        reason = record.problem or _unreadable(record.fields)
        if reason:
            yield Examined(None, Problem(record.origin, reason))
            continue
        key = session_key(record)
        if isinstance(key, Problem):
            yield Examined(None, key)
            continue
        digest = key.digest()
        if digest in seen:
            yield Examined(None, Problem(record.origin, f"duplicate session: {key} appears twice"))
            continue
        seen.add(digest)
        yield _examine_text(record, key)


def as_name(value: object) -> str | None:
    """A participant, experiment or study as a string (``32`` and ``32.0`` are ``'32'``), or None.

    Databases export ids as decimals of no decimal places; dates and times are written as ISO 8601 has them. Texts that
    look alike are one name: spaces around it, and of how an accent is stored, do not count.
    """
    if isinstance(value, float | Decimal):
        if math.isnan(value):
            return None
        if math.isinf(value):
            return str(value)
        if value == int(value):
            return str(int(value))
        return format(value.normalize(), "f") if isinstance(value, Decimal) else repr(value)
    if isinstance(value, str):
        return unicodedata.normalize("NFC", value.strip()) or None
    if isinstance(value, date | time):
        return value.isoformat()
    return None if value is None else str(value)


def placed_study(places: tuple[Place, ...]) -> str | None:
    """The study that a file gives: a name that the catalog knows, or the data's folder of ``prompts.jsonl``."""
    known = study_domains()
    for place in places:
        for name in (place.stem, place.folder):
            if name in known:
                return name
    for place in places:
        if place.is_in_data and place.stem == "prompts" and place.folder:
            return place.folder
    return None


def names_no_study(record: Record) -> bool:
    """Whether nothing but the file's own name says of which study a session is."""
    return all(as_name(record.fields.get(name)) is None for name in KEY_FIELDS[:2]) and not placed_study(record.places)


def _study(record: Record, experiment: str | None) -> str:
    named = as_name(record.fields.get("study"))
    if named is not None:
        return named
    placed = placed_study(record.places)
    if placed is not None:
        return placed
    head = (experiment or "").partition("/")[0].strip()
    try:
        return check_study_name(head, record.origin)
    except UserError:
        if not record.places:
            return head
        place = record.places[-1]
        return place.folder if place.stem == "prompts" and place.folder else place.stem


def _unreadable(fields: Mapping[str, object]) -> str | None:
    if "text" not in fields:
        return "no `text`; a session needs `text`, `experiment` and `participant`"
    text = fields["text"]
    if not isinstance(text, str):
        return f"`text` is {_kind(text)}, not a string"
    return "`text` holds half of a surrogate pair" if _SURROGATE.search(text) else None


def _examine_text(record: Record, key: SessionKey) -> Examined:
    text = str(record.fields["text"])
    known = ("text", *KEY_FIELDS, *key_fields(record.fields))
    metadata = {name: value for name, value in record.fields.items() if name not in known and value is not None}
    transcript = Transcript(text, key.study, key.experiment, key.participant, metadata, record.origin)
    reason = marker_problem(text)
    if reason is None:
        return Examined(transcript, None)
    without, n_empty = _EMPTY_RESPONSE.subn("<<->>", text)
    only_empty = marker_problem(without) is None
    if only_empty and n_empty > 1:
        reason = f"{n_empty} empty responses, the first: {reason}"
    return Examined(transcript if only_empty else None, Problem(record.origin, f"{reason} ({key})"))


def _kind(value: object) -> str:
    names = {bool: "a boolean", int: "a number", float: "a number", list: "a list", dict: "an object", bytes: "bytes"}
    return "null" if value is None else names.get(type(value), type(value).__name__)
