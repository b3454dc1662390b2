"""Estimates with their 95 % intervals, one row each: the forest plot of effects, gains on new people, NLLs of studies.

A filled marker says that a study differs from zero by its q (``stats.multiplicity``), which knows how many studies a
figure shows, and a mean by its interval; an open one, that it does not or cannot be told. A mean over studies has two
intervals: the thin line is of studies like these, the thick one of new people in these studies; an average over models
has a dotted one, of models like these. Rows without an estimate are left out and counted in a note below the axis.
Intervals of very few people, so wide that nothing else could be seen, go beyond the axis; an arrow says so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from centaurlab.data.held_out import KINDS
from centaurlab.display.figures.marks import axis_range, draw_intervals
from centaurlab.display.figures.style import (
    BLUE,
    GREY,
    INK,
    LIGHT,
    SERIES,
    VERMILLION,
    model_label,
    model_labels,
    new_figure,
    short,
    styled,
)
from centaurlab.stats.contrast import POST_TRAINING, Contrast
from centaurlab.stats.effects import Effect, names_of_groups
from centaurlab.stats.estimate import UNKNOWN, Estimate
from centaurlab.stats.multiplicity import FALSE_SHARE
from centaurlab.stats.words import MODELS_LIKE_THESE, NEW_PEOPLE, STUDIES_LIKE_THESE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_ROW_MM = 4.2
_AROUND_MM = 22  # title, axis and its label
_LINE_MM = 3.5
_TITLE = 50
NATS_AXIS = "difference of the NLL (nats per response)"
D_AXIS = "Cohen's d of the NLL (standard deviations)"


@dataclass(frozen=True)
class Row:
    """One estimate; ``series`` numbers what it belongs to, ``is_summary`` sets it apart at the bottom.

    ``q`` of a study, NaN where there is none; ``these``: of a mean over studies, with the interval over their people;
    ``models``: of an average over models, with that of models like these.
    """

    label: str
    estimate: Estimate
    series: int = 0
    is_summary: bool = False
    q: float = math.nan
    these: Estimate = UNKNOWN
    models: Estimate = UNKNOWN

    @property
    def shown(self) -> Estimate:
        """With the wider interval, of studies like these; with that over people where it is the only one."""
        return self.estimate if self.estimate.has_interval or not self.these.has_interval else self.these

    @property
    def is_clear(self) -> bool:
        """Whether it differs from zero: a study by its q, if it has one, and what else by its interval."""
        return self.q < FALSE_SHARE if math.isfinite(self.q) else self.shown.excludes_zero


@styled
def forest(effects: Sequence[Effect]) -> Figure:
    """d of every study of the first group of ``effects``, sorted, the mean over studies below (``effects_table``'s).

    Several pairs: averages over the pairs.
    """
    first = effects[0]
    return _signed_rows(study_rows(effects), _compared(first), first.contrast, D_AXIS)


def study_rows(effects: Sequence[Effect]) -> list[Row]:
    """d of every study of the first group, and the mean over them."""
    first = effects[0]
    group = [effect for effect in effects if (effect.group, effect.group_name) == (first.group, first.group_name)]
    rows = [Row(effect.name, effect.d, q=effect.q) for effect in group if effect.level == "study"]
    return [*rows, Row("mean over studies", first.d, is_summary=True, these=first.d_these, models=first.d_models)]


@styled
def nats_forest(effects: Sequence[Effect]) -> Figure:
    """The same in nats per response."""
    first = effects[0]
    return _signed_rows(nats_rows(effects), _compared(first), first.contrast, NATS_AXIS)


def nats_rows(effects: Sequence[Effect]) -> list[Row]:
    """The difference of every study of the first group, and the mean over them."""
    first = effects[0]
    group = [effect for effect in effects if (effect.group, effect.group_name) == (first.group, first.group_name)]
    rows = [
        Row(effect.name, effect.nll_difference, q=effect.nll_difference_q)
        for effect in group
        if effect.level == "study"
    ]
    these, models = first.nll_difference_these, first.nll_difference_models
    return [*rows, Row("mean over studies", first.nll_difference, is_summary=True, these=these, models=models)]


def labelled(effects: Sequence[Effect]) -> list[Effect]:
    """With short names of the models of pairs, where these still tell all of them apart."""
    label_of = model_labels(name for effect in effects if effect.group == "pair" for name in effect.contrast.names)
    found = []
    for effect in effects:
        if effect.group == "pair":
            first, second = (label_of[name] for name in effect.contrast.names)
            effect = replace(effect, group_name=first, contrast=Contrast(first, second))
        found.append(effect)
    return found


@styled
def pair_forest(effects: Sequence[Effect]) -> Figure:
    """d over all studies of every pair, sorted, the averages by post-training and family and over all below."""
    return _signed_rows(pair_rows(effects), "Each post-trained model against its base", POST_TRAINING, D_AXIS)


def pair_rows(effects: Sequence[Effect]) -> list[Row]:
    """d over all studies of every pair, and the averages over pairs."""
    overall = [effect for effect in effects if effect.level == "overall"]
    pairs = labelled([effect for effect in overall if effect.group == "pair"])
    rows = [Row(name, e.d, these=e.d_these) for name, e in zip(names_of_groups(pairs), pairs, strict=True)]
    rows += [
        Row(
            *(f"{effect.group_name} (mean of {effect.n_pairs})", effect.d),
            is_summary=True,
            these=effect.d_these,
            models=effect.d_models,
        )
        for effect in overall
        if effect.group != "pair"
    ]
    return rows


@styled
def gain_forest(
    gains: Sequence[Mapping[str, Any]], summaries: Sequence[Mapping[str, Any]], contrast: Contrast
) -> Figure:
    """Gains d(base − centaur), the ``contrast``, per study, sorted within each kind of data, means over studies below.

    ``gains`` and ``summaries`` are those of ``studies.csv`` and ``run.json`` of a generalisation run.
    """
    rows, names = gain_rows(gains, summaries)
    return _signed_rows(rows, f"Gain of {contrast.second} over {contrast.first}", contrast, D_AXIS, names)


def gain_rows(
    gains: Sequence[Mapping[str, Any]], summaries: Sequence[Mapping[str, Any]]
) -> tuple[list[Row], list[str]]:
    """The gain of each study, the means over studies last, and what the studies are to the adapter: their series."""
    series = {summary["kind"]: i for i, summary in enumerate(summaries)}
    names = [KINDS.get(kind, kind) for kind in series]
    rows = [Row(gain["study"], _estimate(gain), series[gain["kind"]], q=_number(gain.get("q"))) for gain in gains]
    rows += [
        Row(f"mean, {name}", _estimate(summary), i, True, these=_estimate(summary, "_these"))
        for i, (name, summary) in enumerate(zip(names, summaries, strict=True))
    ]
    return rows, names


@styled
def signed_forest(rows: Sequence[Row], title: str, contrast: Contrast, quantity: str = "") -> Figure:
    """Any difference of a ``contrast``, such as the benefit of a persona; ``quantity``, with its unit, labels the axis.

    By default that is d of the contrast.
    """
    return _signed_rows(rows, title, contrast, quantity or f"d({contrast}), standard deviations")


@styled
def nll_rows(rows: Sequence[Row], names: Sequence[str], title: str) -> Figure:
    """Mean NLL of each study under each model (series, at most six): one line per study, models side by side."""
    figure = _side_by_side(rows, names, title, (0, axis_range(shown_estimates(rows))[1]))
    figure.supxlabel(f"NLL (nats per response; lower: closer to people){_lines(rows)}")
    return figure


def part_rows(rows: Sequence[Row], names: Sequence[str], contrast: Contrast) -> Figure:
    """What a difference of NLLs consists of (series, at most six): one line per study, parts side by side.

    Filled: it differs from zero.
    """
    quantity = f"difference of the NLL (nats per choice)\n{ends(contrast)}"
    return change_rows(rows, names, "\nagainst ".join(contrast.names), quantity)


@styled
def change_rows(rows: Sequence[Row], names: Sequence[str], title: str, quantity: str) -> Figure:
    """Any signed quantity of each study under each series, at most six: one line per study, series side by side.

    Filled: it differs from zero. ``quantity``, with its unit, labels the axis.
    """
    figure = _side_by_side(rows, names, title, axis_range(shown_estimates(rows)), zero_matters=True)
    figure.axes[0].axvline(0, color=INK, linewidth=0.6, zorder=1)
    figure.supxlabel(f"{quantity}{_lines(rows)}")
    return figure


def _side_by_side(
    rows: Sequence[Row], names: Sequence[str], title: str, limits: tuple[float, float], zero_matters: bool = False
) -> Figure:
    labels = list(dict.fromkeys(row.label for row in rows))
    worst = {label: max(row.estimate.value for row in rows if row.label == label) for label in labels}
    summaries = {row.label for row in rows if row.is_summary}
    labels.sort(key=lambda label: (label in summaries, -worst[label]))
    around = _AROUND_MM + 4 * (len(names) > 1) + _LINE_MM * _lines(rows).count("\n")
    figure = new_figure(len(labels) * max(_ROW_MM, 2.2 * len(names)) + around)
    axes = figure.add_subplot()
    axes.set_xlim(limits)
    step = 0.7 / max(len(names), 1)
    for row in rows:
        y = labels.index(row.label) + step * (row.series - (len(names) - 1) / 2)
        colour, marker = SERIES[row.series]
        filled = not zero_matters or row.is_clear
        _interval(axes, row, y, colour, "D" if row.is_summary and len(names) == 1 else marker, filled)
    _name_rows(axes, labels, summaries)
    _head(figure, title, names)
    return figure


def shown_estimates(rows: Sequence[Row]) -> list[Estimate]:
    """Every estimate that is drawn."""
    return [one for row in rows for one in (row.shown, row.these, row.models) if one.is_defined]


def _lines(rows: Sequence[Row]) -> str:
    """What thin, thick and dotted lines are, where there are several kinds."""
    said = f"\nlines: thin {STUDIES_LIKE_THESE}, thick {NEW_PEOPLE}" if any(r.these.has_interval for r in rows) else ""
    return said + (f"\ndotted {MODELS_LIKE_THESE}" if any(row.models.has_interval for row in rows) else "")


def sorted_rows(rows: Sequence[Row]) -> list[Row]:
    """Series by series, from the largest estimate down, summaries last as they come; undefined ones are left out."""
    defined = [row for row in rows if row.estimate.is_defined]
    return sorted(defined, key=lambda row: (row.is_summary, row.series, -row.estimate.value * (not row.is_summary)))


def _signed_rows(
    rows: Sequence[Row], title: str, contrast: Contrast, quantity: str, names: Sequence[str] = ()
) -> Figure:
    shown = sorted_rows(rows)
    figure = new_figure(len(shown) * _ROW_MM + _AROUND_MM + 4 * bool(names) + _LINE_MM * _lines(rows).count("\n"))
    axes = figure.add_subplot()
    axes.set_xlim(axis_range(shown_estimates(shown)))
    for y, row in enumerate(shown):
        is_clear = row.is_clear
        if names:
            colour, marker = SERIES[row.series]
        else:
            of_sign = VERMILLION if row.estimate.value > 0 else BLUE
            colour, marker = of_sign if is_clear else INK if row.is_summary else GREY, "o"
        _interval(axes, row, y, colour, "D" if row.is_summary else marker, is_clear)
    axes.axvline(0, color=INK, linewidth=0.6, zorder=1)
    _name_rows(axes, [row.label for row in shown], {row.label for row in shown if row.is_summary})
    left_out = len(rows) - len(shown)
    note = f"\nnot defined, left out: {left_out}" if left_out else ""
    figure.supxlabel(f"{quantity}\n{ends(contrast)}{note}{_lines(rows)}")
    _head(figure, title, names)
    return figure


def _interval(axes: Axes, row: Row, y: float, colour: str, marker: str, filled: bool) -> None:
    draw_intervals(axes, y, row.shown, colour, row.these, row.models)
    face = colour if filled else "white"
    axes.plot(
        row.shown.value, y, marker, color=colour, markerfacecolor=face, markersize=4, markeredgewidth=0.9, zorder=3
    )


def _name_rows(axes: Axes, labels: Sequence[str], summaries: set[str]) -> None:
    axes.set_yticks(range(len(labels)), [short(label) for label in labels])
    for label, text in zip(labels, axes.get_yticklabels(), strict=True):
        if label in summaries:
            text.set_fontweight("bold")
    axes.set_ylim(len(labels) - 0.4, -0.6)
    if summaries and len(labels) > len(summaries):
        axes.axhline(len(labels) - len(summaries) - 0.5, color=GREY, linewidth=0.6)
    axes.grid(axis="x", color=LIGHT, linewidth=0.5)
    axes.tick_params(axis="y", length=0, pad=5)
    axes.spines["left"].set_visible(False)


def _head(figure: Figure, title: str, names: Sequence[str]) -> None:
    """The title and, below it where there are several series, what their markers mean."""
    from matplotlib.lines import Line2D  # here: see new_figure

    title = "\n".join(short(line, _TITLE) for line in title.splitlines())
    if len(names) < 2:
        figure.suptitle(title, x=0.01, ha="left")
        return
    handles = [
        Line2D([], [], color=colour, marker=marker, linewidth=1.1, markersize=4, label=short(name, _TITLE))
        for name, (colour, marker) in zip(names, SERIES, strict=False)
    ]
    figure.legend(handles=handles, loc="outside upper left", title=title, alignment="left", borderpad=0)


def _estimate(row: Mapping[str, Any], about: str = "") -> Estimate:
    return Estimate(*(_number(row.get(name)) for name in ("d", f"d_low{about}", f"d_high{about}")))


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _compared(effect: Effect) -> str:
    if effect.group != "pair":
        return f"{effect.n_pairs} post-trained models against their bases"
    return "\nagainst ".join(map(model_label, effect.contrast.names))


def ends(contrast: Contrast) -> str:
    """What lies at the two ends of an axis through zero."""
    below, above = (f"{short(model_label(end.removesuffix(' worse')), 20)} worse" for end in contrast.ends)
    return f"← {below}   |   {above} →"
