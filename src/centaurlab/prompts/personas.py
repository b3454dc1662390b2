"""Who a participant is, as an interview to be read before the session: which questions, and which answers count.

The questions, their order and the fields are those of the published evaluation ("Post-training makes large language
models less human-like"), in ``catalog/personas.csv``; its answers have no full stop, ours do. A table of one's own
may replace them. Only answers reach a prompt: missing values in any of their spellings are left out, and what could
pass for a turn or a response is refused.
"""

import csv
import hashlib
import random
import re
import string
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from importlib.resources import files
from io import StringIO
from pathlib import Path
from typing import Any

from centaurlab.data.persons import Persons
from centaurlab.data.splits import first_people, person_order
from centaurlab.data.transcripts import CLOSE, OPEN, SessionKey, Transcript, is_missing
from centaurlab.prompts.prompt import Prompt, session_prompt
from centaurlab.runtime.errors import UserError

COLUMNS = ("field", "aliases", "question", "answer", "not_missing")
_WHOLE = re.compile(r"([+-]?\d+)\.0*")
_ANSWER_FORMAT = re.compile(r"[-+ ]?,?(\.\d{1,2})?[eEfgG%]?")  # no width, which could ask for gigabytes
_BREAKS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")

Answers = Mapping[str, str]
"""What a participant answers, by field, in the table's order."""


@dataclass(frozen=True)
class PersonaField:
    """A line of the table. ``answer``: a format such as ``{}.`` or ``{:.2f}.``; ``not_missing``: values that count."""

    name: str
    aliases: tuple[str, ...]
    question: str
    answer: str
    not_missing: tuple[str, ...] = ()

    def find(self, metadata: Mapping[str, Any]) -> object | None:
        """The first value in ``metadata`` that is there: under the field's name, in any case, or an alias."""
        own = [key for key in metadata if key.casefold() == self.name.casefold()]
        values = (metadata[key] for key in [*own, *self.aliases] if key in metadata)
        return next((value for value in values if not self._is_missing(value)), None)

    def turn(self, value: object) -> str:
        """Question and answer. Raises ``ValueError`` for a value that is no answer, in words."""
        text = _as_text(value)
        if OPEN in text or CLOSE in text or _BREAKS.search(text):
            raise ValueError(f"{text[:80]!r} holds '<<', '>>' or a line break")
        try:
            answer = self.answer.format(_number(text, spec) if (spec := _number_format(self.answer)) else text)
        except ValueError as error:
            raise ValueError(f"{text[:80]!r} does not fit the answer {self.answer!r} ({error})") from error
        if text.endswith(".") and answer.endswith(f"{text}."):
            answer = answer[:-1]
        return f"Interviewer: {self.question}\nInterviewee: {answer}\n\n"

    def _is_missing(self, value: object) -> bool:
        counts = isinstance(value, str) and value.strip().casefold() in {known.casefold() for known in self.not_missing}
        return is_missing(value) and not counts


@dataclass(frozen=True)
class Personas:
    """The answers of every participant who gives any. ``everybody``: all who were asked, with or without answers.

    ``persons``: whose sessions these are. ``refused``: those left out of both, and why.
    """

    fields: tuple[PersonaField, ...]
    answers: Mapping[SessionKey, Answers]
    everybody: frozenset[SessionKey]
    persons: Persons
    refused: tuple[str, ...] = ()

    @cached_property
    def found_fields(self) -> tuple[str, ...]:
        """Fields that at least one participant answers, in the table's order."""
        given = {name for answers in self.answers.values() for name in answers}
        return tuple(one.name for one in self.fields if one.name in given)

    def chosen(self, max_participants: int | None, seed: int) -> frozenset[SessionKey]:
        """Of those who answer, the first ``max_participants`` of each study in the seeded order; None: all."""
        return first_people(self.answers, self.persons, max_participants, seed)

    def of_their_studies(self, max_participants: int | None, seed: int) -> frozenset[SessionKey]:
        """Whoever takes part in a study in which somebody answers, as many of each as ``chosen`` has."""
        studies = {key.study for key in self.answers}
        present = [key for key in self.everybody if key.study in studies]
        return first_people(present, self.persons, max_participants, seed)


