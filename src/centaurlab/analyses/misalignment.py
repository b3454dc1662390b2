"""Pairs of models into one table of effects: every model scored once, what fails left out and named."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from centaurlab.analyses.analysis import Analysis, Finding
from centaurlab.analyses.finished import (
    Run,
    _figure,
    _OWN_of_jobs,
    _sentence,
    command,
    coverage_tables,
    facts_of,
    folder_pictures,
    folder_tables,
    has_table,
    read_table,
    score_runs_of,
)
from centaurlab.catalog.pairs import ModelPair, named_pairs, single_pair
from centaurlab.display.chart import chart_of
from centaurlab.display.effect_tables import effect_tables
from centaurlab.display.figures.intervals import (
    D_AXIS,
    NATS_AXIS,
    ends,
    forest,
    labelled,
    nats_forest,
    nats_rows,
    pair_forest,
    pair_rows,
    study_rows,
)
from centaurlab.display.figures.paper import domains
from centaurlab.display.figures.style import model_label
from centaurlab.display.section import INTERVALS, NLL, Card, Section
from centaurlab.display.tables import Table, table_of
from centaurlab.results.run import ScoreRun, check_same, scored_data, scored_models
from centaurlab.runtime.errors import UserError
from centaurlab.stats.answers import MUCH, tail_note
from centaurlab.stats.arguments import EstimateArguments
from centaurlab.stats.by_study import of_studies
from centaurlab.stats.effect_table import effect_record, effects_table, read_effects
from centaurlab.stats.effects import Effect, cut_alike, estimate_effects, names_of_groups
from centaurlab.stats.estimate import Estimate
from centaurlab.stats.sequential import sample_note
from centaurlab.stats.sums import LOST_MOST, ComparedPair, compare
from centaurlab.stats.words import (
    INTERVAL,
    NEW_PEOPLE,
    NOTHING,
    STUDIES_LIKE_THESE,
    cells,
    number,
    of_cut_alike,
    of_responses,
    verdict_of,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DESCRIPTION = """Compare how well models predict people: effect sizes per study, domain and overall, with intervals.

examples:
  centaurlab misalignment --base runs/gemma --post runs/other --output_dir runs/effect
  accelerate launch -m centaurlab misalignment --base Qwen/Qwen3-8B-Base --post Qwen/Qwen3-8B --data starter \\
      --output_dir runs/qwen3-8b
  centaurlab misalignment --base Qwen/Qwen3-8B-Base --post Qwen/Qwen3-8B --data starter --precision 0.05 \\
      --output_dir runs/qwen3-8b
  centaurlab misalignment --pairs qwen3 --data starter --output_dir runs/qwen3

