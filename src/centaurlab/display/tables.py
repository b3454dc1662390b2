"""Data frames into tables of cells, which are shown alike on a terminal, on a page, in Markdown and in a model card.

A cell keeps the number behind its text, so that tables sort, and can be read back, in full precision. Names are as they
are, but for control characters, which are written out; what a medium takes for markup, its renderer escapes.
"""

import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from centaurlab.runtime.names import shown
from centaurlab.stats import words
from centaurlab.stats.estimate import Estimate
from centaurlab.stats.words import INTERVAL, MODELS_LIKE_THESE, NEW_PEOPLE, NOTHING

if TYPE_CHECKING:
    import pandas as pd

_P_VALUES = re.compile(r"(^|_)[pq](_holm|_value)?$")
"""Names of columns of p and q values, such as ``nll_difference_q``."""

_OTHER_INTERVALS = {"these": NEW_PEOPLE, "models": MODELS_LIKE_THESE}
"""How the bounds of an estimate's other intervals end, and what each is of."""


@dataclass(frozen=True)
class Cell:
    """``text`` is read, ``key`` sorted by: a number, '' for none, two numbers for an interval, or None: the text."""

    text: str
    key: str | None = None


@dataclass(frozen=True)
class Table:
    """Cells under titles; without any title (all are empty), a list of facts.

    ``is_number`` of each column: aligned right and sorted by the numbers. ``summary``: rows below the others. ``gist``:
    what a reader of the title alone should know; where all is as it should be, that.
    """

    title: str
    columns: tuple[str, ...]
    is_number: tuple[bool, ...]
    rows: tuple[tuple[Cell, ...], ...]
    summary: tuple[tuple[Cell, ...], ...] = ()
    note: str = ""
    gist: str = ""


def table_of(
    title: str,
    frame: "pd.DataFrame",
    columns: Mapping[str, str] | None = None,
    note: str = "",
    n_summary: int = 0,
    signed: Collection[str] = (),
    no_interval: str = NOTHING,
) -> Table:
    """A table of columns of a data frame.

    Parameters
    ----------
    title : str
        Above the table.
    frame : pandas.DataFrame
        A column ``x`` with two others, ``x_low`` and ``x_high``, holds estimates: it is followed by a column of
        intervals. Where there are also ``x_low_these`` and ``x_high_these``, or ``x_low_models`` and ``x_high_models``,
        these are rows below the summary if they say anything new of summary rows alone, else more columns. Integers
        are counts, other numbers quantities (of ``p`` and ``q`` p values), None and NaN are not defined.
    columns : mapping of str to str, optional
        Names of columns and their titles; by default all, under their names.
    note : str
        Below the table.
    n_summary : int
        So many first rows are shown last, set apart.
    signed : collection of str
        Columns of differences, of which a plus is shown, too. Without being named, columns of estimates are taken for
        differences where one of their bounds is below zero.
    no_interval : str
        What stands where a value has no interval.
    """
    names = list(columns or frame.columns)
    names = [name for name in names if not _is_bound(name, names)]
    frame, n_summary = _with_rows_below(frame, names, n_summary)
    titles, numbers, found = [], [], []
    for name in names:
        values: Sequence[Any] = frame[name].tolist()
        is_number = all(_is_nothing(value) or _is_number(value) for value in values)
        titles.append(shown((columns or {}).get(name) or name.replace("_", " ")))
        numbers.append(is_number)
        if is_number and {f"{name}_low", f"{name}_high"} <= set(frame.columns):
            bounds = (frame[f"{name}_{end}"].tolist() for end in ("low", "high"))
            estimates = [Estimate(*map(_float, three)) for three in zip(values, *bounds, strict=True)]
            is_signed = name in signed or any(min(e.value, e.low) < 0 for e in estimates)
            pairs = [estimate_cells(estimate, is_signed, no_interval) for estimate in estimates]
            titles.append(INTERVAL)
            numbers.append(True)
            found += [[value for value, _ in pairs], [interval for _, interval in pairs]]
            for about, of_what in _OTHER_INTERVALS.items():
                ends = [f"{name}_{end}_{about}" for end in ("low", "high")]
                if not set(ends) <= set(frame.columns):
                    continue
                others = zip(values, *(frame[end].tolist() for end in ends), strict=True)
                titles.append(f"{INTERVAL}, {of_what}")
                numbers.append(True)
                found.append([estimate_cells(Estimate(*map(_float, three)), is_signed)[1] for three in others])
        else:
            cells = [cell(value, name in signed) for value in values]
            if is_number and _P_VALUES.search(name):
                cells = [replace(one, text=words.p_value(value)) for one, value in zip(cells, values, strict=True)]
            found.append(cells)
    rows = tuple(zip(*found, strict=True))
    return Table(shown(title), tuple(titles), tuple(numbers), rows[n_summary:], rows[:n_summary], shown(note))


