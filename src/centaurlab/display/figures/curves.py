"""Quantities that change along a line: the loss of a training run, the NLL over a session."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from centaurlab.display.figures.style import GREY, INK, LIGHT, SERIES, new_figure, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST_POINTS = 20


def is_smoothed(loss: Sequence[tuple[int, float]]) -> bool:
    """Whether ``training_curve`` draws the running mean of so many losses."""
    return len(loss) > _MOST_POINTS


@styled
def training_curve(loss: Sequence[tuple[int, float]], nll: Sequence[tuple[int, float]]) -> Figure:
    """Training loss (nats per response token) by step and, below, the NLL of held-out people (nats per response).

    Of many losses the running mean is drawn over them.
    """
    panels = [("training loss\n(nats per token)", loss)]
    if len(nll) > 1:
        panels.append(("held-out NLL\n(nats per response)", nll))
    figure = new_figure(14 + 34 * len(panels))
    axes_of = figure.subplots(len(panels), sharex=True, squeeze=False)[:, 0]
    for axes, (label, points), (colour, marker) in zip(axes_of, panels, SERIES, strict=False):
        steps, values = zip(*points, strict=True)
        if axes is axes_of[0] and is_smoothed(loss):
            window = len(values) // 10
            smooth = [
                sum(values[max(0, i - window) : i + 1]) / (i + 1 - max(0, i - window)) for i in range(len(values))
            ]
            axes.plot(steps, values, color=GREY, linewidth=0.5)
            axes.plot(steps, smooth, color=colour, linewidth=1.2)
        else:
            axes.plot(steps, values, color=colour, marker=marker, markersize=3, linewidth=1)
        axes.set_ylabel(label)
        axes.set_ylim(0, 1.1 * max(values))
        axes.grid(axis="y", color=LIGHT, linewidth=0.5)
    axes_of[-1].set_xlabel("optimiser step")
    return figure


@styled
def session_curves(names: Sequence[str], nll_of: Sequence[Sequence[float]]) -> Figure:
    """The NLL (nats per response) of each model, at most six, in each tenth of a session."""
    figure = new_figure(62)
    axes = figure.add_subplot()
    for name, values, (colour, marker) in zip(names, nll_of, SERIES, strict=False):
        axes.plot(range(1, len(values) + 1), values, color=colour, marker=marker, markersize=3, linewidth=1, label=name)
    axes.set_ylim(0, None)
    axes.set_xlabel("tenth of the session")
    axes.set_ylabel("NLL (nats per response)")
    axes.grid(axis="y", color=LIGHT, linewidth=0.5)
    if len(names) > 1:
        axes.legend(frameon=False)
    return figure


@dataclass(frozen=True)
class Line:
    """NLLs (nats per response) after learning from so many people each, with the ends of their intervals."""

    name: str
    people: Sequence[int]
    nll: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]


@styled
def people_curves(lines: Sequence[Line], levels: Mapping[str, float]) -> Figure:
    """NLL by number of people, at most six lines, on a scale of log(1 + n); ``levels`` are what they may reach."""
    figure = new_figure(72)
    axes = figure.add_subplot()
    for line, (colour, marker) in zip(lines, SERIES, strict=False):
        x = [math.log1p(n) for n in line.people]
        axes.fill_between(x, line.low, line.high, color=colour, alpha=0.15, linewidth=0)
        axes.plot(x, line.nll, color=colour, marker=marker, markersize=3, linewidth=1, label=line.name)
    for (name, value), (style, colour) in zip(levels.items(), (("--", INK), (":", GREY)), strict=False):
        axes.axhline(value, color=colour, linestyle=style, linewidth=0.8, label=name)
    sizes = sorted({n for line in lines for n in line.people})
    axes.set_xticks([math.log1p(n) for n in sizes], list(map(str, sizes)))
    axes.set_xlabel("people learned from")
    axes.set_ylabel("NLL of held-out people\n(nats per response)")
    axes.grid(color=LIGHT, linewidth=0.4)
    figure.legend(loc="outside lower center", ncols=2)
    return figure
