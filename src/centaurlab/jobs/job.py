"""The frame of a job: parse, score what is missing, lock, track, compute, write, print, exit code.

A job is an analysis and a plan: which models are scored on what, and what is computed of their scores. Everything else
is said here, once: so every command that loads a model takes all loading options, every one that reads data all data
options, every one that estimates all estimating options.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic

from centaurlab.analyses.analysis import Analysis, Finding, Options
from centaurlab.data.source import DataArguments
from centaurlab.display.figures.style import save_figure
from centaurlab.display.terminal import show
from centaurlab.jobs.command import Command
from centaurlab.models.arguments import LoadArguments, ModelArguments
from centaurlab.results.run import ScoreRun, is_score_folder, scored_data, scored_models
from centaurlab.runs.addresses import say_where
from centaurlab.runs.folder import WRITTEN, RunFolder, check_job
from centaurlab.runs.provenance import provenance
from centaurlab.runs.tracker import Tracker, TrackingArguments
from centaurlab.runtime.errors import IncompleteError, UserError
from centaurlab.runtime.processes import keep_freed_memory
from centaurlab.runtime.terminal import say
from centaurlab.scoring.arguments import ScoringArguments
from centaurlab.stats.arguments import EstimateArguments
from centaurlab.stats.estimate import CONFIDENCE

if TYPE_CHECKING:
    from centaurlab.prompts.context import Context


@dataclass(frozen=True)
class Asked(Generic[Options]):
    """What a user asked of a job: its own options, and those that it shares with others."""

    own: Options
    load: LoadArguments
    data: DataArguments
    scoring: ScoringArguments
    estimates: EstimateArguments
    folder: Path


@dataclass(frozen=True)
class Round:
    """Models that are scored on the same sessions in the same context; folders of scores are read.

    Each model is scored into a folder of ``folder`` that is named after it. ``tolerant``: a model that cannot be scored
    is left out and named at the end. ``condition`` tells the round's runs apart in the trackers.
    """

    models: Mapping[str, ModelArguments]
    data: DataArguments
    folder: Path
    context_of: "Callable[[ModelArguments], Context] | None" = None
    tolerant: bool = False
    condition: str | None = None


@dataclass(frozen=True)
class Scored:
    """The score runs of every round by the model's name.

    ``failures``: why models that are left out have none; ``incomplete``: what else is missing, a sentence each.
    """

    rounds: Mapping[str, Mapping[str, ScoreRun]]
    failures: Mapping[str, str] = field(default_factory=dict)
    incomplete: Sequence[str] = ()

    @property
    def runs(self) -> Mapping[str, ScoreRun]:
        """Those of the first round."""
        return next(iter(self.rounds.values()))

    @property
    def missing(self) -> str:
        """The models that are left out, in words."""
        return "; ".join(f"{name}: {reason}" for name, reason in self.failures.items())


@dataclass(frozen=True)
class Plan:
    """What a job scores, round by round, and what it then computes on the main process.

    ``joins`` names a run whose group in the trackers the job joins; ``score``, where given, scores in another way than
    round by round.
    """

    rounds: Mapping[str, Round]
    compute: Callable[[Scored], Finding]
    joins: str | None = None
    score: Callable[[TrackingArguments], Scored] | None = None


Planner = Callable[[Asked[Options]], Plan]


def job(analysis: Analysis[Options], plan: Planner[Options] | None = None) -> Command:
    """The command of an analysis; without a ``plan``, each model it names is scored once on the same sessions."""

    def run(
        own: Options,
        load: LoadArguments,
        data: DataArguments,
        scoring: ScoringArguments,
        estimates: EstimateArguments,
        tracking: TrackingArguments,
    ) -> None:
        asked = Asked(own, load, data, scoring, estimates, Path(own.output_dir))  # type: ignore[attr-defined]
        check_job(asked.folder, analysis.name)
        if analysis.all_logits and scoring.engine != "centaurlab":
            raise UserError(
                f"--engine {scoring.engine} does not say NLLs at other temperatures, which {analysis.name} rests on; "
                "leave it out"
            )
        planned = plan(asked) if plan else _plan_of(analysis, asked)
        _run(analysis.name, asked, planned, tracking)

    groups = (LoadArguments, DataArguments, ScoringArguments, EstimateArguments, TrackingArguments)
    return Command(analysis.description, (analysis.arguments, *groups), run)


def one_round(asked: Asked[Any], names: Sequence[str], tolerant: bool = False) -> Round:
    """Every model scored once, all alike, into ``scores`` of the job's folder."""
    models = {name: asked.load.of(name) for name in names}
    return Round(models, asked.data, asked.folder / "scores", tolerant=tolerant)


