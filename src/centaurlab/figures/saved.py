"""The figures that belong to a run, into ``figures/`` of its folder, where trackers and reports find them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from centaurlab.context_effects import Comparison, labels_of
from centaurlab.diagnosis import PARTS, Diagnosis
from centaurlab.effects import Effect, Estimate
from centaurlab.figures.intervals import Row, forest, gain_forest, pair_forest, part_rows, signed_forest
from centaurlab.figures.paper import domains, personas, templates
from centaurlab.figures.style import model_label, save_figure

Gain = Mapping[str, Any]


def effect_figures(effects: Sequence[Effect]) -> dict[str, Figure]:
    """Studies; where there are several pairs, pairs; where studies have domains, domains beside the published ones."""
    figures = {"forest": forest(effects)}
    if effects[0].group != "pair":
        figures["pairs"] = pair_forest(effects)
    if any(effect.level == "domain" for effect in effects):
        figures["domains"] = domains(effects)
    return figures


def save_effect_figures(effects: Sequence[Effect], folder: Path) -> None:
    """Write ``effect_figures`` as PDF and PNG."""
    for name, figure in effect_figures(effects).items():
        save_figure(figure, folder / "figures", name)


def save_gain_figure(gains: Sequence[Gain], summaries: Sequence[Gain], centaur: str, base: str, folder: Path) -> None:
    """Write ``figures/gains``: what an adapter gains per study, as PDF and PNG."""
    save_figure(gain_forest(gains, summaries, centaur, base), folder / "figures", "gains")


def save_diagnosis_figure(rows: Sequence[Diagnosis], base: str, post: str, folder: Path) -> None:
    """Write ``figures/parts``: what the difference of two models consists of, per study, as PDF and PNG.

    ``rows``: the mean over studies, then the studies.
    """
    names = ("difference", *PARTS)
    estimates = [
        Row("mean over studies" if row is rows[0] else row.study, getattr(row, name), i, row is rows[0])
        for row in rows
        for i, name in enumerate(names)
    ]
    title = f"post: {model_label(post)}\nbase: {model_label(base)}"
    save_figure(part_rows(estimates, names, title), folder / "figures", "parts")


def save_persona_figures(comparisons: Sequence[Comparison], others: Sequence[Comparison], folder: Path) -> None:
    """Write, as PDF and PNG, the paper's Fig. 5, the benefit per study, and all comparisons over all studies.

    The first of ``comparisons`` is that of no persona with people's own.
    """
    own = comparisons[0]
    benefits = [(e.group_name, e.d) for e in own.effects if e.group == "pair" and e.level == "overall"]
    every = [*comparisons, *others]
    rows = [Row(label, one.overall.d) for label, one in zip(labels_of(every), every, strict=True)]
    quantity = "d (first − second persona; standard deviations)"
    summary = signed_forest(rows, "Personas, over all studies", "second helps", "second hurts", quantity)
    for name, figure in (
        ("personas", personas(benefits)),
        ("studies", _per_study(own, "Own persona against none", "persona helps", "persona hurts")),
        ("comparisons", summary),
    ):
        save_figure(figure, folder / "figures", name)


def save_template_figures(comparison: Comparison, nlls: Sequence[tuple[str, Estimate, Estimate]], folder: Path) -> None:
    """Write, as PDF and PNG, the paper's Fig. S1 (``nlls``: model, without, with its template) and d per study."""
    save_figure(templates(nlls), folder / "figures", "templates")
    figure = _per_study(comparison, "Chat template against plain text", "template worse", "template better")
    save_figure(figure, folder / "figures", "studies")


def _per_study(comparison: Comparison, title: str, positive: str, negative: str) -> Figure:
    first = comparison.overall
    group = [e for e in comparison.effects if (e.group, e.group_name) == (first.group, first.group_name)]
    rows = [Row(effect.name, effect.d) for effect in group if effect.level == "study"]
    rows.append(Row("mean over studies", first.d, is_summary=True))
    models = model_label(first.group_name) if first.group == "pair" else f"mean of {first.n_pairs} models"
    quantity = f"d ({' − '.join(comparison.names)}; standard deviations)"
    return signed_forest(rows, f"{title}\n{models}", positive, negative, quantity)
