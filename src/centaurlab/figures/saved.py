"""The figures that belong to a run, into ``figures/`` of its folder, where trackers and reports find them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from centaurlab.effects import Effect
from centaurlab.figures.intervals import forest, gain_forest, pair_forest
from centaurlab.figures.paper import domains
from centaurlab.figures.style import save_figure

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