@dataclass(frozen=True)
class PersonaContext:
    """A persona before each session. ``kind``: ``own``, ``shuffled`` or ``field``; ``texts`` by participant.

    ``seed``: of the shuffling. ``late_cut``: the paper's protocol cuts after the persona was put in front.
    """

    kind: str
    fields: tuple[PersonaField, ...]
    texts: Mapping[SessionKey, str] = field(repr=False)
    seed: int | None = None
    late_cut: bool = False

    @property
    def identity(self) -> Mapping[str, Any]:
        """The table as it was used; texts are in the digests of the prompts."""
        table = repr([asdict(one) for one in self.fields]).encode()
        return {
            "persona": self.kind,
            "fields": [one.name for one in self.fields],
            "table": hashlib.sha256(table).hexdigest(),
            "seed": self.seed,
            "late_cut": self.late_cut,
        }

    @property
    def sessions(self) -> frozenset[SessionKey]:
        """Those with a persona."""
        return frozenset(self.texts)

    def prompt(self, transcript: Transcript, protocol: str) -> Prompt:
        """The persona and the session; the persona takes no part of the session's share of characters."""
        persona = self.texts[transcript.key]
        if self.late_cut:
            return session_prompt(persona + transcript.text, protocol)
        return session_prompt(transcript.text, protocol, before=persona)


