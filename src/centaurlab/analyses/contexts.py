"""The same model reading the same sessions in two contexts: which of the two lets it predict people better.

Every comparison is d(first − second), estimated as that of two models (``effects``) on the responses that both
contexts scored: positive where the first context is the worse one.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from centaurlab.analyses.finished import (
    _OWN,
    Run,
    _sentence,
    command,
    coverage_tables,
    facts_of,
    folder_pictures,
    folder_tables,
    read_table,
)
from centaurlab.catalog.pairs import model_pairs
from centaurlab.data.transcripts import SessionKey
from centaurlab.display.figures.intervals import Row, signed_forest
from centaurlab.display.figures.style import model_label
from centaurlab.display.section import INTERVALS, NLL, Section
from centaurlab.display.tables import Table, table_of
from centaurlab.results.joined import StudyScores, join_scores
from centaurlab.results.run import ScoreRun, check_same
from centaurlab.runs.integrity import read_json
from centaurlab.stats.contrast import Contrast
from centaurlab.stats.effect_table import effect_record, effects_table
from centaurlab.stats.effects import Effect, cut_alike, estimate_effects
from centaurlab.stats.sums import ComparedPair, sum_study
from centaurlab.stats.words import of_cut_alike, verdict_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Runs = Mapping[str, ScoreRun]
"""Score runs in one context, by model."""


@dataclass(frozen=True)
class Comparison:
    """Effects of the ``contrast`` of two contexts, which are those over all studies first.

    ``alike``: how d moves where sessions end before any response that one context lacks, in words; or nothing.
    """

    name: str
    contrast: Contrast
    effects: Sequence[Effect]
    alike: str = ""

    @property
    def overall(self) -> Effect:
        """Over all studies, and the mean over the models where there are several."""
        return self.effects[0]

    @property
    def short(self) -> str:
        """``first − second``, without the noun that they share."""
        return f"{self.contrast.first} − {self.contrast.second}"

    def record(self) -> dict[str, object]:
        """The effect overall, for ``run.json``, with its verdict."""
        return effect_record(self.overall) | {"verdict": verdict_of(self.effects), "cut_alike": self.alike}


def compare_contexts(
    name: str,
    contrast: Contrast,
    first: Runs,
    second: Runs,
    n_resamples: int,
    seed: int,
    same_sessions: bool = True,
    without: Collection[SessionKey] = (),
) -> Comparison:
    """Effects of two contexts, each given as the runs of the models in it.

    Parameters
    ----------
    name : str
        Of the comparison, in the table.
    contrast : Contrast
        The two contexts in words.
    first, second : mapping of str to ScoreRun
        The runs by model; those of ``second`` are compared.
    n_resamples, seed : int
        Of the bootstrap.
    same_sessions : bool
        Whether both hold the same sessions; else ``second`` holds only some of those of ``first``.
    without : collection of SessionKey
        Sessions that are left out.

    Raises
    ------
    UserError
        Where the runs cannot be compared.
    """
    pairs = []
    for model, run in second.items():
        other = first[model]
        if same_sessions:
            check_same([run, other], same_context=False)
        joined = join_scores(run.folder, other.folder)
        studies = [sum_study(_of_others(scores, without) if without else scores) for scores in joined]
        if not same_sessions:
            studies = [replace(sums, unmatched_first=0, cut_alike=None) for sums in studies]
        if without or not same_sessions:
            studies = [sums for sums in studies if len(sums.participant_P)]
        pairs.append(ComparedPair(contrast, studies, post_training=_kind(model), name=model, base=_base(model)))
    alike = cut_alike(pairs, n_resamples, seed)
    return Comparison(name, contrast, estimate_effects(pairs, n_resamples, seed), of_cut_alike(alike) if alike else "")


def _of_others(scores: StudyScores, without: Collection[SessionKey]) -> StudyScores:
    """A study's scores without those of some sessions."""
    if scores.details is None:
        return scores
    numbers = [number for number, session in enumerate(scores.details.sessions) if session in without]
    return scores.chosen(np.flatnonzero(~np.isin(scores.details.session_R, numbers)), scores.study)


def comparison_table(comparisons: Sequence[Comparison]) -> pd.DataFrame:
    """One row per comparison and effect: ``d`` is d(first − second), and so are the other differences."""
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
        columns = zip(("comparison", "first", "second"), (comparison.name, *comparison.contrast.names), strict=True)
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
        overall = {_models(row): [of[row] for of in by_row] for row in rows if row[2] == "overall"}
        yield _side_by_side(title, comparisons, "models", overall)
    for level, name in (("study", "studies"), ("domain", "domains")):
        of_level = [row for row in rows if row[:2] == groups[0] and row[2] in ("overall", level)]
        if any(row[2] == level for row in of_level):
            effects = {row[3]: [of[row] for of in by_row] for row in of_level}
            yield _side_by_side(f"{title}, {name}: {_models(of_level[0])}", comparisons, level, effects, n_summary=1)
    yield "NLL: nats per response; d(a − b): above zero, people are predicted worse with a"
    for one in comparisons:
        left_out = one.overall.unmatched_first + one.overall.unmatched_second
        if left_out:
            named = " and ".join(one.contrast.names)
            yield f"left out, scored with only one of {named}: {left_out:,} responses; {one.alike}"
        yield verdict_of(one.effects)