Models are named, or given as folders of scores (centaurlab score). Named ones are first scored into
<output_dir>/scores, each once, and only what is missing. --pairs compares many: those of a family of the catalog
('centaurlab models' lists them), all of it, or those of a CSV file with the columns post_trained and base and, to
average by, post_training and family. Of many, a model that cannot be scored is left out and named at the end (with
several processes, the run stops). Positive effects: the post-trained model predicts people worse.
With --precision both models are scored on people in random order until d is known as well as asked.
Output: effects.parquet, effects.csv, run.json, figures; 'centaurlab report' makes a page of it.
Exit code 1: some sessions could not be scored, and the effects are over the others.
"""


@dataclass
class MisalignmentArguments:
    """What is compared with what."""

    output_dir: str = field(metadata={"help": "folder for effects.parquet, effects.csv and run.json"})
    base: str | None = field(
        default=None, metadata={"help": "folder of scores, or a model: what --post is held against"}
    )
    post: str | None = field(default=None, metadata={"help": "the same; positive effects mean that it is worse"})
    pairs: str | None = field(
        default=None, metadata={"help": "instead of both: a family of the catalog, 'all', or a CSV file of pairs"}
    )
    precision: float | None = field(
        default=None,
        metadata={"help": "score people until the mean d over the studies is known to ± so much (95 %% interval)"},
    )

    def asked_pairs(self) -> tuple[ModelPair, ...]:
        """The pairs to compare; ``UserError`` where the arguments name none, or make no sense."""
        if self.pairs and self.precision is not None:
            raise UserError("--precision is for one pair of models; give --base and --post instead of --pairs")
        if self.pairs and not (self.base or self.post):
            return named_pairs(self.pairs)
        if self.base and self.post and not self.pairs:
            return (single_pair(self.base, self.post),)
        raise UserError("give both --base and --post, or --pairs instead")


def comparable(pairs: Sequence[ModelPair], scored: Collection[str], missing: str) -> list[ModelPair]:
    """The pairs of which both models are ``scored``; ``UserError``, with why others are ``missing``, if none is."""
    found = [pair for pair in pairs if {pair.base, pair.post_trained} <= set(scored)]
    if not found:
        raise UserError(f"no pair is left to compare; {missing}")
    return found


@dataclass(frozen=True)
class PairEffects:
    """Effects of pairs of models, those over all studies first, and of each pair the responses that lost most.

    ``alike``: how d moves where sessions end before any response that one model alone scored, in words; or nothing.
    """

    effects: Sequence[Effect]
    lost: pd.DataFrame
    alike: str = ""


def pair_effects(pairs: Sequence[ModelPair], runs: Mapping[str, ScoreRun], estimates: EstimateArguments) -> PairEffects:
    """Effects of pairs of scored models.

    Raises ``UserError`` unless all models were scored on the same sessions by the same protocol.
    """
    check_same([runs[name] for pair in pairs for name in (pair.base, pair.post_trained)])
    compared = [compare(runs[p.post_trained], runs[p.base], p.post_training, p.family) for p in pairs]
    alike = cut_alike(compared, estimates.resamples, estimates.seed)
    effects = estimate_effects(compared, estimates.resamples, estimates.seed)
    return PairEffects(effects, lost_table(compared), of_cut_alike(alike) if alike else "")


def lost_table(compared: Sequence[ComparedPair]) -> pd.DataFrame:
    """Of each pair the responses on which the post-trained model loses most, in nats, the most first."""
    rows = []
    for pair in compared:
        every = sorted((one for sums in pair.studies for one in sums.lost), key=lambda one: -one.difference)
        for one in every[:LOST_MOST]:
            row: dict[str, object] = {"post_trained": pair.contrast.first, "base": pair.contrast.second}
            row |= asdict(one.session) | {"response": one.response, "difference": one.difference}
            rows.append(row | {"nll_base": one.nll_second, "nll_post": one.nll_first})
    return pd.DataFrame(rows, columns=[*_LOST])


def find_misalignment(pairs: Sequence[ModelPair], runs: Mapping[str, ScoreRun], compared: PairEffects) -> Finding:
    """What the ``pair_effects`` of pairs say: as a table and as figures, and which model predicts people worse."""
    effects = compared.effects
    used = {name: runs[name] for pair in pairs for name in (pair.base, pair.post_trained)}
    table = effects_table(effects)
    same = [pair for pair in pairs if runs[pair.base].fingerprint == runs[pair.post_trained].fingerprint]
    notes = sample_notes(used.values())
    overall = effects[0].d
    return Finding(
        tables={"effects.csv": table, "effects.parquet": table, "lost.csv": compared.lost},
        record={
            "overall": effect_record(effects[0]) | {"verdict": verdict_of(effects)},
            "data": scored_data(used.values()),
            "models": scored_models(used),
            "pairs": [asdict(pair) for pair in pairs],
            "sample": _common_sample(used.values()),
            "notes": notes,
            "cut_alike": compared.alike,
        },
        figures=effect_figures(effects),
        metrics=[
            (
                None,
                {"effect/d": overall.value, "effect/d_low": overall.low, "effect/d_high": overall.high}
                | {f"d/{e.level}/{e.name}": e.d.value for e in effects if e.group == effects[0].group}
                | {
                    f"d/{e.group}/{name}": e.d.value
                    for e, name in zip(effects, names_of_groups(effects), strict=True)
                    if e.level == "overall" and e.group != effects[0].group
                },
            )
        ],
        shown=[
            *shown_effects(effects, compared.alike),
            *(f"note: {p.base} and {p.post_trained} are the same model, by the fingerprint" for p in same),
            *(f"note: {note}" for note in notes),
        ],
    )


def sample_notes(runs: Collection[ScoreRun]) -> list[str]:
    """In sentences, which runs did not score every session, and what is known by the sample that all share."""
    if common := sample_note({"sample": _common_sample(runs)}):
        return [f"a sample, the same of all models: {common}"]
    samples = {run.model: run.about["sample"] for run in runs if run.record.sample}
    return [
        f"{model} was scored on a sample, {sample['sessions']:,} of {sample['of_sessions']:,} sessions, until its "
        f"{sample['quantity']} was known; effects are over what is common to all, and their intervals take its size as "
        "given"
        for model, sample in samples.items()
    ]


def _common_sample(runs: Collection[ScoreRun]) -> dict[str, Any] | None:
    """What is known by the one sample that all runs scored; None where they scored all, or different ones."""
    first, *others = [run.record.sample for run in runs]
    return first if all(other == first for other in others) else None


def shown_effects(effects: Sequence[Effect], alike: str = "") -> list[Table | str]:
    """The effects as tables, how to read them, and the verdict overall.

    Several pairs are listed overall, with their averages, and then averaged in every domain and study. ``alike``: what
    else is to be said of responses that only one model scored.
    """
    if any(Path(name).is_absolute() for name in effects[0].contrast.names):  # whole paths make no sentence
        effects = labelled(effects)
    first = effects[0]
    contrast = first.contrast
    notes = [
        f"d({contrast}): above zero, people are predicted worse by {contrast.first} than by {contrast.second}; "
        "NLL: nats per response; intervals are about these items, but where new items are named"
    ]
    if first.n_studies_d < first.n_studies:
        notes.append(f"d is defined in {first.n_studies_d} of {first.n_studies} studies; the mean is over these")
    if first.unmatched_first or first.unmatched_second:
        notes.append(
            f"left out, scored by one model alone: {first.unmatched_first:,} responses of {contrast.first}, "
            f"{first.unmatched_second:,} of {contrast.second}{f'; {alike}' if alike else ''}"
        )
    notes += [tail_note(name, tail) for name, tail in _tails(effects)]
    said = of_responses(_judged(effects), contrast.first)
    return [*effect_tables(effects), *notes, *([said] if said else []), f"overall: {verdict_of(effects)}"]


def _judged(effects: Sequence[Effect]) -> Effect:
    """What the verdict is about: all studies, or the only one."""
    first = effects[0]
    studies = [e for e in effects if (e.group, e.group_name, e.level) == (first.group, first.group_name, "study")]
    return studies[0] if len(studies) == 1 else first


def _tails(effects: Sequence[Effect]) -> list[tuple[str, float]]:
    """Studies of the first group where few responses hold most of a model's NLL."""
    first = effects[0]
    studies = [e for e in effects if (e.group, e.group_name, e.level) == (first.group, first.group_name, "study")]
    tails = [(e.name, max((t for t in (e.tail_first, e.tail_second) if t == t), default=0.0)) for e in studies]
    return [(name, tail) for name, tail in tails if tail > MUCH]


