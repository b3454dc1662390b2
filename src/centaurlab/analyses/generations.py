"""How well base models predict people, and how much post-training costs, by size and generation of the models.

A generation is what a table of pairs calls the family, such as ``qwen2.5``. Needs no torch: it reads folders of scores.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from centaurlab.analyses.misalignment import save_effect_figures
from centaurlab.catalog.pairs import ModelPair
from centaurlab.display.figures.paper import ModelPoint, PairPoint, accuracy_by_size, generations, nll_by_size
from centaurlab.display.figures.style import save_figure
from centaurlab.results.run import ScoreRun
from centaurlab.stats.effects import Effect
from centaurlab.stats.means import MeanNll, mean_nlls

if TYPE_CHECKING:
    import pandas as pd


UNNAMED = "other"


@dataclass(frozen=True)
class GenerationPair:
    """A pair, the means of its two models over studies, and its d over all studies."""

    pair: ModelPair
    base: MeanNll
    post: MeanNll
    effect: Effect

    @property
    def generation(self) -> str:
        """The pair's family, or ``other``."""
        return self.pair.family or UNNAMED


def measure_generations(
    pairs: Sequence[ModelPair],
    runs: Mapping[str, ScoreRun],
    effects: Sequence[Effect],
    n_resamples: int = 2000,
    seed: int = 0,
) -> list[GenerationPair]:
    """One per pair, in their order, which is that of ``effects`` (``misalignment.compare_pairs``)."""
    names = dict.fromkeys(name for pair in pairs for name in (pair.base, pair.post_trained))
    means = {name: mean_nlls(runs[name], n_resamples, seed)[0] for name in names}
    overall = [effect for effect in effects if effect.group == "pair" and effect.level == "overall"]
    return [
        GenerationPair(pair, means[pair.base], means[pair.post_trained], effect)
        for pair, effect in zip(pairs, overall, strict=True)
    ]


def generation_table(measured: Sequence[GenerationPair]) -> "pd.DataFrame":
    """One row per pair, by generation and size: NLLs (nats per response), accuracies and d, with 95 % intervals."""
    import pandas as pd

    rows = []
    for m in sorted(measured, key=lambda m: (m.pair.generation, m.generation, m.pair.size_b)):
        row: dict[str, str | float] = {"generation": m.generation, "size_b": m.pair.size_b}
        row |= {"post_training": m.pair.post_training, "base": m.pair.base, "post_trained": m.pair.post_trained}
        for name, estimate in (
            ("nll_base", m.base.nll),
            ("nll_post", m.post.nll),
            ("accuracy_base", m.base.accuracy),
            ("accuracy_post", m.post.accuracy),
            ("d", m.effect.d),
        ):
            row |= {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
        rows.append(row)
    return pd.DataFrame(rows)


def in_words(measured: Sequence[GenerationPair], effects: Sequence[Effect]) -> str:
    """Mean NLL of the smallest and the largest base, and mean d of each generation: counts, no test of a trend."""
    sized = sorted((m for m in measured if np.isfinite(m.pair.size_b)), key=lambda m: m.pair.size_b)
    said = []
    if sized and sized[0].pair.size_b < sized[-1].pair.size_b:
        ends = [
            f"{m.base.nll.value:.3f} nats per response at {m.pair.size_b:g} billion parameters"
            for m in (sized[0], sized[-1])
        ]
        said.append(f"the NLL of base models is {' and '.join(ends)}")
    means = [effect for effect in effects if effect.group == "family" and effect.level == "overall"]
    said += [f"{e.group_name}: d = {e.d.value:+.3f}{_interval(e)} (mean of {e.n_pairs})" for e in means]
    overall = effects[0]
    return "; ".join([*said, f"over all pairs: d = {overall.d.value:+.3f}{_interval(overall)}"])


def save_generation_figures(measured: Sequence[GenerationPair], effects: Sequence[Effect], folder: Path) -> None:
    """The paper's Figs. 2, 3, S2 and those of every comparison into ``figures/``; models of unknown size left out."""
    save_effect_figures(effects, folder)
    models: dict[str, tuple[ModelPair, str, MeanNll]] = {}
    for m in measured:
        models[m.pair.base] = (m.pair, "base", m.base)
        models.setdefault(m.pair.post_trained, (m.pair, m.pair.post_training or "post-trained", m.post))
    points = [(name, pair.size_b, kind) for name, (pair, kind, _) in models.items()]
    values = [mean for _, _, mean in models.values()]
    nlls = [ModelPoint(*point, mean.nll) for point, mean in zip(points, values, strict=True)]
    accuracies = [ModelPoint(*point, mean.accuracy) for point, mean in zip(points, values, strict=True)]
    pairs = [PairPoint(m.pair.size_b, m.generation, m.base.nll, m.effect.d) for m in measured]
    means = [(e.group_name, e.d) for e in effects if e.group == "family" and e.level == "overall"]
    means = means or [(measured[0].generation, effects[0].d)]
    for name, figure in (
        ("generations", generations(pairs, means)),
        ("nll_by_size", nll_by_size(nlls)),
        ("accuracy_by_size", accuracy_by_size([p for p in accuracies if np.isfinite(p.value.value)])),
    ):
        save_figure(figure, folder / "figures", name)


def _interval(effect: Effect) -> str:
    if not np.isfinite(effect.d.low):
        return " (no interval)"
    includes = ", which includes zero" if effect.d.low <= 0 <= effect.d.high else ""
    return f", 95% interval {effect.d.low:+.3f} to {effect.d.high:+.3f}{includes}"