def everywhere(context: "Context") -> "Callable[[ModelArguments], Context]":
    """The same context for every model."""
    return lambda _: context


def _plan_of(analysis: Analysis[Options], asked: Asked[Options]) -> Plan:
    models, compute = analysis.models, analysis.compute
    assert models, "an analysis without models has a plan"
    assert compute, "an analysis without compute has a plan"
    rounds = {"": one_round(asked, models(asked.own))}
    return Plan(rounds, lambda scored: compute(asked.own, asked.estimates, scored.runs))


def _run(name: str, asked: Asked[Any], plan: Plan, tracking: TrackingArguments) -> None:
    # Here and not above: both import torch, and --help answers without it.
    from accelerate import PartialState

    from centaurlab.jobs.scoring import check_engine, check_scored, score_rounds

    keep_freed_memory()
    config = _config(asked, plan)
    check_engine(plan.rounds, asked.scoring)
    folder = RunFolder(asked.folder, name)
    tracking = tracking.grouped(str(asked.folder), plan.joins)
    scored = plan.score(tracking) if plan.score else score_rounds(plan.rounds, asked.scoring, tracking)
    if not PartialState().is_main_process:
        return
    with folder.lock():
        folder.write_json("config.json", config)
        (folder.path / "metrics.jsonl").unlink(missing_ok=True)  # those of an earlier call, computed anew
        with Tracker(folder, tracking, config):
            finding = plan.compute(scored)
            write_finding(folder, finding, asked.estimates, scored)
    show(*finding.shown)
    main_table = folder.path / next(iter(finding.tables))
    say(f"{main_table.stem}: {main_table}")
    say_where(folder.path, tracking)
    if scored.failures:
        raise UserError(
            f"{len(scored.failures)} of the models could not be scored and are left out, as the same command will try "
            f"again; {scored.missing}"
        )
    check_scored(*scored.rounds.values())
    if scored.incomplete:
        raise IncompleteError("; ".join(scored.incomplete))


def write_finding(folder: RunFolder, finding: Finding, estimates: EstimateArguments, scored: Scored) -> None:
    """Write tables, figures (PDF and PNG), metrics and, last, ``run.json``: where it is, all of it is."""
    written = write_files(folder, finding)
    for step, metrics in finding.metrics:
        folder.log(metrics, step)
    runs = {model: run for of_round in scored.rounds.values() for model, run in of_round.items()}
    about = {
        "job": folder.job,
        "bootstrap": asdict(estimates) | {"confidence": CONFIDENCE},
        "data": scored_data(runs.values()),
        "models": scored_models(runs),
        WRITTEN: written,
    }
    folder.finish(provenance() | about | dict(finding.record))


def write_files(folder: RunFolder, finding: Finding) -> list[str]:
    """Write tables and figures (PDF and PNG), and remove those of an earlier call that this one does not write.

    Returns their names, which go into ``run.json`` as ``WRITTEN``.
    """
    for name, table in finding.tables.items():
        folder.write_table(name, table)
    paths = [p for name, figure in finding.figures.items() for p in save_figure(figure, folder.path / "figures", name)]
    written = [*finding.tables, *(path.relative_to(folder.path).as_posix() for path in paths)]
    folder.remove_earlier(written)
    return written


def _config(asked: Asked[Any], plan: Plan) -> dict[str, Any]:
    """What the job was asked, for ``config.json``.

    Where all models are folders of scores, how models would be scored is left out; ``UserError`` where it was given.
    """
    groups = (asked.load, asked.data, asked.scoring)
    everything = (*groups, asked.estimates, asked.own)
    config = {option.name: getattr(one, option.name) for one in everything for option in fields(one) if option.init}
    models = [model.model_name_or_path for one in plan.rounds.values() for model in one.models.values()]
    if not models or not all(is_score_folder(Path(model)) for model in models):
        return config
    own = {option.name for option in fields(asked.own)}
    for one in (option for group in groups for option in fields(group) if option.init and option.name not in own):
        if config.pop(one.name) != one.default:
            raise UserError(
                f"--{one.name} is for models that are scored first, and these are folders of scores; leave it away, or "
                "name the models"
            )
    return config
