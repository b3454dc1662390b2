"""A table of trials and a template into sessions, one per person: filtered, ordered, told, with metadata."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

from centaurlab.data.tables.long import into_long, without_heads
from centaurlab.data.tables.sandbox import RowCondition
from centaurlab.data.tables.table import TrialTable, by_person, no_such_column, ordered, varying
from centaurlab.data.tables.template import SessionTemplate, ToldSession
from centaurlab.data.transcripts import check_study_name
from centaurlab.runtime.errors import UserError

RESERVED = ("text", "study", "experiment", "participant", "RTs")
"""What a session's line says anyway; no metadata may be called so."""


@dataclass
class TableArguments:
    """What a row of the table is, and whose."""

    _argument_group_name = "table"

    participant: str | None = field(
        default=None, metadata={"help": "column that names the person (of a folder: its files, of JSON: its lists)"}
    )
    order: list[str] = field(
        default_factory=list,
        metadata={"help": "columns by which a person's trials are sorted (default: as in the file)"},
    )
    where: str | None = field(
        default=None,
        metadata={"help": "which rows to tell, as an expression of columns: \"task == 'choice' and block | int > 0\""},
    )
    metadata: list[str] = field(
        default_factory=list, metadata={"help": "columns with one value per person, such as age, kept beside the text"}
    )
    missing: list[str] = field(
        default_factory=list,
        metadata={"help": "cells that mean 'no value', such as NA; an empty cell always does, all others are answers"},
    )
    study: str | None = field(default=None, metadata={"help": "name of the study, or study/experiment"})
    rt_unit: Literal["ms", "s"] | None = field(
        default=None, metadata={"help": "unit of the reaction times given to respond(); they are written in ms"}
    )
    long: list[str] = field(
        default_factory=list,
        metadata={"help": "columns that are questions, with one row per person: Q1 Q2, or 'Q*' (Qualtrics)"},
    )


@dataclass(frozen=True)
class PersonSession:
    """One person's session as told."""

    participant: str
    session: ToldSession
    fields: dict[str, object]
    """The line of the file: text, experiment, participant, RTs where there are any, metadata."""


@dataclass(frozen=True)
class PreparedTable:
    """``told``: the rows that ``--where`` takes, ordered; ``whole``: all, where what is said of a person may stand."""

    told: TrialTable
    whole: TrialTable


def prepared(table: TrialTable, asked: TableArguments) -> PreparedTable:
    """The rows that are told, in their order."""
    table, questions = without_heads(table)
    table = replace(table, missing=frozenset(text.strip() for text in asked.missing))
    if asked.long:
        table = into_long(table, asked.long, questions)
    for column in (*asked.metadata, *asked.order, *([asked.participant] if asked.participant else ())):
        if column not in table.columns:
            no_such_column(column, table.columns)
    if wrong := [name for name in asked.metadata if name in RESERVED and name != asked.participant]:
        raise UserError(f"--metadata {wrong[0]}: a session's line says {wrong[0]!r} already; rename the column")
    told = table
    if asked.where is not None:
        condition = RowCondition(asked.where)
        told = replace(table, rows=[row for row in table.rows if condition.holds(table, row)])
        if not told.rows:
            raise UserError(f"--where {asked.where!r} leaves no row of {len(table.rows)}")
    return PreparedTable(ordered(told, asked.order, asked.participant or table.person) if asked.order else told, table)


def tell_sessions(
    table: PreparedTable, template: SessionTemplate, asked: TableArguments, participant: str
) -> Iterator[PersonSession]:
    """The session of each person, people in the order of ``table``.

    Parameters
    ----------
    table
        As ``prepared``.
    template, asked
        How a session is told, and what the columns are; ``asked.study`` names the study.
    participant
        The column that names the person.

    Raises
    ------
    UserError
        At the first person whose session cannot be told, or who has two values of what is said of a person.
    """
    experiment = asked.study or ""
    study = check_study_name(experiment.partition("/")[0], "--study")
    everything = by_person(table.whole, participant) if asked.metadata else {}
    for person, rows in by_person(table.told, participant).items():
        if not template.has_responses:
            raise UserError(
                f"{template.name}: the template tells no response: write the column that holds the answer into it, as "
                "in You answer {{ respond(trial.answer) }}."
            )
        session = template.tell(table.told, rows, study, person)
        if not session.responses:
            raise UserError(
                f"participant {person!r} has {len(rows)} rows ({rows[0].place} …), of which the template tells no "
                "response; leave the person out by --where"
            )
        known: dict[str, object] = {}
        for column in asked.metadata:
            values = varying(table.whole, everything[person], column)
            if len(values) > 1:
                (one, here), (other, there) = values[:2]
                raise UserError(
                    f"{column!r} of participant {person!r} is {one!r} ({here.place}) and {other!r} ({there.place}); "
                    "metadata have one value per person"
                )
            if values:
                known[column] = _value(values[0][0])
        if both := sorted((set(known) | set(RESERVED)) & set(session.metadata)):
            raise UserError(
                f"participant {person!r}: the template's metadata(…) says {both[0]!r}, which is said already"
            )
        fields: dict[str, object] = {"text": session.text, "experiment": experiment, "participant": person}
        if any(rt is not None for rt in session.rts):
            fields["RTs"] = [_milliseconds(rt, asked.rt_unit) for rt in session.rts]
        yield PersonSession(person, session, fields | known | dict(session.metadata))


def _value(text: str) -> object:
    """A number where it says the same as the text ("35", "0.5"), else the text ("01", "0.10")."""
    for kind in (int, float):
        try:
            if str(kind(text)) == text and text not in ("nan", "inf", "-inf"):
                return kind(text)
        except ValueError:
            pass
    return text


def _milliseconds(rt: float | None, unit: str | None) -> float | int | None:
    if unit is None:
        raise UserError("the template gives reaction times to respond(); say --rt_unit ms or --rt_unit s")
    if rt is None:
        return None
    told = round(rt * 1000, 3) if unit == "s" else rt
    return int(told) if told == int(told) else told