def effect_figures(effects: Sequence[Effect]) -> "dict[str, Figure]":
    """Studies; where there are several pairs, pairs; where studies have domains, domains beside the published ones."""
    figures = {"nats": nats_forest(effects), "forest": forest(effects)}
    if effects[0].group != "pair":
        figures["pairs"] = pair_forest(effects)
    if any(effect.level == "domain" for effect in effects):
        figures["domains"] = domains(effects)
    return figures


def section(run: Run) -> Section:
    """Which of two models, or of pairs of them, predicts people worse."""
    effects = read_effects(run.folder)
    first = effects[0]
    several = first.group != "pair"
    shown = labelled(effects)
    post, base = shown[0].contrast.names
    whom = f"({first.n_participants:,} people, {first.n_responses:,} responses), "
    over = f"over {first.n_studies:,} studies {whom}" if first.n_studies > 1 else ""
    lines = f"{INTERVAL}s, of the mean thin for {STUDIES_LIKE_THESE} and thick for {NEW_PEOPLE}"
    captions = {
        "nats": f"Difference of the NLL in each study, in nats per response; lines: {lines}; filled: q < .05.",
        "forest": f"Cohen's d of each study, in standard deviations of the NLL; lines: {lines}; filled: q < .05.",
        "pairs": f"Cohen's d over all studies of each pair and on average; lines: {lines}.",
        "domains": "d of each domain; grey: the models of the paper, which were scored on Psych-201.",
    }
    of_ends = ends(shown[0].contrast)
    charts = {
        "nats": chart_of(nats_rows(effects), NATS_AXIS, ends=of_ends),
        "forest": chart_of(study_rows(effects), D_AXIS, ends=of_ends),
    }
    if several:
        charts["pairs"] = chart_of(pair_rows(effects), D_AXIS, ends=of_ends)
    figures = [
        replace(_figure(name, captions[name], figure), chart=charts.get(name))
        for name, figure in effect_figures(effects).items()
    ]
    found, gone = score_runs_of(run)
    joined = (
        f"Both models of a pair are compared on the same {first.n_responses:,} responses of "
        f"{first.n_participants:,} people; left out, scored by one model alone: {first.unmatched_first:,} of {post}, "
        f"{first.unmatched_second:,} of {base}."
        + (f" {_sentence(said)}" if (said := str(run.about.get("cut_alike") or "")) else "")
    )
    return Section(
        title="Post-trained models against their bases" if several else f"{post} against {base}",
        question=f"Are people predicted worse by {post} than by {base}?",
        answers=(
            _sentence(over + verdict_of(shown)),
            *([_sentence(said)] if (said := of_studies(shown)) else []),
            *([_sentence(said)] if (said := of_responses(_judged(shown), post)) else []),
            *(_sentence(tail_note(name, tail)) for name, tail in _tails(shown)),
            *([f"By size and generation: {run.about['verdict']}."] if "verdict" in run.about else []),
        ),
        explanation=(
            f"Per study, d is the mean NLL of {post} minus that of {base} on the same responses, in units of the "
            "standard deviation of NLLs over responses (the root of the two models' mean variance). "
            f"Above zero, people are predicted worse by {post}; by convention 0.2 is small, 0.5 medium and 0.8 large "
            "(Cohen, 1988).",
            NLL,
            f"Probability ratio: by how much the probability given by {post} to what people did is, in the geometric "
            f"mean, that of {base}; the exponential of minus the difference in nats.",
            f"{INTERVALS} Paired d is over people: the mean difference by the standard deviation of the differences, "
            "corrected for few people. P(worse) is the share of responses that are predicted worse, 0.5 where neither "
            "is better. d within is d with the standard deviation within experiments and kinds of answers: few "
            "responses that lose much hide in a standard deviation that they make themselves.",
            joined,
            *gone,
        ),
        figures=(*figures, *folder_pictures([run], _OWN_of_jobs)),
        tables=(
            *effect_tables(shown),
            *_lost_tables(run),
            *coverage_tables(list(map(model_label, found)), list(found.values())),
            *folder_tables([run], _OWN_of_jobs),
        ),
        provenance=tuple(facts_of(run)),
        commands=tuple(dict.fromkeys([*(command(scored) for scored in found.values()), command(run)])),
        cards=_cards(_judged(effects)),
    )


