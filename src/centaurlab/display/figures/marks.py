"""An estimate with its intervals as lines and arrows, along either axis: the same in every figure.

A mean over studies has a thin line of studies like these and a thick one of new people in these studies; an average
over models has a dotted one of models like these. What goes beyond the axis, so that the rest can be seen, ends in an
arrow there.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median_low, quantiles
from typing import TYPE_CHECKING

from centaurlab.display.figures.style import GREY
from centaurlab.stats.estimate import UNKNOWN, Estimate
from centaurlab.stats.words import MODELS_LIKE_THESE, NEW_PEOPLE, STUDIES_LIKE_THESE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

THIN, THICK, DOTTED = 1.1, 2.6, 0.9
_SMALLEST_RANGE = 0.02
_WIDEST = 3  # intervals of so many times the width of three in four (of few: of half) may go beyond the axis


def draw_intervals(
    axes: Axes,
    at: float,
    estimate: Estimate,
    colour: str,
    these: Estimate = UNKNOWN,
    models: Estimate = UNKNOWN,
    vertical: bool = False,
) -> None:
    """The intervals of one quantity at place ``at`` of the other axis, whose limits and its own are set before."""
    for one, width, line in ((models, DOTTED, ":"), (estimate, THIN, "-"), (these, THICK, "-")):
        if one.has_interval:
            ends = (one.low, one.high)
            places = ((at, at), ends) if vertical else (ends, (at, at))
            axes.plot(*places, line, color=colour, linewidth=width, zorder=2, scalex=False, scaley=False)
    widest = [one for one in (estimate, these, models) if one.has_interval]
    low, high = sorted(axes.get_ylim() if vertical else axes.get_xlim())
    is_turned = vertical and axes.yaxis_inverted()
    for end, arrow, is_beyond in (
        (low, "^" if is_turned else "v" if vertical else "<", any(one.low < low for one in widest)),
        (high, "v" if is_turned else "^" if vertical else ">", any(one.high > high for one in widest)),
    ):
        if is_beyond:
            place = (at, end) if vertical else (end, at)
            axes.plot(*place, arrow, color=colour, markersize=3, clip_on=False, zorder=2, scalex=False, scaley=False)


def axis_range(estimates: Sequence[Estimate], others: Sequence[float] = (0.0,)) -> tuple[float, float]:
    """An axis that holds ``others``, all values, and those intervals that are not many times as wide as most, or as all
    values together.
    """
    values = [e.value for e in estimates if e.is_defined]
    bounded = [e for e in estimates if e.has_interval]
    widths = [width for e in bounded if (width := e.high - e.low) > 0]
    usual = quantiles(widths, n=4)[-1] if len(widths) > 7 else median_low(widths or [0.0])
    widest = _WIDEST * max(usual, max(values, default=0.0) - min(values, default=0.0))
    shown = [e for e in bounded if e.high - e.low <= widest]
    ends = [*others, *values, *(bound for e in shown for bound in (e.low, e.high))]
    low, high = min(ends), max(ends)
    if high - low < _SMALLEST_RANGE:  # nothing to see but rounding
        low, high = (low + high - _SMALLEST_RANGE) / 2, (low + high + _SMALLEST_RANGE) / 2
    margin = 0.05 * (high - low)
    return low - margin, high + margin


def interval_keys(has_these: bool, has_models: bool = False) -> list[Line2D]:
    """What thin, thick and dotted lines are, for a legend; nothing where there is one kind alone."""
    from matplotlib.lines import Line2D  # here: see new_figure

    keys = []
    if has_these:
        keys.append(Line2D([], [], color=GREY, linewidth=THIN, label=STUDIES_LIKE_THESE))
        keys.append(Line2D([], [], color=GREY, linewidth=THICK, label=NEW_PEOPLE))
    if has_models:
        keys.append(Line2D([], [], color=GREY, linewidth=DOTTED, linestyle=":", label=MODELS_LIKE_THESE))
    return keys
