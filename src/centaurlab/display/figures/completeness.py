"""Models between chance and ceiling: a line per study, 0 at chance, 1 at what can be achieved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from centaurlab.display.figures.style import GREY, INK, LIGHT, SERIES, model_label, new_figure, short, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

_ROW_MM = 5
_AROUND_MM = 38
_LEAST, _MOST = -0.6, 2.0


@dataclass(frozen=True)
class Place:
    """The completeness of each row in a study. ``band``: where the entropy bound is, 1 where there is none.

    ``is_item``: whether 1 is what other people's answers achieve; else it is the adaptive cognitive model.
    """

    label: str
    rows: Mapping[str, float]
    band: float
    is_item: bool


@styled
def completeness_figure(places: Sequence[Place], rows: Sequence[str]) -> Figure:
    """Completeness of each of at most six rows; what lies beyond the axis is drawn as an arrow at its end."""
    figure = new_figure(_ROW_MM * len(places) + _AROUND_MM)
    axes = figure.add_subplot()
    values = [value for place in places for name, value in place.rows.items() if name in rows]
    left = max(min([0.0, *values]), _LEAST) - 0.08
    right = min(max([1.0, *values, *(place.band for place in places)]), _MOST) + 0.08
    for y, place in enumerate(places):
        end = min(place.band, right)
        axes.plot(
            [1, max(end, 1.012)], [y, y], color=LIGHT if place.is_item else GREY, linewidth=7, solid_capstyle="butt"
        )
        for number, (name, (colour, marker)) in enumerate(zip(rows, SERIES, strict=False)):
            if name not in place.rows:
                continue
            value, height = place.rows[name], y + 0.12 * (number - (len(rows) - 1) / 2)
            beyond = "<" if value < left else ">" if value > right else ""
            at = min(max(value, left), right)
            axes.plot(at, height, beyond or marker, color=colour, markersize=3.5, clip_on=not beyond, zorder=3)
    for x in (0, 1):
        axes.axvline(x, color=INK, linewidth=0.6, zorder=1)
    axes.set_xlim(left, right)
    axes.set_yticks(range(len(places)), [short(place.label, 28) for place in places])
    axes.set_ylim(len(places) - 0.4, -0.6)
    axes.grid(axis="x", color=LIGHT, linewidth=0.5)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    figure.supxlabel(
        "completeness of the NLL: 0 is chance, 1 what other people's\n"
        "answers achieve or, where dark, the cognitive model that\nadapts to the person"
    )
    from matplotlib.lines import Line2D  # here: see new_figure
    from matplotlib.patches import Patch

    handles: list[Line2D | Patch] = [
        Line2D([], [], color=colour, marker=marker, linestyle="none", markersize=4, label=short(model_label(name), 24))
        for name, (colour, marker) in zip(rows, SERIES, strict=False)
    ]
    handles.append(Patch(color=LIGHT, label="up to the entropy bound"))
    title = "Between chance and ceiling"
    figure.legend(handles=handles, loc="outside upper left", ncols=2, title=title, alignment="left", borderpad=0)
    return figure