def _cards(overall: Effect) -> tuple[Card, ...]:
    """d and the difference over all studies, or of the only one, with their intervals, and what they were found on."""
    nats = overall.nll_difference
    ratio = Estimate(*(_as_ratio(value) for value in (nats.value, nats.high, nats.low)))
    value, interval = cells(ratio, signed=False)
    of_whom = f", {STUDIES_LIKE_THESE if overall.level == 'overall' else 'new people'}"
    said = {"nats per response": cells(nats), "d": cells(overall.d), "probability ratio": (f"× {value}", interval)}
    return (
        *(
            Card(name, value, f"{INTERVAL} {interval}{of_whom}" if interval != NOTHING else "no interval")
            for name, (value, interval) in said.items()
        ),
        *([Card("pairs of models", number(overall.n_pairs))] if overall.n_pairs > 1 else []),
        Card("studies", number(overall.n_studies)),
        Card("people", number(overall.n_participants)),
        Card("responses", number(overall.n_responses)),
    )


def _as_ratio(nats: float) -> float:
    return math.exp(-nats) if abs(nats) < _MOST_NATS else math.nan


_MOST_NATS = 100  # beyond it a ratio says nothing


def _lost_tables(run: Run) -> list[Table]:
    """The responses of the first pair that lost most; runs of older versions have none."""
    if not has_table(run, "lost"):
        return []
    lost = read_table(run, "lost")
    pair = lost[["post_trained", "base"]]
    lost = lost[(pair == pair.iloc[0]).all(axis=1)] if len(lost) else lost
    columns = {name: name for name in ("study", "experiment", "participant", "response")}
    columns |= {"difference": "difference (nats)", "nll_base": "NLL base", "nll_post": "NLL post"}
    title = f"The {len(lost)} responses that lost most"
    return [table_of(title, lost, columns, "response: its number in the session, from 0", signed=["difference"])]


_LOST = ("post_trained", "base", "study", "experiment", "participant", "response", "difference", "nll_base", "nll_post")


ANALYSIS = Analysis("misalignment", DESCRIPTION, MisalignmentArguments, section)
