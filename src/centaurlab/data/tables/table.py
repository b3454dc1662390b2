"""A table of trials as it was written: every cell is the text that stands in the file, and knows where that is."""

import difflib
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

from centaurlab.runtime.errors import UserError

Cells = Mapping[str, str | None]
"""A row's cells by column; None, or no entry, where the format itself says that there is no value."""

_NUMBER = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*")
_PART = re.compile(r"(\D*)(\d+(?:[.,]\d+)?|$)")
_UNSORTED = re.compile(r"\b\d\d?[./-]\d\d?[./-]\d{4}\b|\d\s?[ap]\.?m\b", re.IGNORECASE)
"""Dates that end in the year, and hours of half a day: no order of texts is theirs."""
_LIKE_NUMBER = re.compile(r"\s*[+-]?(\d+[.,]?\d*|[.,]\d+)([eE][+-]?\d+)?\s*")


class Cell(str):
    """A cell's text, which is no number: what Python makes of one in silence is refused.

    ``trial.choice == 1`` would be false, ``trial.left > trial.right`` would compare digit by digit ("9" is more than
    "10"), ``trial.points + trial.bonus`` would join two numbers, and "0" and "false" would count as true.
    """

    __slots__ = ()
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        if isinstance(other, int | float):
            raise TypeError(f"the text {str(self)!r} is compared with the number {other}; write '{other}' or | int")
        return str.__eq__(self, other) if isinstance(other, str) else False

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __bool__(self) -> bool:
        raise TypeError(f"the text {str(self)!r} is taken for true, whatever it says; write == 'true' or == '1'")

    def __lt__(self, other: Any) -> bool:
        return str.__lt__(self, self._beside(other))

    def __le__(self, other: Any) -> bool:
        return str.__le__(self, self._beside(other))

    def __gt__(self, other: Any) -> bool:
        return str.__gt__(self, self._beside(other))

    def __ge__(self, other: Any) -> bool:
        return str.__ge__(self, self._beside(other))

    def __add__(self, other: Any) -> str:
        return str.__add__(self, self._beside(other))

    def __mul__(self, other: Any) -> str:
        return str.__mul__(self, self._beside(other))

    __rmul__ = __mul__

    def lower(self) -> "Cell":
        """Still a cell: Jinja's ``max`` and ``min`` compare texts so."""
        return Cell(str.lower(self))

    def _beside(self, other: Any) -> Any:
        """``other``; TypeError where both are numbers, though this is a text."""
        if _LIKE_NUMBER.fullmatch(self) and (not isinstance(other, str) or _LIKE_NUMBER.fullmatch(other)):
            raise TypeError(f"{str(self)!r} is a text also beside {str(other)!r}; write | int or | float, or ~ to join")
        return other


@dataclass(frozen=True)
class Row:
    """One row of a table: ``place`` is the file with the line or the row."""

    cells: Cells
    place: str


@dataclass
class TrialTable:
    """Rows in the order of the files; ``missing`` are the texts that stand for "no value", beside the empty one.

    ``files``: those that were read. ``notes`` say how, wherever that was a choice. ``person``: the column by which a
    reader told files or lists apart, if it did.
    """

    columns: tuple[str, ...]
    rows: list[Row]
    files: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()
    missing: frozenset[str] = frozenset()
    person: str | None = None

    def cell(self, row: Row, column: str) -> Cell | None:
        """A cell, None where it is missing. Raises ``UserError`` for a column that is not there."""
        value = row.cells.get(column)
        if value:
            return None if self.missing and value.strip() in self.missing else Cell(value)
        if column not in self.columns:
            no_such_column(column, self.columns)
        return None


def unused(name: str, columns: Collection[str]) -> str:
    """A name for a column beside ``columns``: this, or one that is like it."""
    while name in columns:
        name += "_read"
    return name


def named(column: str) -> str:
    """A column as a template names it."""
    return f"trial.{column}" if column.isidentifier() else f'trial["{column}"]'


