"""Estimates as rows of a page: where dots and intervals lie, in percent of the width, and what they say in words.

The page draws them as plain SVG that widens with the window; on paper and in Markdown stands the figure of the same
rows. What differs from zero is filled, as there.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from centaurlab.display.figures.intervals import Row, shown_estimates, sorted_rows
from centaurlab.display.figures.marks import axis_range
from centaurlab.stats import words
from centaurlab.stats.estimate import Estimate
from centaurlab.stats.words import INTERVAL, MODELS_LIKE_THESE, NEW_PEOPLE

_TICKS = 5


@dataclass(frozen=True)
class Span:
    """From where to where a line goes, in percent; whether it goes on beyond the axis at either end."""

    start: float
    end: float
    beyond_start: bool = False
    beyond_end: bool = False


@dataclass(frozen=True)
class Mark:
    """A dot with its lines: of a series, ``at`` percent of the width; ``said``: name, value and interval in words."""

    series: int
    at: float
    value: str
    is_clear: bool
    is_above: bool
    said: str
    interval: Span | None
    these: Span | None
    models: Span | None


@dataclass(frozen=True)
class ChartRow:
    """What stands in one line: a study, and a mark for every series that has it."""

    label: str
    is_summary: bool
    marks: tuple[Mark, ...]


@dataclass(frozen=True)
class Chart:
    """Rows over one axis: ``ticks`` are percents and numbers; ``zero``: where zero is, if that means something.

    ``ends``: what lies at either end.
    """

    rows: tuple[ChartRow, ...]
    series: tuple[str, ...]
    axis: str
    ticks: tuple[tuple[float, str], ...]
    zero: float | None
    ends: str = ""

    @property
    def n_marks(self) -> int:
        """The most that stand in one line."""
        return max((len(row.marks) for row in self.rows), default=1)


def chart_of(
    rows: Sequence[Row], axis: str, series: Sequence[str] = (), is_signed: bool = True, ends: str = ""
) -> Chart:
    """Rows as ``display.figures`` draws them: from the largest down, summaries last, undefined ones left out.

    ``axis``: quantity and unit; ``ends``: what lies at its two ends. Rows of one label, of several ``series``, share a
    line.
    """
    shown = sorted_rows(rows)
    low, high = axis_range(shown_estimates(shown)) if shown else (0.0, 1.0)
    low = low if is_signed else 0.0
    labels = list(dict.fromkeys((row.label, row.is_summary) for row in shown))
    if len(series) > 1:
        worst = {label: max(row.estimate.value for row in shown if row.label == label) for label, _ in labels}
        labels.sort(key=lambda known: (known[1], -worst[known[0]]))
    lines = []
    for label, is_summary in labels:
        of_line = [row for row in shown if (row.label, row.is_summary) == (label, is_summary)]
        marks = tuple(_mark(row, low, high, axis, series, is_signed) for row in of_line)
        lines.append(ChartRow(label, is_summary, marks))
    zero = _percent(0.0, low, high) if is_signed else None
    return Chart(tuple(lines), tuple(series), axis, _ticks(low, high, is_signed), zero, ends)


def _mark(row: Row, low: float, high: float, axis: str, series: Sequence[str], is_signed: bool) -> Mark:
    value, interval = words.cells(row.shown, is_signed)
    name = f"{row.label}, {series[row.series]}" if len(series) > 1 else row.label
    said = f"{name}: {axis.partition(' (')[0]} {value}"
    if row.shown.has_interval:
        said += f", {INTERVAL} {interval}"
    if row.these.has_interval:
        said += f"; {NEW_PEOPLE} {words.cells(row.these, is_signed)[1]}"
    if row.models.has_interval:
        said += f"; {MODELS_LIKE_THESE} {words.cells(row.models, is_signed)[1]}"
    at = _percent(row.estimate.value, low, high)
    is_clear = row.is_clear if is_signed else True
    spans = [_span(estimate, low, high) for estimate in (row.shown, row.these, row.models)]
    return Mark(row.series, at, value, is_clear, row.estimate.value > 0, said, *spans)


def _span(estimate: Estimate, low: float, high: float) -> Span | None:
    if not estimate.has_interval:
        return None
    ends = (_percent(estimate.low, low, high), _percent(estimate.high, low, high))
    return Span(*ends, estimate.low < low, estimate.high > high)


def _percent(value: float, low: float, high: float) -> float:
    return round(float(np.clip(100 * (value - low) / (high - low), 0, 100)), 3)


def _ticks(low: float, high: float, is_signed: bool) -> tuple[tuple[float, str], ...]:
    """Round numbers on the axis: steps of one, two or five times a power of ten."""
    rough = (high - low) / _TICKS
    power = 10.0 ** np.floor(np.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
    decimals = max(0, -int(np.floor(np.log10(step))))
    numbers = np.arange(np.ceil(low / step), np.floor(high / step) + 1) * step
    texts = [f"{0.0 if abs(n) < step / 2 else n:.{decimals}f}" for n in numbers]
    signs = ["+" if is_signed and n > step / 2 else "" for n in numbers]
    return tuple((_percent(n, low, high), sign + text) for n, sign, text in zip(numbers, signs, texts, strict=True))