def _side_by_side(
    title: str,
    comparisons: Sequence[Comparison],
    what: str,
    effects: Mapping[str, Sequence[Effect]],
    n_summary: int = 0,
) -> Table:
    """A row for each of ``effects``, which are those of the ``comparisons``; NLLs of every context once."""
    rows = []
    for name, of_each in effects.items():
        row: dict[str, object] = {what: name}
        for one, effect in zip(comparisons, of_each, strict=True):
            d = effect.d
            row |= {f"d({one.short})": d.value, f"d({one.short})_low": d.low, f"d({one.short})_high": d.high}
        for one, effect in zip(comparisons, of_each, strict=True):
            nlls = (effect.nll_first, effect.nll_second)
            for context, nll in zip((one.contrast.first, one.contrast.second), nlls, strict=True):
                row.setdefault(f"NLL {context}", nll)
        rows.append(row | {"responses": of_each[0].n_responses, "people": of_each[0].n_participants})
    return table_of(title, pd.DataFrame(rows), n_summary=n_summary, signed=[f"d({one.short})" for one in comparisons])


def labels_of(comparisons: Sequence[Comparison]) -> list[str]:
    """``first − second`` each, with the model where that does not tell them apart."""
    names = [one.short for one in comparisons]
    return [
        name if names.count(name) == 1 else f"{name}, {model_label(one.overall.group_name)}"
        for name, one in zip(names, comparisons, strict=True)
    ]


def table_of_each(comparisons: Sequence[Comparison], title: str) -> Table:
    """Comparisons over all studies, one per row."""
    frame = comparison_table([replace(one, effects=one.effects[:1]) for one in comparisons])
    frame["comparison"] = labels_of(comparisons)
    return table_of(title, frame, {"comparison": "first − second"} | _OVERALL, signed=_DIFFERENCES)


def _row(effect: Effect) -> tuple[str, ...]:
    return (effect.group, effect.group_name, effect.level, effect.name)


def _models(row: tuple[str, ...]) -> str:
    group, name, *_ = row
    return name if group == "pair" else f"mean of {name} models" if group == "post_training" else "mean of the models"


def _base(model: str) -> str:
    """What a model of the catalog was post-trained from; of others nothing is known but their names."""
    return next((pair.base for pair in model_pairs() if model in (pair.base, pair.post_trained)), model)


def _kind(model: str) -> str:
    """What the catalog says of a model; '' where it does not know it."""
    for pair in model_pairs():
        if model in (pair.base, pair.post_trained):
            return "base" if model == pair.base else "post-trained"
    return ""


def study_forest(comparison: Comparison, title: str) -> "Figure":
    """d of every study, averaged over the models where there are several, the mean over studies below."""
    first = comparison.overall
    group = [e for e in comparison.effects if (e.group, e.group_name) == (first.group, first.group_name)]
    rows = [Row(effect.name, effect.d, q=effect.q) for effect in group if effect.level == "study"]
    rows.append(Row("mean over studies", first.d, is_summary=True, these=first.d_these))
    models = model_label(first.group_name) if first.group == "pair" else f"mean of {first.n_pairs} models"
    return signed_forest(rows, f"{title}\n{models}", comparison.contrast)


_COUNTS = {"n_responses": "responses", "n_participants": "people"}
_NLLS = {"nll_first": "NLL first", "nll_second": "NLL second"}
_OVERALL = {"d": "d"} | _NLLS | _COUNTS | {"n_studies": "studies"}
_DIFFERENCES = ("d", "d_paired")


def _contexts(
    run: Run, title: str, question: str, answered: Sequence[str], explanation: Sequence[str], *more: Table
) -> Section:
    """A section on comparisons of contexts, as ``context_effects`` writes them; those ``answered`` say it in words."""
    rows = read_table(run, run.job)
    overall = rows[rows["level"] == "overall"].copy()
    overall.insert(0, "what", overall["first"] + " − " + overall["second"])
    names = overall["models"].map(model_label)
    overall["models"] = names.where(overall["group"] == "model", "mean of " + names)
    columns = {"what": "first − second", "models": "models"} | _OVERALL
    said = [str(run.about["overall"][name]["verdict"]) for name in answered]
    scored = dict(_scored(run))
    return Section(
        title=f"{title} on {run.about['data']['name']}",
        question=question,
        answers=tuple(map(_sentence, said)),
        explanation=(*explanation, NLL, INTERVALS),
        figures=folder_pictures([run]),
        tables=(
            table_of("Over all studies", overall, columns, signed=_DIFFERENCES),
            *_level_tables(rows),
            *more,
            *folder_tables([run], _OWN),
            *coverage_tables(list(scored), list(scored.values())),
        ),
        provenance=tuple(facts_of(run)),
        commands=(command(run),),
    )


def _level_tables(rows: pd.DataFrame) -> Iterator[Table]:
    """Domains and studies of the first comparison, averaged over its models where there are several."""
    first = rows.iloc[0]
    same = (rows["comparison"] == first["comparison"]) & (rows["models"] == first["models"])
    same &= rows["group"] == first["group"]
    columns = {"name": "study", "d": "d", "d_paired": "paired d"} | _NLLS | _COUNTS
    for level, title in (("study", "Studies"), ("domain", "Domains")):
        chosen = rows[same & rows["level"].isin(["overall", level])]
        if (chosen["level"] == level).any():
            head = f"{title}: d({first['first']} − {first['second']})"
            yield table_of(head, chosen, columns | {"name": level}, n_summary=1, signed=_DIFFERENCES)


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