def no_such_column(name: str, columns: Collection[str], where: str = "") -> NoReturn:
    """Raise the error of a column that is not there, with the nearest that is."""
    raise UserError(f"{where}there is no column {name!r}; {nearest(name, columns)}")


def nearest(name: str, known: Collection[str]) -> str:
    """The name that was meant, or all there are."""
    close = difflib.get_close_matches(name.casefold(), [one.casefold() for one in known], n=1)
    meant = [one for one in known if one.casefold() in close]
    if meant:
        return f"did you mean {meant[0]!r}?"
    listed = ", ".join(list(known)[:20])
    return f"there are {listed}{' …' if len(known) > 20 else ''}" if known else "there is none"


def stacked(tables: Sequence[TrialTable]) -> TrialTable:
    """Tables below each other; a column that one of them lacks is missing there."""
    columns = tuple(dict.fromkeys(column for table in tables for column in table.columns))
    rows = [row for table in tables for row in table.rows]
    notes = tuple(dict.fromkeys(note for table in tables for note in table.notes))
    return TrialTable(columns, rows, tuple(path for table in tables for path in table.files), notes)


def ordered(table: TrialTable, columns: Sequence[str], person: str | None = None) -> TrialTable:
    """The rows sorted by ``columns``, ties in their old order: as numbers where all are, else as text.

    Raises ``UserError`` where a cell is missing, only some are numbers, or the texts of somebody (whom the column
    ``person`` names) do not sort as the numbers, times and dates in them.
    """
    rows = list(table.rows)
    for column in reversed(columns):
        cells = [(table.cell(row, column), row) for row in rows]
        for cell, row in cells:
            if cell is None:
                raise UserError(f"{row.place}: no {column!r}, by which the trials are ordered; leave it out by --where")
        texts = [str(cell) for cell, _ in cells]
        are_numbers = [bool(_NUMBER.fullmatch(text)) for text in texts]
        if any(are_numbers) and not all(are_numbers):
            row = cells[are_numbers.index(False)][1]
            raise UserError(
                f"{row.place}: {column!r} is {texts[are_numbers.index(False)]!r}, elsewhere a number; trials are "
                "ordered by numbers or by texts, not by both"
            )
        keys: list[float] | list[str] = [float(text) for text in texts] if all(are_numbers) else texts
        rows = [rows[i] for i in sorted(range(len(rows)), key=keys.__getitem__)]
        if not all(are_numbers):
            _check_order(rows, column, person)
    return replace(table, rows=rows)


def _check_order(rows: Sequence[Row], column: str, person: str | None) -> None:
    """Raise ``UserError`` where texts that are sorted stand otherwise than the numbers in them."""
    last: dict[str | None, str] = {}
    for row in rows:
        text, whose = row.cells[column] or "", row.cells.get(person or "")
        before = last.get(whose, text)
        if _counted(before) > _counted(text) or _UNSORTED.findall(before) != _UNSORTED.findall(text):
            raise UserError(
                f"{row.place}: by --order {column}, {before!r} comes before {text!r}, since they are texts; write "
                "numbers with a point and without words, times as 09:58, dates as 2026-03-01"
            )
        last[whose] = text


def _counted(text: str) -> list[tuple[str, float]]:
    return [(words, float(number.replace(",", ".") or 0)) for words, number in _PART.findall(text)]


def by_person(table: TrialTable, column: str) -> dict[str, list[Row]]:
    """The rows of each person, people in the order of the table. Raises ``UserError`` where a row names nobody."""
    people: dict[str, list[Row]] = {}
    for row in table.rows:
        person = table.cell(row, column)
        if person is None:
            raise UserError(f"{row.place}: no {column!r}, hence no person; name it, or leave such rows out by --where")
        people.setdefault(str(person), []).append(row)
    return people


def varying(table: TrialTable, rows: Iterable[Row], column: str) -> list[tuple[str, Row]]:
    """The different values of ``column`` in ``rows``, each with the first row that has it; missing ones left out."""
    found: dict[str, Row] = {}
    for row in rows:
        cell = table.cell(row, column)
        if cell is not None:
            found.setdefault(str(cell), row)
    return list(found.items())
