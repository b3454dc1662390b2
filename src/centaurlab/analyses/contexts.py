"""The same model reading the same sessions in two contexts: which of the two lets it predict people better.

Every comparison is d(first − second), estimated as that of two models (``effects``) on the responses that both
contexts scored: positive where the first context is the worse one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich import box
from rich.markup import escape
from rich.table import Table

from centaurlab.catalog.pairs import model_pairs
from centaurlab.results.joined import join_scores
from centaurlab.results.run import ScoreRun, check_same
from centaurlab.stats.effect_table import effects_table
from centaurlab.stats.effects import ComparedPair, Effect, estimate_effects, sum_study
from centaurlab.stats.estimate import CONFIDENCE, Estimate
from centaurlab.stats.words import cells

if TYPE_CHECKING:
    import pandas as pd


from collections.abc import Iterator

import pandas as pd
from matplotlib.figure import Figure

from centaurlab.analyses.finished import (
    _OWN,
    Run,
    _figures,
    _sentence,
    command,
    coverage_tables,
    facts_of,
    folder_tables,
    read_table,
)
from centaurlab.display.figures.intervals import Row, signed_forest
from centaurlab.display.figures.style import model_label
from centaurlab.display.section import INTERVALS, NLL, Section
from centaurlab.display.tables import ReportTable, table_of
from centaurlab.runs.folder import read_json

Runs = Mapping[str, ScoreRun]
"""Score runs in one context, by model."""


@dataclass(frozen=True)
class Comparison:
    """Effects d(first − second) of two contexts, named in words, of which ``noun`` is the last where they share it."""

    name: str
    first: str
    second: str
    effects: Sequence[Effect]
    noun: str = ""

    @property
    def names(self) -> tuple[str, str]:
        """The two contexts in full."""
        return f"{self.first} {self.noun}".strip(), f"{self.second} {self.noun}".strip()

    @property
    def overall(self) -> Effect:
        """Over all studies, and the mean over the models where there are several."""
        return self.effects[0]

    def verdict(self) -> str:
        """The effect overall, in a sentence."""
        return _verdict(self, self.overall)


def compare_contexts(
    name: str,
    first: tuple[str, Runs],
    second: tuple[str, Runs],
    n_resamples: int,
    seed: int,
    noun: str = "",
    same_sessions: bool = True,
) -> Comparison:
    """Effects of two contexts, each given in words and as the runs of the models in it.

    ``same_sessions=False``: ``second`` holds only some of the sessions of ``first``. Raises ``UserError`` where the
    runs cannot be compared.
    """
    pairs = []
    for model, run in second[1].items():
        other = first[1][model]
        if same_sessions:
            check_same([run, other], same_context=False)
        studies = [sum_study(scores) for scores in join_scores(run.folder, other.folder)]
        if not same_sessions:
            studies = [replace(sums, unmatched_post=0) for sums in studies if len(sums.participant_P)]
        pairs.append(ComparedPair(second[0], model, studies, post_training=_kind(model)))
    return Comparison(name, first[0], second[0], estimate_effects(pairs, n_resamples, seed), noun)


def comparison_table(comparisons: Sequence[Comparison]) -> "pd.DataFrame":
    """One row per comparison and effect: ``d`` is d(first − second), and so are the other differences."""
    import pandas as pd

    tables = []
    for comparison in comparisons:
        table = effects_table(comparison.effects).drop(columns=["base"])
        table["group"] = table["group"].replace({"pair": "model", "post_training": "models"})
        table["group_name"] = table["group_name"].replace({"all pairs": "all models"})
        renamed = {
            f"{what}_{side}": f"{what}_{name}"
            for what in ("nll", "unmatched")
            for side, name in (("post", "first"), ("base", "second"))
        }
        table = table.rename(columns=renamed | {"group_name": "models", "n_pairs": "n_models"})
        columns = zip(("comparison", "first", "second"), (comparison.name, *comparison.names), strict=True)
        for i, (column, value) in enumerate(columns):
            table.insert(i, column, value)
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def metrics_of(comparisons: Sequence[Comparison]) -> dict[str, float]:
    """Of each comparison d overall with its interval, and by study, for ``metrics.jsonl``."""
    found: dict[str, float] = {}
    for one in comparisons:
        d = one.overall.d
        found |= {
            f"effect/d/{one.name}": d.value,
            f"effect/d_low/{one.name}": d.low,
            f"effect/d_high/{one.name}": d.high,
        }
        ours = (e for e in one.effects if e.level == "study" and e.group_name == one.overall.group_name)
        found |= {f"d/{one.name}/{e.name}": e.d.value for e in ours}
    return found


def shown_comparisons(comparisons: Sequence[Comparison], title: str) -> Iterator[Table | str]:
    """Comparisons of the same models on the same studies side by side, and the verdict of each.

    Several models: their averages and each of them over all studies, then their mean in every domain and study.
    """
    by_row = [dict(zip(map(_row, one.effects), one.effects, strict=True)) for one in comparisons]
    rows = [row for row in by_row[0] if all(row in effects for effects in by_row)]
    groups = list(dict.fromkeys(row[:2] for row in rows))
    if len(groups) > 1:
        overall = [row for row in rows if row[2] == "overall"]
        yield _table(title, comparisons, by_row, overall, [_models(row) for row in overall])
    detailed = [row for row in rows if row[:2] == groups[0]]
    name = f"{title}: {escape(_models(detailed[0]))}"
    yield _table(name, comparisons, by_row, detailed, [row[3] for row in detailed])
    yield "NLL: nats per response; d(a − b): positive where people are predicted worse with a"
    for one in comparisons:
        left_out = one.overall.unmatched_base + one.overall.unmatched_post
        if left_out:
            named = " and ".join(one.names)
            yield f"left out, scored with only one of {named}: {left_out:,} responses"
        yield one.verdict()


def labels_of(comparisons: Sequence[Comparison]) -> list[str]:
    """``first − second`` each, with the model where that does not tell them apart."""
    names = [f"{one.first} − {one.second}" for one in comparisons]
    return [
        name if names.count(name) == 1 else f"{name}, {one.overall.group_name.rstrip('/').rpartition('/')[2]}"
        for name, one in zip(names, comparisons, strict=True)
    ]


def table_of_each(comparisons: Sequence[Comparison], title: str) -> Table:
    """Comparisons over all studies, one per row."""
    table = Table("", title=title, box=box.SIMPLE_HEAD)
    for header in ("NLL first", "NLL second", "d(first − second)", "95 % interval", "responses", "people", "studies"):
        table.add_column(header, justify="right", no_wrap=True)
    for one, label in zip(comparisons, labels_of(comparisons), strict=True):
        effect = one.overall
        nlls = (f"{nll:.4f}" for nll in (effect.nll_post, effect.nll_base))
        counts = (f"{n:,}" for n in (effect.n_responses, effect.n_participants, effect.n_studies))
        table.add_row(escape(label), *nlls, *cells(effect.d), *counts)
    return table


def _verdict(comparison: Comparison, effect: Effect) -> str:
    d, (first, second) = effect.d, comparison.names
    if not np.isfinite(d.value):
        return f"d({first} − {second}) is not defined: too few responses, or all with the same NLL"
    size = f"d({first} − {second}) = {d.value:+.3f}"
    better, worse = (second, first) if d.value > 0 else (first, second)
    if not np.isfinite(d.low):
        units = "participants" if effect.level == "study" else "studies"
        ours = f"people are predicted better with {better} than with {worse}" if d.value else "no difference"
        return f"{ours} ({size}); no interval: it needs two {units} or more"
    size += f", {CONFIDENCE:.0%} interval {d.low:+.3f} to {d.high:+.3f}"
    if d.low <= 0 <= d.high:
        return f"no clear difference between {first} and {second} ({size}, which includes zero)"
    return f"people are predicted better with {better} than with {worse} ({size}, which excludes zero)"


def _table(
    title: str,
    comparisons: Sequence[Comparison],
    by_row: Sequence[Mapping[tuple[str, ...], Effect]],
    rows: Sequence[tuple[str, ...]],
    labels: Sequence[str],
) -> Table:
    table = Table(title=title, box=box.SIMPLE_HEAD)
    table.add_column("", overflow="fold")
    contexts = dict.fromkeys(name for one in comparisons for name in (one.first, one.second))
    for context in contexts:
        table.add_column(f"NLL\n{context}", justify="right")
    for one in comparisons:
        table.add_column(f"d({one.first}\n− {one.second}),\n95 % interval", justify="right", no_wrap=True)
    for header in ("responses", "people"):
        table.add_column(header, justify="right")
    for i, (row, label) in enumerate(zip(rows, labels, strict=True)):
        if i and (rows[i - 1][0], rows[i - 1][2]) != (row[0], row[2]):
            table.add_section()
        effects = [effects[row] for effects in by_row]
        nlls: dict[str, float] = {}
        for one, effect in zip(comparisons, effects, strict=True):
            nlls = {one.second: effect.nll_base, one.first: effect.nll_post} | nlls
        cells = [_with_interval(effect.d) for effect in effects]
        counts = (f"{effects[0].n_responses:,}", f"{effects[0].n_participants:,}")
        table.add_row(escape(label), *(f"{nlls[context]:.4f}" for context in contexts), *cells, *counts)
    return table


def _row(effect: Effect) -> tuple[str, ...]:
    return (effect.group, effect.group_name, effect.level, effect.name)


def _models(row: tuple[str, ...]) -> str:
    group, name, *_ = row
    return name if group == "pair" else f"mean of {name} models" if group == "post_training" else "mean of the models"


def _with_interval(estimate: Estimate) -> str:
    value, _ = cells(estimate)
    return f"{value} [{estimate.low:+.3f}, {estimate.high:+.3f}]" if np.isfinite(estimate.low) else value


def _kind(model: str) -> str:
    """What the catalog says of a model; '' where it does not know it."""
    for pair in model_pairs():
        if model in (pair.base, pair.post_trained):
            return "base" if model == pair.base else "post-trained"
    return ""


def _per_study(comparison: Comparison, title: str, positive: str, negative: str) -> Figure:
    first = comparison.overall
    group = [e for e in comparison.effects if (e.group, e.group_name) == (first.group, first.group_name)]
    rows = [Row(effect.name, effect.d) for effect in group if effect.level == "study"]
    rows.append(Row("mean over studies", first.d, is_summary=True))
    models = model_label(first.group_name) if first.group == "pair" else f"mean of {first.n_pairs} models"
    quantity = f"d ({' − '.join(comparison.names)}; standard deviations)"
    return signed_forest(rows, f"{title}\n{models}", positive, negative, quantity)


_COUNTS = {"n_responses": "responses", "n_participants": "people"}


def _contexts(
    run: Run, title: str, question: str, answered: Sequence[str], explanation: Sequence[str], *more: ReportTable
) -> Section:
    """A section on comparisons of contexts, as ``context_effects`` writes them; those ``answered`` say it in words."""
    rows = read_table(run, run.job)
    overall = rows[rows["level"] == "overall"].copy()
    overall.insert(0, "what", overall["first"] + " − " + overall["second"])
    names = overall["models"].map(model_label)
    overall["models"] = names.where(overall["group"] == "model", "mean of " + names)
    columns = {"what": "first − second", "models": "models", "d": "d"}
    columns |= {"nll_first": "NLL first", "nll_second": "NLL second"} | _COUNTS | {"n_studies": "studies"}
    said = [str(run.about["overall"][name]["verdict"]) for name in answered]
    scored = dict(_scored(run))
    return Section(
        title=f"{title} on {run.about['data']['name']}",
        question=question,
        answers=tuple(map(_sentence, said)),
        explanation=(*explanation, NLL, INTERVALS),
        figures=_figures(run),
        tables=(
            table_of("Over all studies", overall, columns),
            *_level_tables(rows),
            *more,
            *folder_tables([run], _OWN),
            *coverage_tables(list(scored), list(scored.values())),
        ),
        provenance=tuple(facts_of(run)),
        commands=(command(run),),
    )


def _level_tables(rows: pd.DataFrame) -> Iterator[ReportTable]:
    """Domains and studies of the first comparison, averaged over its models where there are several."""
    first = rows.iloc[0]
    same = (rows["comparison"] == first["comparison"]) & (rows["models"] == first["models"])
    same &= rows["group"] == first["group"]
    columns = {"name": "study", "d": "d", "d_paired": "paired d"}
    columns |= {"nll_first": "NLL first", "nll_second": "NLL second"} | _COUNTS
    for level, title in (("study", "Studies"), ("domain", "Domains")):
        chosen = rows[same & rows["level"].isin(["overall", level])]
        if (chosen["level"] == level).any():
            head = f"{title}: d({first['first']} − {first['second']})"
            yield table_of(head, chosen, columns | {"name": level}, n_summary=1)


def _scored(run: Run) -> Iterator[tuple[str, Run]]:
    """The score runs of a run in contexts that are at hand, by context and, where there are several, model."""
    for context, of_model in run.about["scores"].items():
        for model, folder in of_model.items():
            places = (Path(folder), run.folder / "scores" / context / Path(folder).name)
            for place in places:
                about = read_json(place / "run.json")
                if about.get("job") == "score":
                    yield f"{context} {model_label(model)}" if len(of_model) > 1 else context, Run(place, about, {})
                    break
