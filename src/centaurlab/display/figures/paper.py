"""The paper's figures from our own tables, what it published in grey beside ours, where the catalog has it.

Figs. 2 and S2: NLL and accuracy of base and post-trained models by size. Fig. 3: NLL of base models, and misalignment,
by size and generation. Fig. 4: misalignment by domain. Fig. 5: what personas bring. Fig. S1: chat templates.
The catalog has points for Figs. 2, 3a, 4, S1 and S2. They were measured on Psych-201: beside scores of other data the
figures can be compared in shape, not in level.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from centaurlab.catalog.tables import published_accuracy, published_effects, published_nll
from centaurlab.display.figures.intervals import Row, ends, signed_forest
from centaurlab.display.figures.marks import axis_range, draw_intervals, interval_keys
from centaurlab.display.figures.style import (
    BLUE,
    GREY,
    INK,
    LIGHT,
    VERMILLION,
    look,
    model_label,
    new_figure,
    short,
    styled,
)
from centaurlab.stats.contrast import POST_TRAINING, Contrast
from centaurlab.stats.effects import Effect
from centaurlab.stats.estimate import UNKNOWN, Estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

_TICKS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)
_PUBLISHED = "grey: published, on Psych-201"
_BASE, _POST = (BLUE, "o"), (VERMILLION, "s")


@dataclass(frozen=True)
class ModelPoint:
    """A model of ``size_b`` billion parameters (NaN: not shown); ``kind``: base, or a kind of post-training.

    ``value`` has the interval of studies like these, ``these`` that of new people in these studies.
    """

    model: str
    size_b: float
    kind: str
    value: Estimate
    these: Estimate = UNKNOWN

    @property
    def is_base(self) -> bool:
        """Whether it is a base model."""
        return self.kind == "base"


@dataclass(frozen=True)
class PairPoint:
    """A pair of models: d against the size of the base; ``generation`` names what its models share."""

    size_b: float
    generation: str
    nll_base: Estimate
    d: Estimate
    nll_base_these: Estimate = UNKNOWN
    d_these: Estimate = UNKNOWN


@styled
def nll_by_size(points: Sequence[ModelPoint]) -> Figure:
    """Fig. 2: mean NLL of base and of post-trained models by size."""
    table = published_nll().query("figure == 'Fig. 2'").rename(columns={"mean_nll": "value"})
    return _by_size(points, table, "NLL (nats per response)", "Fig. 2", math.inf)


@styled
def accuracy_by_size(points: Sequence[ModelPoint]) -> Figure:
    """Fig. S2: accuracy over single-token choices by size."""
    table = published_accuracy().rename(columns={"accuracy": "value"})
    return _by_size(points, table, "accuracy (share of choices)", "Fig. S2", 1)


@styled
def generations(points: Sequence[PairPoint], means: Sequence[Row]) -> Figure:
    """Fig. 3: NLL of base models by size, d by size, and the mean d of each generation (``means``).

    Published are three base models of Fig. 3a; of d by size or generation there is nothing in the catalog.
    """
    names = sorted({point.generation for point in points})
    figure = new_figure(118 + 4 * len(names))
    panels = figure.subplots(3, gridspec_kw={"height_ratios": [30, 30, 8 + 4 * len(means)]})
    table = published_nll().query("figure == 'Fig. 3a'")
    nlls = [one for p in points for one in (p.nll_base, p.nll_base_these)]
    panels[0].set_ylim(_bounded(nlls, table["mean_nll"].tolist(), math.inf))
    panels[1].set_ylim(axis_range([one for p in points for one in (p.d, p.d_these)]))
    panels[2].set_xlim(axis_range([one for row in means for one in (row.estimate, row.these, row.models)]))
    panels[0].plot(table["size_b"], table["mean_nll"], "o", color=GREY, markersize=3, linestyle="none")
    for i, name in enumerate(names):
        colour, marker = look(i)
        of_name = sorted((p for p in points if p.generation == name), key=lambda p: p.size_b)
        aside = 1.06 ** (i - (len(names) - 1) / 2)  # generations come in the same sizes
        bases = list(dict.fromkeys((aside * p.size_b, p.nll_base, p.nll_base_these) for p in of_name))
        _points(panels[0], bases, colour, marker, joined=True)
        _points(panels[1], [(aside * p.size_b, p.d, p.d_these) for p in of_name], colour, marker, zero_matters=True)
    shown = [size for p in points for size in [p.size_b] if math.isfinite(size)] + table["size_b"].tolist()
    for axes, label in ((panels[0], "base NLL\n(nats per response)"), (panels[1], "Cohen's d\n(standard deviations)")):
        _size_axis(axes, shown)
        axes.set_ylabel(label)
        axes.grid(axis="y", color=LIGHT, linewidth=0.5)
    panels[1].axhline(0, color=INK, linewidth=0.6)
    panels[1].set_xlabel("size of the base (billion parameters)")
    for y, row in enumerate(means):
        draw_intervals(panels[2], y, row.shown, INK, row.these, row.models)
        face = INK if row.is_clear else "white"
        panels[2].plot(row.estimate.value, y, "D", color=INK, markerfacecolor=face, markersize=4, zorder=3)
    panels[2].axvline(0, color=INK, linewidth=0.6)
    panels[2].set_yticks(range(len(means)), [short(row.label) for row in means])
    panels[2].set_ylim(len(means) - 0.4, -0.6)
    panels[2].set_xlabel(f"mean d (standard deviations)\n{ends(POST_TRAINING)}")
    keys = [_key(*look(i), short(name, 40)) for i, name in enumerate(names)]
    keys += [_key(GREY, "o", "published, Fig. 3a: Qwen base models")]
    has_models = any(row.models.has_interval for row in means)
    keys += interval_keys(any(p.d_these.has_interval for p in points), has_models)
    _legend(figure, "Generations (the paper's Fig. 3)", keys)
    return figure


@styled
def domains(effects: Sequence[Effect]) -> Figure:
    """Fig. 4: d of each domain, ours over the 25 published models; a triangle is a lower bound (end of the bar)."""
    first = effects[0]
    ours = [
        effect
        for effect in effects
        if effect.level == "domain" and (effect.group, effect.group_name) == (first.group, first.group_name)
    ]
    table = published_effects()
    means = table.groupby("domain")["cohens_d"].mean().sort_values(ascending=False)
    names = [*means.index, *sorted({effect.name for effect in ours} - set(means.index))]
    figure = new_figure(len(names) * 6.5 + 30)
    axes = figure.add_subplot()
    for y, name in enumerate(names):
        of_domain = table[table["domain"] == name].sort_values("cohens_d")
        offset = 0.22 + 0.16 * (np.arange(len(of_domain)) % 3 - 1)
        for clipped, marker in ((False, "o"), (True, ">")):
            chosen = (of_domain["clipped"] == clipped).to_numpy()
            axes.plot(of_domain["cohens_d"][chosen], (y + offset)[chosen], marker, color=GREY, markersize=2, alpha=0.8)
    estimates = [one for effect in ours for one in (effect.d, effect.d_these, effect.d_models)]
    axes.set_xlim(axis_range(estimates, [0.0, *table["cohens_d"]]))
    for effect in ours:
        height, row = names.index(effect.name) - 0.25, Row(effect.name, effect.d, these=effect.d_these)
        draw_intervals(axes, height, row.shown, VERMILLION, effect.d_these, effect.d_models)
        face = VERMILLION if row.is_clear else "white"
        axes.plot(effect.d.value, height, "s", color=VERMILLION, markerfacecolor=face, markersize=4, zorder=3)
    axes.axvline(0, color=INK, linewidth=0.6, zorder=1)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(axis="x", color=LIGHT, linewidth=0.5)
    figure.supxlabel(f"Cohen's d of the NLL (standard deviations)\n{ends(POST_TRAINING)}")
    keys = [
        _key(VERMILLION, "s", "ours"),
        _key(GREY, "o", "published models"),
        _key(GREY, ">", "published: d at least this"),
        *interval_keys(
            any(effect.d_these.has_interval for effect in ours), any(effect.d_models.has_interval for effect in ours)
        ),
    ]
    _legend(figure, "Domains (the paper's Fig. 4)", keys)
    return figure


def personas(benefits: Iterable[tuple[str, Estimate, Estimate]], contrast: Contrast) -> Figure:
    """Fig. 5: d(without − with persona) of each model, sorted; the catalog has no published points of it.

    Of each model the estimate for studies like these, and that for new people in these studies.
    """
    rows = [Row(model_label(model), estimate, these=these) for model, estimate, these in benefits]
    title = "What a persona brings (the paper's Fig. 5)\nno published points in the catalog"
    return signed_forest(rows, title, contrast)


@styled
def templates(rows: Sequence[tuple[str, Row, Row]]) -> Figure:
    """Fig. S1: NLL of each model without and with its chat template; published ones in grey above ours."""
    table = published_nll()
    plain = table.query("figure == 'Fig. 2'").set_index("model")["mean_nll"].to_dict()
    templated = table.query("figure == 'Fig. S1'").set_index("model")["mean_nll"].to_dict()
    known = [str(model) for model in templated if model in plain]
    shown = [(model, Row(model, Estimate(plain[model])), Row(model, Estimate(templated[model]))) for model in known]
    shown += rows
    figure = new_figure(len(shown) * 4.2 + 40)
    axes = figure.add_subplot()
    axes.set_xscale("log")
    _plain_ticks(axes, [row.estimate.value for _, *pair in shown for row in pair])
    for y, (_, without, with_template) in enumerate(shown):
        is_published = y < len(known)
        ends_of_line = (without.estimate.value, with_template.estimate.value)
        axes.plot(ends_of_line, [y, y], color=LIGHT if is_published else GREY, linewidth=0.6)
        for row, (colour, marker) in ((without, _BASE), (with_template, _POST)):
            colour = GREY if is_published else colour
            draw_intervals(axes, y, row.shown, colour, row.these)
            axes.plot(row.estimate.value, y, marker, color=colour, markersize=4, zorder=3)
    axes.set_yticks(range(len(shown)), [short(model_label(str(model).partition(" (")[0])) for model, *_ in shown])
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.grid(axis="x", color=LIGHT, linewidth=0.5)
    figure.supxlabel("NLL (nats per response, logarithmic)")
    keys = [
        _key(*_BASE, "without template"),
        _key(*_POST, "with its chat template"),
        _key(GREY, "o", _PUBLISHED),
        *interval_keys(any(row.these.has_interval for _, *pair in rows for row in pair)),
    ]
    _legend(figure, "Chat templates (the paper's Fig. S1)", keys)
    return figure


def _by_size(points: Sequence[ModelPoint], table: pd.DataFrame, quantity: str, name: str, most: float) -> Figure:
    figure = new_figure(90)
    axes = figure.add_subplot()
    estimates = [one for p in points if math.isfinite(p.size_b) for one in (p.value, p.these)]
    axes.set_ylim(_bounded(estimates, table["value"].tolist(), most))
    for is_base, marker in ((True, "o"), (False, "s")):
        published = table[(table["type"] == "base") == is_base]
        axes.plot(published["size_b"], published["value"], marker, color=GREY, markersize=3, markerfacecolor="none")
        colour, marker = _BASE if is_base else _POST
        of_kind = [p for p in points if p.is_base == is_base and math.isfinite(p.size_b)]
        _points(axes, [(p.size_b, p.value, p.these) for p in of_kind], colour, marker)
    sized = [point.size_b for point in points if math.isfinite(point.size_b)]
    _size_axis(axes, sized + table["size_b"].tolist())
    axes.set_xlabel("size (billion parameters)")
    axes.set_ylabel(quantity)
    axes.grid(axis="y", color=LIGHT, linewidth=0.5)
    keys = [_key(*_BASE, "base"), _key(*_POST, "post-trained"), _key(GREY, "o", _PUBLISHED)]
    keys += interval_keys(any(point.these.has_interval for point in points))
    left_out = len(points) - len(sized)
    note = f"\nof unknown size, left out: {left_out}" if left_out else ""
    _legend(figure, f"Models by size (the paper's {name}){note}", keys)
    return figure


def _points(
    axes: Axes,
    values: Sequence[tuple[float, Estimate, Estimate]],
    colour: str,
    marker: str,
    joined: bool = False,
    zero_matters: bool = False,
) -> None:
    """Estimates above sizes; where ``zero_matters``, filled if they differ from it."""
    if joined:
        axes.plot([size for size, *_ in values], [one.value for _, one, _ in values], color=colour, linewidth=0.8)
    for size, estimate, these in values:
        row = Row("", estimate, these=these)
        draw_intervals(axes, size, row.shown, colour, these, vertical=True)
        face = colour if row.is_clear or not zero_matters else "white"
        axes.plot(size, estimate.value, marker, color=colour, markerfacecolor=face, markersize=4, zorder=3)


def _bounded(estimates: Sequence[Estimate], others: Sequence[float], most: float) -> tuple[float, float]:
    """What the quantity can be, 0 to ``most``, as far as there is something to see."""
    low, high = axis_range(estimates, [0.0, *others])
    return max(low, 0), min(high, most)


def _size_axis(axes: Axes, sizes: Sequence[float]) -> None:
    axes.set_xscale("log")
    _plain_ticks(axes, sizes)


def _plain_ticks(axes: Axes, values: Sequence[float]) -> None:
    """Ticks at 1, 2 and 5 of each decade, written out."""
    low, high = min(values) / 1.3, max(values) * 1.3
    axes.set_xlim(low, high)
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator  # here: see new_figure

    axes.xaxis.set_major_locator(FixedLocator([tick for tick in _TICKS if low <= tick <= high]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def _key(colour: str, marker: str, label: str) -> Line2D:
    from matplotlib.lines import Line2D  # here: see new_figure

    return Line2D([], [], color=colour, marker=marker, linestyle="none" if marker else "-", markersize=4, label=label)


def _legend(figure: Figure, title: str, keys: Sequence[Line2D]) -> None:
    figure.legend(handles=keys, loc="outside upper left", title=title, alignment="left", borderpad=0)
