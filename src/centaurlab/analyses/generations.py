"""How well base models predict people, and how much post-training costs, by size and generation of the models.

A generation is what a table of pairs calls the family, such as ``qwen2.5``. Needs no torch: it reads folders of scores.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from centaurlab.analyses.analysis import Analysis, Finding
from centaurlab.analyses.misalignment import find_misalignment, pair_effects, section
from centaurlab.catalog.pairs import ModelPair
from centaurlab.display.figures.intervals import Row
from centaurlab.display.figures.paper import ModelPoint, PairPoint, accuracy_by_size, generations, nll_by_size
from centaurlab.results.joined import CommonResponses
from centaurlab.results.run import ScoreRun
from centaurlab.stats.arguments import EstimateArguments
from centaurlab.stats.effects import Effect
from centaurlab.stats.means import MEAN_COLUMNS, MeanNll, mean_nlls
from centaurlab.stats.words import NLL, D, in_words

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


DESCRIPTION = """How base models and post-training do by size and generation: NLLs and effects of whole families.

examples:
  centaurlab generations --pairs qwen2 qwen2.5 qwen3 --data starter --output_dir runs/qwen-generations
  accelerate launch -m centaurlab generations --pairs all --data marcelbinz/Psych-201-test --output_dir runs/generations
  centaurlab generations --pairs mine.csv --output_dir runs/mine

Pairs are those of families of the catalog ('centaurlab models' lists them), all of it, or those of CSV files with the
columns post_trained, base, family (the generation) and size_b; a model may be named or be a folder of scores. Models
are scored as by 'centaurlab misalignment', each once, and only what is missing; one that cannot be scored is left out.
Output: generations.csv, effects.csv, effects.parquet, run.json, figures; 'centaurlab report' makes a page of it.
"""

UNNAMED = "other"


@dataclass
class GenerationArguments:
    """Which models are compared."""

    pairs: list[str] = field(metadata={"help": "families of the catalog, 'all', or CSV files of pairs"})
    output_dir: str = field(metadata={"help": "folder for generations.csv, effects.csv, run.json, figures and scores"})


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
    common: CommonResponses,
    n_resamples: int = 2000,
    seed: int = 0,
) -> list[GenerationPair]:
    """One per pair, in their order, which is that of ``effects`` (``misalignment.compare_pairs``).

    ``common``: the responses that means are over.
    """
    names = dict.fromkeys(name for pair in pairs for name in (pair.base, pair.post_trained))
    tables = ((name, common.of_table(runs[name].table(MEAN_COLUMNS))) for name in names)
    means = {name: mean_nlls(table, n_resamples, seed)[0] for name, table in tables}
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


def summary(measured: Sequence[GenerationPair], effects: Sequence[Effect]) -> str:
    """Mean NLL of the smallest and the largest base, and mean d of each generation: counts, no test of a trend."""
    sized = sorted((m for m in measured if np.isfinite(m.pair.size_b)), key=lambda m: m.pair.size_b)
    said = []
    if sized and sized[0].pair.size_b < sized[-1].pair.size_b:
        ends = [f"{_of_mean(m.base)} at {m.pair.size_b:g} billion parameters" for m in (sized[0], sized[-1])]
        said.append(f"base models: {' and '.join(ends)}")
    means = [effect for effect in effects if effect.group == "family" and effect.level == "overall"]
    said += [f"{e.group_name}: {_of_effect(e)} (mean of {e.n_pairs})" for e in means]
    return "; ".join([*said, f"over all pairs: {_of_effect(effects[0])}"])


def _of_effect(effect: Effect) -> str:
    return in_words(effect.d, D, "people" if effect.n_studies == 1 else "studies", effect.d_these)


def _of_mean(mean: MeanNll) -> str:
    return in_words(mean.nll, NLL, "people" if mean.n_studies == 1 else "studies", mean.nll_these)


def generation_figures(measured: Sequence[GenerationPair], effects: Sequence[Effect]) -> "dict[str, Figure]":
    """The paper's Figs. 2, 3 and S2, models of unknown size left out."""
    models: dict[str, tuple[ModelPair, str, MeanNll]] = {}
    for m in measured:
        models[m.pair.base] = (m.pair, "base", m.base)
        models.setdefault(m.pair.post_trained, (m.pair, m.pair.post_training or "post-trained", m.post))
    points = [(name, pair.size_b, kind) for name, (pair, kind, _) in models.items()]
    values = [mean for _, _, mean in models.values()]
    nlls = [ModelPoint(*point, mean.nll, mean.nll_these) for point, mean in zip(points, values, strict=True)]
    accuracies = [
        ModelPoint(*point, mean.accuracy, mean.accuracy_these) for point, mean in zip(points, values, strict=True)
    ]
    pairs = [
        PairPoint(m.pair.size_b, m.generation, m.base.nll, m.effect.d, m.base.nll_these, m.effect.d_these)
        for m in measured
    ]
    of_families = [e for e in effects if e.group == "family" and e.level == "overall"]
    means = [Row(e.group_name, e.d, these=e.d_these, models=e.d_models) for e in of_families]
    means = means or [Row(measured[0].generation, effects[0].d, these=effects[0].d_these)]
    return {
        "generations": generations(pairs, means),
        "nll_by_size": nll_by_size(nlls),
        "accuracy_by_size": accuracy_by_size([p for p in accuracies if np.isfinite(p.value.value)]),
    }


def find_generations(pairs: Sequence[ModelPair], runs: Mapping[str, ScoreRun], estimates: EstimateArguments) -> Finding:
    """What misalignment finds of these pairs, and beside it NLLs and effects by size and generation."""
    compared = pair_effects(pairs, runs, estimates)
    found, effects = find_misalignment(pairs, runs, compared), compared.effects
    common = CommonResponses(runs[name].folder for pair in pairs for name in (pair.base, pair.post_trained))
    measured = measure_generations(pairs, runs, effects, common, estimates.resamples, estimates.seed)
    said = summary(measured, effects)
    if common.left_out:
        said += f"; NLLs and accuracies of {common.note}; d of each pair is over what its two models scored"
    return replace(
        found,
        tables={"generations.csv": generation_table(measured), **found.tables},
        record={**found.record, "verdict": said},
        figures={**found.figures, **generation_figures(measured, effects)},
        shown=[*found.shown, said],
    )


ANALYSIS = Analysis("generations", DESCRIPTION, GenerationArguments, section)
