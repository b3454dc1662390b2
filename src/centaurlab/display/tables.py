"""Data frames into tables of cells that are read and sorted: for the terminal, the page and Markdown."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from centaurlab.stats.estimate import CONFIDENCE

if TYPE_CHECKING:
    import pandas as pd


INTERVAL = f"{CONFIDENCE:.0%} interval"
NOTHING = "–"


@dataclass(frozen=True)
class Cell:
    """``text`` is read, ``key`` sorted by: a number, '' for none, two numbers for an interval, or None: the text."""

    text: str
    key: str | None = None


@dataclass(frozen=True)
class ReportTable:
    """``is_number`` of each column: aligned right and sorted by the numbers. ``summary``: rows below the others."""

    title: str
    columns: tuple[str, ...]
    is_number: tuple[bool, ...]
    rows: tuple[tuple[Cell, ...], ...]
    summary: tuple[tuple[Cell, ...], ...] = ()
    note: str = ""


def table_of(
    title: str, frame: "pd.DataFrame", columns: Mapping[str, str] | None = None, note: str = "", n_summary: int = 0
) -> ReportTable:
    """A table of the named ``columns`` (default: all) under their titles; the first ``n_summary`` rows end it.

    A column with two others that end in ``_low`` and ``_high`` is followed by one that shows both, as an interval.
    """
    names = list(columns or frame.columns)
    names = [name for name in names if not (name.endswith(("_low", "_high")) and name.rpartition("_")[0] in names)]
    titles, numbers, cells = [], [], []
    for name in names:
        values: Sequence[Any] = frame[name].tolist()
        is_number = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
        is_signed = is_number and f"{name}_low" in frame and any(value < 0 or name[:1] == "d" for value in values)
        titles.append((columns or {}).get(name) or name.replace("_", " "))
        numbers.append(is_number)
        cells.append([number(value, is_signed) if is_number else Cell(_text(value)) for value in values])
        if {f"{name}_low", f"{name}_high"} <= set(frame.columns):
            titles.append(INTERVAL)
            numbers.append(True)
            bounds = zip(frame[f"{name}_low"].tolist(), frame[f"{name}_high"].tolist(), strict=True)
            cells.append([interval(low, high, is_signed) for low, high in bounds])
    rows = tuple(zip(*cells, strict=True))
    return ReportTable(title, tuple(titles), tuple(numbers), rows[n_summary:], rows[:n_summary], note)


def number(value: float, is_signed: bool = False) -> Cell:
    """A count with thousands set apart, a quantity with three decimals, a dash where it is not defined."""
    if value is None or not math.isfinite(value):
        return Cell(NOTHING, "")
    if isinstance(value, int):
        return Cell(f"{value:,}", str(value))
    return Cell(_decimal(value, is_signed), repr(float(value)))


def interval(low: float, high: float, is_signed: bool = False) -> Cell:
    """``+0.101 to +0.202``, or a dash."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return Cell(NOTHING, "")
    text = " to ".join(_decimal(x, is_signed) if abs(x) < 100 else f"{x:+.3g}" for x in (low, high))
    return Cell(text, f"{float(low)!r} {float(high)!r}")


def _decimal(value: float, is_signed: bool) -> str:
    value = 0.0 if abs(value) < 1e-9 else value  # what sums of floats leave of equal numbers
    if 0 < abs(value) < 0.0005:
        return f"{value:{'+' if is_signed else ''}.1e}"
    return f"{value:{'+' if is_signed else ''},.3f}"


def _text(value: object) -> str:
    if value is None or value != value:
        return NOTHING
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
