"""Two qualities of a model at once, along a training run or side by side: predicting people, and assistant accuracy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from centaurlab.display.figures.intervals import Row
from centaurlab.display.figures.marks import axis_range, draw_intervals, interval_keys
from centaurlab.display.figures.style import BLUE, GREY, INK, LIGHT, look, new_figure, short, styled
from centaurlab.stats.effect_table import interval_of
from centaurlab.stats.estimate import Estimate
from centaurlab.stats.multiplicity import FALSE_SHARE
from centaurlab.stats.words import percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_GUESSING = 0.5  # accuracy on items of two answers each
_NAMED_STUDIES = 8
_NEAR = 0.04  # points this near, relative to the spread of all, share a label


@styled
def trajectory_figure(table: pd.DataFrame) -> Figure:
    """d against the base by step, overall with its intervals and per study; below, assistant accuracy if it was asked.

    Filled: it differs from zero, of a study by its q. ``table``: that of ``trajectory_table``.
    """
    has_accuracy = "assistant_accuracy" in table
    n_studies = table[table["level"] == "study"]["name"].nunique()
    n_keys = 3 + n_studies * (n_studies <= _NAMED_STUDIES)
    figure = new_figure(58 + 2.8 * -(-n_keys // 2) + 38 * has_accuracy)
    people, *below = figure.subplots(
        1 + has_accuracy, sharex=True, squeeze=False, height_ratios=[2, 1] if has_accuracy else [1]
    )[:, 0]
    studies = table[table["level"] == "study"]
    named = n_studies <= _NAMED_STUDIES
    for number, (name, rows) in enumerate(studies.groupby("name", sort=False)):
        colour, marker = look(number) if named else (GREY, "")
        drawn = {"color": colour, "marker": marker, "markersize": 2.5, "linewidth": 0.7, "alpha": 0.8}
        label = short(str(name)) if named else None
        people.plot(rows["step"], rows["d"], **drawn, markerfacecolor="white", label=label)
        clear = rows[rows["q"] < FALSE_SHARE] if "q" in rows else rows[:0]
        people.plot(clear["step"], clear["d"], **drawn | {"linestyle": "none"})
    overall = table[table["level"] == "overall"]
    means = [_overall(row) for row in overall.to_dict("records")]
    people.set_ylim(axis_range([one for row in means for one in (row.shown, row.these)], [0.0, *studies["d"]]))
    for step, row in zip(overall["step"], means, strict=True):
        if step:
            draw_intervals(people, step, row.shown, INK, row.these, vertical=True)
        face = INK if row.is_clear else "white"
        people.plot(step, row.estimate.value, "o", color=INK, markerfacecolor=face, markersize=4, zorder=4)
    people.plot(overall["step"], overall["d"], color=INK, linewidth=1.2, label="all studies")
    people.axhline(0, color=GREY, linewidth=0.6)
    people.set_ylabel("d(checkpoint − base model)\n(above 0: checkpoint worse)")
    keys = people.get_legend_handles_labels()[0] + interval_keys(any(row.these.has_interval for row in means))
    figure.legend(handles=keys, loc="outside lower center", ncols=2, fontsize=5.5)
    for assistant in below:
        low, high = (overall[f"assistant_accuracy_{end}"] for end in ("low", "high"))
        assistant.fill_between(overall["step"], low, high, color=BLUE, alpha=0.15, linewidth=0)
        assistant.plot(overall["step"], overall["assistant_accuracy"], color=BLUE, marker="o", markersize=4)
        _mark_guessing(assistant, horizontal=True)
        assistant.set_ylabel("assistant accuracy,\nheld-out items")
        assistant.set_ylim(0, 1)
    (below or [people])[-1].set_xlabel("training step (0: the base model)")
    return figure


@styled
def frontier_figure(table: pd.DataFrame) -> Figure:
    """Assistant accuracy to the right, human-likeness upwards; filled: on the frontier; bars: 95 % intervals.

    ``table``: that of ``frontier_table``. The points carry numbers, whose names stand below, and in what share of the
    joint resamples each is on the frontier.
    """
    figure = new_figure(78 + 3.5 * -(-len(table) // 2))
    axes = figure.subplots()
    rows = [_overall(row) for row in table.to_dict("records")]
    low, high = axis_range([one for row in rows for one in (row.shown, row.these)])
    axes.set_ylim(high, low)  # upwards: better
    for number, row in enumerate(table.to_dict("records")):
        colour, marker = (INK, "o") if not number else look(number - 1)
        x, y = row["accuracy"], row["d"]
        axes.plot([row["accuracy_low"], row["accuracy_high"]], [y, y], color=colour, linewidth=0.6, zorder=2)
        if number:
            draw_intervals(axes, x, rows[number].shown, colour, rows[number].these, vertical=True)
        sure = f" ({percent(row['p_frontier'])})" if "p_frontier" in row else ""
        face = colour if row["on_frontier"] else "white"
        label = f"{number}  {short(str(row['name']), 16)}{sure}"
        axes.plot(x, y, marker, markersize=4.5, color=colour, markerfacecolor=face, label=label, zorder=3)
    for group in coinciding(table["accuracy"].tolist(), table["d"].tolist()):
        x, y = table.loc[group[0], ["accuracy", "d"]]
        axes.annotate(", ".join(map(str, group)), (x, y), xytext=(4, 3), textcoords="offset points", fontsize=6.5)
    axes.axhline(0, color=GREY, linewidth=0.6)
    _mark_guessing(axes, horizontal=False)
    axes.grid(color=LIGHT, linewidth=0.4)
    said = "\nin brackets: on the frontier in so many joint resamples" if "p_frontier" in table else ""
    axes.set_xlabel(f"assistant accuracy, held-out items (further right: better){said}")
    axes.set_ylabel(f"d(model − {short(str(table['name'].iloc[0]))})\n(higher up: predicts people better)")
    keys = axes.get_legend_handles_labels()[0] + interval_keys(any(row.these.has_interval for row in rows[1:]))
    figure.legend(handles=keys, loc="outside lower center", ncols=2)
    return figure


def _overall(row: Mapping[Any, Any]) -> Row:
    """d of a row of either table, with its two intervals."""
    these = interval_of(row, "d", "these")
    return Row(str(row["name"]), Estimate(row["d"], row["d_low"], row["d_high"]), these=these)


def coinciding(x: Sequence[float], y: Sequence[float]) -> list[list[int]]:
    """Indices of points in groups: in x and in y each is near its group's first, for the spread of all."""
    spread_x, spread_y = (max(values) - min(values) for values in (x, y))
    groups: list[list[int]] = []
    for i in range(len(x)):
        for group in groups:
            first = group[0]
            if abs(x[i] - x[first]) <= _NEAR * spread_x and abs(y[i] - y[first]) <= _NEAR * spread_y:
                group.append(i)
                break
        else:
            groups.append([i])
    return groups


def _mark_guessing(axes: Axes, horizontal: bool) -> None:
    """A dashed line; its name stands at the right end, or at the foot."""
    line = axes.axhline if horizontal else axes.axvline
    line(_GUESSING, color=GREY, linewidth=0.6, linestyle="--")
    axes.annotate(
        "guessing",
        (1, _GUESSING) if horizontal else (_GUESSING, 0),
        xycoords=axes.get_yaxis_transform() if horizontal else axes.get_xaxis_transform(),
        xytext=(-2, -2) if horizontal else (2, 3),
        textcoords="offset points",
        ha="right" if horizontal else "left",
        va="top" if horizontal else "bottom",
        color=GREY,
        fontsize=5.5,
    )