def _with_rows_below(frame: "pd.DataFrame", names: Sequence[str], n_summary: int) -> tuple["pd.DataFrame", int]:
    """The table with a summary row for each other interval of summary rows, and no column for what says nothing new."""
    import pandas as pd

    summary, rest = frame[:n_summary].astype(object), frame[n_summary:]
    below = []
    for about, of_what in _OTHER_INTERVALS.items():
        ends = {f"{name}_{end}": f"{name}_{end}_{about}" for name in names for end in ("low", "high")}
        ends = {own: other for own, other in ends.items() if {own, other} <= set(frame.columns)}
        if any(not (rest[other].isna().all() or _are_same(rest[own], rest[other])) for own, other in ends.items()):
            continue
        frame = frame.drop(columns=list(ends.values()))
        if not ends or not n_summary:
            continue
        rows = summary.loc[summary[list(ends.values())].notna().any(axis=1)].copy()
        for own, other in ends.items():
            rows[own] = rows[other]
        rows[[name for name in frame.columns if name != names[0] and not _has_interval(name, ends)]] = None
        rows[names[0]] = [f"{label}: {of_what}" for label in rows[names[0]]]
        below.append(rows)
    if not below:
        return frame, n_summary
    parts = [frame[:n_summary].astype(object), *below, frame[n_summary:].astype(object)]
    joined = pd.concat([part[frame.columns] for part in parts if len(part)], ignore_index=True)
    return joined, n_summary + sum(map(len, below))


def _are_same(own: "pd.Series", other: "pd.Series") -> bool:
    """Whether two columns of bounds are equal but for rounding: over one study both intervals are over its people."""
    pairs = zip(own.tolist(), other.tolist(), strict=True)
    return all(math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-12) or (a != a and b != b) for a, b in pairs)


def _has_interval(name: str, ends: Mapping[str, str]) -> bool:
    return name in ends or f"{name}_low" in ends


def _is_bound(name: str, names: Collection[str]) -> bool:
    """Whether a column is an end of the interval of another."""
    ends = [f"_{end}{about}" for end in ("low", "high") for about in ("", *(f"_{a}" for a in _OTHER_INTERVALS))]
    return any(name.endswith(end) and name.removesuffix(end) in names for end in ends)


def rows_of(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], note: str = "", n_summary: int = 0
) -> Table:
    """A table of values under the titles of ``columns``; the first ``n_summary`` rows are shown last, set apart."""
    found = tuple(tuple(cell(value) for value in row) for row in rows)
    is_number = tuple(all(row[i].key is not None for row in found) for i in range(len(columns)))
    return Table(shown(title), tuple(map(shown, columns)), is_number, found[n_summary:], found[:n_summary], shown(note))


def facts_table(title: str, facts: Iterable[tuple[str, str]]) -> Table:
    """Names and what is to be said of each, one a row, without titles of columns."""
    return rows_of(title, ("", ""), facts)


def cell(value: Any, signed: bool = False) -> Cell:
    """A count, a quantity, yes or no, a text as it is, or a dash for nothing."""
    if _is_nothing(value):
        return Cell(NOTHING, "")
    if isinstance(value, bool):
        return Cell("yes" if value else "no")
    if _is_number(value):
        text = words.number(value, signed)
        return Cell(text, "" if text == NOTHING else repr(value))
    return Cell(shown(str(value)))


def estimate_cells(estimate: Estimate, signed: bool, no_interval: str = NOTHING) -> tuple[Cell, Cell]:
    """Value and interval, as ``words.cells`` writes them, with the numbers behind them."""
    value, interval = words.cells(estimate, signed)
    if estimate.is_defined and not estimate.has_interval:
        interval = no_interval
    return (
        Cell(value, repr(float(estimate.value)) if estimate.is_defined else ""),
        Cell(interval, f"{float(estimate.low)!r} {float(estimate.high)!r}" if estimate.has_interval else ""),
    )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_nothing(value: object) -> bool:
    return value is None or value != value


def _float(value: float | None) -> float:
    return float("nan") if value is None else float(value)