def persona_fields(table: str | None = None) -> tuple[PersonaField, ...]:
    """The fields of a CSV file with ``COLUMNS``, or those of the published evaluation.

    ``aliases`` and ``not_missing`` hold several values with ``|`` between; both and ``answer`` (``{}.``) may be
    left out. Raises ``UserError``, with the line, for a table that cannot be read so.
    """
    if table is None:
        return _read_table(files("centaurlab.catalog").joinpath("personas.csv").read_text(encoding="utf-8"), "personas")
    path = Path(table).expanduser()
    try:
        return _read_table(path.read_text(encoding="utf-8-sig"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read --persona_table {path}: {error}") from error


def read_personas(
    transcripts: Iterable[Transcript],
    fields: tuple[PersonaField, ...],
    persons: Persons,
    on_malformed: str = "error",
) -> Personas:
    """What every participant answers. ``UserError``, naming who and what, at a value that is no answer.

    With ``on_malformed='skip'`` such a participant is left out and named.
    """
    found: dict[SessionKey, Answers] = {}
    everybody: set[SessionKey] = set()
    refused: list[str] = []
    for transcript in transcripts:
        answers: dict[str, str] = {}
        for one in fields:
            value = one.find(transcript.metadata)
            if value is None:
                continue
            try:
                answers[one.name] = one.turn(value)
            except ValueError as error:
                reason = f"{transcript.origin}: {one.name} of {transcript.key}: {error}"
                if on_malformed == "error":
                    raise UserError(
                        f"{reason}; correct it, or leave such participants out with --on_malformed skip"
                    ) from error
                refused.append(reason)
                break
        else:
            everybody.add(transcript.key)
            if answers:
                found[transcript.key] = answers
    return Personas(fields, found, frozenset(everybody), persons, tuple(refused))


def own_context(personas: Personas, sessions: Iterable[SessionKey], late_cut: bool = False) -> PersonaContext:
    """Each participant's own persona."""
    texts = {key: "".join(personas.answers[key].values()) for key in sessions}
    return PersonaContext("own", personas.fields, texts, late_cut=late_cut)


def field_context(personas: Personas, sessions: Iterable[SessionKey], name: str) -> PersonaContext:
    """One field alone, for those of ``sessions`` who answer it."""
    texts = {key: personas.answers[key][name] for key in sessions if name in personas.answers[key]}
    return PersonaContext("field", tuple(one for one in personas.fields if one.name == name), texts)


def shuffled_context(
    personas: Personas, sessions: Iterable[SessionKey], seed: int
) -> tuple[PersonaContext, frozenset[SessionKey]]:
    """The persona of another person of the study, with another text where there is one; and who kept theirs.

    Each persona of the study (of all who have one, not of ``sessions`` alone) is given to one person, for all of the
    person's sessions; where one's sessions differ in what is known, it is that of the first.
    """
    texts = {key: "".join(answers.values()) for key, answers in personas.answers.items()}
    given: dict[SessionKey, str] = {}
    for study, people in person_order(texts, personas.persons, seed).items():
        for one, text in zip(people, _deranged([texts[one[0]] for one in people], f"{seed} {study}"), strict=True):
            given |= dict.fromkeys(one, text)
    chosen = {key: given[key] for key in sessions}
    kept = frozenset(key for key, text in chosen.items() if text == texts[key])
    return PersonaContext("shuffled", personas.fields, chosen, seed), kept


def _deranged(texts: Sequence[str], seed: str) -> list[str]:
    """``texts`` in another order, in which as few as possible stand where an equal one stood.

    Equal texts are put side by side, in a random order of groups, and all are moved on by the size of the largest.
    """
    groups: dict[str, list[int]] = defaultdict(list)
    for i, text in enumerate(texts):
        groups[text].append(i)
    distinct = sorted(groups)
    random.Random(seed).shuffle(distinct)
    places = [i for text in distinct for i in groups[text]]
    step = max(map(len, groups.values()))
    moved = list(texts)
    for number, place in enumerate(places):
        moved[place] = texts[places[(number + step) % len(places)]]
    return moved


def _as_text(value: object) -> str:
    """A value as said: ``35.0`` and ``'35.0'`` are 35, true is yes."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, str | int | float):
        raise ValueError(f"a {type(value).__name__} is neither text nor a number")
    text = str(value).strip()
    if isinstance(value, float) and value.is_integer():
        text = str(int(value))
    whole = _WHOLE.fullmatch(text)
    return whole[1] if whole else text


def _read_table(text: str, place: str) -> tuple[PersonaField, ...]:
    reader = csv.DictReader(StringIO(text, newline=""), skipinitialspace=True)
    columns = reader.fieldnames or ()
    for column in ("field", "question"):
        if column not in columns:
            raise UserError(f"{place} has no column {column!r}; the columns are {', '.join(COLUMNS)}")
    for column in columns:
        if column not in COLUMNS:
            raise UserError(f"{place} has a column {column!r}; there may be {', '.join(COLUMNS)}")
    fields = [_field(row, f"{place}:{reader.line_num}") for row in reader]
    names = [name for one in fields for name in (one.name, *one.aliases)]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UserError(f"{place}: {twice[0]!r} is named more than once; a field and an alias stand for one question")
    if not fields:
        raise UserError(f"{place} lists no field; write one per line below the names of the columns")
    return tuple(fields)


def _field(row: Mapping[str | None, Any], place: str) -> PersonaField:
    if None in row:
        raise UserError(f"{place}: more values than columns; put a text that holds a comma between quotes")
    value = {column: (row.get(column) or "").strip() for column in COLUMNS}
    for column in ("field", "question"):
        if not value[column]:
            raise UserError(f"{place}: no {column}; give every field a name and a question")
    for column in ("question", "answer"):
        if OPEN in value[column] or CLOSE in value[column] or _BREAKS.search(value[column]):
            raise UserError(f"{place}: the {column} holds '<<', '>>' or a line break; leave it out")
    answer = value["answer"] or "{}."
    if not _is_answer_format(answer):
        raise UserError(f"{place}: answer is {answer!r}; write {{}} where the value stands, or {{:.2f}} for a number")
    aliases, not_missing = (tuple(_parts(value[column])) for column in ("aliases", "not_missing"))
    return PersonaField(value["field"], aliases, value["question"], answer, not_missing)


def _number_format(answer: str) -> str:
    return "".join(spec or "" for _, _, spec, _ in string.Formatter().parse(answer))


def _number(text: str, spec: str) -> float:
    """Whole numbers as such, which have no precision."""
    number = float(text)
    return int(number) if number.is_integer() and "." not in spec else number


def _is_answer_format(answer: str) -> bool:
    try:
        marks = [(name, spec, how) for _, name, spec, how in string.Formatter().parse(answer) if name is not None]
        if len(marks) != 1 or marks[0][0] or marks[0][2] or not _ANSWER_FORMAT.fullmatch(marks[0][1] or ""):
            return False
        answer.format(1.0 if _number_format(answer) else "1")
    except ValueError:
        return False
    return True


def _parts(text: str) -> Iterator[str]:
    return (part.strip() for part in text.split("|") if part.strip())
