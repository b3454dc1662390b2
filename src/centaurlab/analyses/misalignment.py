"""Pairs of models into one table of effects: every model scored once, what fails left out and named."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from matplotlib.figure import Figure
from rich import box
from rich.markup import escape
from rich.table import Table

from centaurlab.analyses.analysis import Analysis, Finding
from centaurlab.analyses.finished import (
    Run,
    _figure,
    _OWN_of_jobs,
    command,
    coverage_tables,
    facts_of,
    folder_pictures,
    folder_tables,
    score_runs_of,
)
from centaurlab.catalog.pairs import ModelPair, named_pairs, single_pair
from centaurlab.display.figures.intervals import (
    forest,
    pair_forest,
)
from centaurlab.display.figures.paper import domains
from centaurlab.display.figures.style import model_label
from centaurlab.display.section import INTERVALS, NLL, Section
from centaurlab.display.tables import INTERVAL, ReportTable, table_of
from centaurlab.results.run import ScoreRun, check_same, scored_data, scored_models
from centaurlab.runtime.errors import UserError
from centaurlab.stats.arguments import EstimateArguments
from centaurlab.stats.effect_table import effects_table, read_effects
from centaurlab.stats.effects import Effect, compare, estimate_effects
from centaurlab.stats.sequential import sample_note
from centaurlab.stats.words import cells, verdict

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


def pair_effects(
    pairs: Sequence[ModelPair], runs: Mapping[str, ScoreRun], estimates: EstimateArguments
) -> list[Effect]:
    """Effects of pairs of scored models, those over all studies first.

    Raises ``UserError`` unless all models were scored on the same sessions by the same protocol.
    """
    check_same([runs[name] for pair in pairs for name in (pair.base, pair.post_trained)])
    compared = [compare(runs[p.base], runs[p.post_trained], p.post_training, p.family) for p in pairs]
    return estimate_effects(compared, estimates.resamples, estimates.seed)


def find_misalignment(pairs: Sequence[ModelPair], runs: Mapping[str, ScoreRun], effects: Sequence[Effect]) -> Finding:
    """What the ``pair_effects`` of pairs say: as a table and as figures, and which model predicts people worse."""
    used = {name: runs[name] for pair in pairs for name in (pair.base, pair.post_trained)}
    table = effects_table(effects)
    same = [pair for pair in pairs if runs[pair.base].fingerprint == runs[pair.post_trained].fingerprint]
    notes = sample_notes(used.values())
    overall = effects[0].d
    return Finding(
        tables={"effects.csv": table, "effects.parquet": table},
        record={
            "overall": asdict(effects[0]) | {"verdict": verdict(effects[0])},
            "data": scored_data(used.values()),
            "models": scored_models(used),
            "pairs": [asdict(pair) for pair in pairs],
            "sample": _common_sample(used.values()),
            "notes": notes,
        },
        figures=effect_figures(effects),
        metrics=[
            (
                None,
                {"effect/d": overall.value, "effect/d_low": overall.low, "effect/d_high": overall.high}
                | {f"d/{e.level}/{e.name}": e.d.value for e in effects if e.group == effects[0].group}
                | {
                    f"d/{e.group}/{e.group_name}": e.d.value
                    for e in effects
                    if e.level == "overall" and e.group != effects[0].group
                },
            )
        ],
        shown=[
            *shown_effects(effects),
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


def shown_effects(effects: Sequence[Effect]) -> list[Table | str]:
    """The effects as tables, how to read them, and the verdict overall.

    Several pairs are listed overall, with their averages, and then averaged in every domain and study.
    """
    first = effects[0]
    detailed = [effect for effect in effects if (effect.group, effect.group_name) == (first.group, first.group_name)]
    if first.group == "pair":
        base, post = first.base, first.group_name
        tables = [_table(f"{escape(post)} against {escape(base)}", detailed, [effect.name for effect in detailed])]
    else:
        base, post = "the base models", "the post-trained models"
        overall = [effect for effect in effects if effect.level == "overall"]
        tables = [
            _table(f"{first.n_pairs} pairs, all studies", overall, [_group_label(row) for row in overall]),
            _table(f"mean of {first.n_pairs} pairs", detailed[1:], [row.name for row in detailed[1:]]),
        ]
    notes = [
        f"positive d: {post} predict{'s' * (first.group == 'pair')} people worse than {base}; NLL: nats per response"
    ]
    if first.n_studies_d < first.n_studies:
        notes.append(f"d is defined in {first.n_studies_d} of {first.n_studies} studies; the mean is over these")
    if first.unmatched_base or first.unmatched_post:
        notes.append(
            f"left out, scored by one model alone: {first.unmatched_base:,} responses of {base}, "
            f"{first.unmatched_post:,} of {post}"
        )
    return [*tables, *notes, f"overall: {verdict(first)}"]


def _table(title: str, effects: Sequence[Effect], labels: Sequence[str]) -> Table:
    table = Table(title=title, box=box.SIMPLE_HEAD)
    table.add_column("", overflow="fold")
    for header in ("d", "95 % interval", "paired d", "95 % interval", "NLL base", "NLL post", "responses", "people"):
        table.add_column(header, justify="right", no_wrap=True)
    sections = [(effect.group, effect.level) for effect in effects]
    for i, (effect, label) in enumerate(zip(effects, labels, strict=True)):
        if i and sections[i] != sections[i - 1]:
            table.add_section()
        table.add_row(
            escape(label),
            *cells(effect.d),
            *cells(effect.d_paired),
            f"{effect.nll_base:.3f}",
            f"{effect.nll_post:.3f}",
            f"{effect.n_responses:,}",
            f"{effect.n_participants:,}",
        )
    return table


def _group_label(effect: Effect) -> str:
    if effect.group == "pair":
        return f"{effect.group_name} against {effect.base}"
    return f"{effect.group_name} (mean of {effect.n_pairs})"


def effect_figures(effects: Sequence[Effect]) -> dict[str, Figure]:
    """Studies; where there are several pairs, pairs; where studies have domains, domains beside the published ones."""
    figures = {"forest": forest(effects)}
    if effects[0].group != "pair":
        figures["pairs"] = pair_forest(effects)
    if any(effect.level == "domain" for effect in effects):
        figures["domains"] = domains(effects)
    return figures


_UNDECIDED = "An interval that includes zero means: these data do not tell the two models apart."


def section(run: Run) -> Section:
    """Which of two models, or of pairs of them, predicts people worse."""
    effects = read_effects(run.folder)
    first = effects[0]
    several = first.group != "pair"
    shown = [_labelled(effect) for effect in effects]
    base, post = ("the base models", "the post-trained models") if several else (shown[0].base, shown[0].group_name)
    of_first = [e for e in shown if (e.group, e.group_name) == (shown[0].group, shown[0].group_name)]
    includes_zero = first.d.low <= 0 <= first.d.high
    captions = {
        "forest": f"d of each study, with {INTERVAL}s; filled: it excludes zero.",
        "pairs": "d over all studies, of each pair and on average.",
        "domains": "d of each domain; grey: the models of the paper, which were scored on Psych-201.",
    }
    figures = [_figure(name, captions[name], figure) for name, figure in effect_figures(effects).items()]
    tables = [
        level_table("Studies", of_first, "study"),
        *([level_table("Domains", of_first, "domain")] if any(e.level == "domain" for e in of_first) else []),
    ]
    if several:
        tables.insert(0, pair_table(shown))
    models = list(score_runs_of(run))
    gone = [name for name, scored in models if scored is None]
    found = {name: scored for name, scored in models if scored is not None}
    joined = (
        f"Both models of a pair are compared on the same {first.n_responses:,} responses of "
        f"{first.n_participants:,} people; left out, scored by one model alone: {first.unmatched_base:,} of the base, "
        f"{first.unmatched_post:,} of the post-trained."
    )
    return Section(
        title="Post-trained models against their bases" if several else f"{post} against {base}",
        question=f"Do {post} predict people worse than {base}?"
        if several
        else f"Does {post} predict people worse than {base}?",
        answers=(
            f"Over {first.n_studies:,} studies: {verdict(shown[0])}.{f' {_UNDECIDED}' if includes_zero else ''}",
            *([f"By size and generation: {run.about['verdict']}."] if "verdict" in run.about else []),
        ),
        explanation=(
            f"Per study, d is the mean NLL of {post} minus that of {base} on the same responses, in units of the "
            "standard deviation of NLLs over responses (the root of the two models' mean variance). "
            f"A positive d: {post} predict{'' if several else 's'} people worse; by convention 0.2 is small, 0.5 "
            "medium and 0.8 large (Cohen, 1988).",
            NLL,
            f"{INTERVALS} Paired d is over people: the mean difference by the standard deviation of the differences.",
            joined,
            *([f"The scores of {', '.join(gone)} are not at hand: their coverage is not shown."] if gone else []),
        ),
        figures=(*figures, *folder_pictures([run], _OWN_of_jobs)),
        tables=(
            *tables,
            *coverage_tables(list(map(model_label, found)), list(found.values())),
            *folder_tables([run], _OWN_of_jobs),
        ),
        provenance=tuple(facts_of(run)),
        commands=tuple(dict.fromkeys([*(command(scored) for scored in found.values()), command(run)])),
    )


def _labelled(effect: Effect) -> Effect:
    """With short names of its models, where these still tell them apart."""
    base, post = model_label(effect.base), model_label(effect.group_name)
    return effect if effect.group != "pair" or base == post else replace(effect, base=base, group_name=post)


def level_table(title: str, effects: Sequence[Effect], level: str) -> ReportTable:
    """The effects of a level, those over all studies below, as ``effects.csv`` has them."""
    chosen = [effect for effect in effects if effect.level in ("overall", level)]
    columns = {"name": level, "d": "d", "d_paired": "paired d", "nll_base": "NLL base", "nll_post": "NLL post"}
    columns |= {"n_responses": "responses", "n_participants": "people"}
    if level == "domain":
        columns |= {"n_studies": "studies"}
    return table_of(title, effects_table(chosen), columns, n_summary=sum(e.level == "overall" for e in chosen))


def pair_table(effects: Sequence[Effect]) -> ReportTable:
    """Effects over all studies of every pair, the averages over pairs below."""
    overall = [effect for effect in effects if effect.level == "overall"]
    columns = {"group_name": "post-trained", "base": "base", "n_pairs": "pairs", "d": "d", "d_paired": "paired d"}
    columns |= {"nll_base": "NLL base", "nll_post": "NLL post", "n_responses": "responses"}
    n_averages = sum(effect.group != "pair" for effect in overall)
    return table_of("Pairs and their averages", effects_table(overall), columns, n_summary=n_averages)


ANALYSIS = Analysis("misalignment", DESCRIPTION, MisalignmentArguments, section)
