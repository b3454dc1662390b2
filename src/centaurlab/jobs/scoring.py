"""The scoring of a job's models: each once and only what is missing, folders of scores read, what fails named."""

import gc
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from accelerate import PartialState

from centaurlab.jobs.job import Round, Scored
from centaurlab.results.run import ScoreRun, is_score_folder, read_run
from centaurlab.runs.tracker import TrackingArguments
from centaurlab.runtime.errors import IncompleteError, UserError
from centaurlab.runtime.names import shown
from centaurlab.runtime.terminal import say
from centaurlab.scoring.arguments import ScoringArguments
from centaurlab.scoring.engine_vllm import find_engine
from centaurlab.scoring.kept import KeptScorer
from centaurlab.scoring.run import measure


def check_engine(rounds: Mapping[str, Round], scoring: ScoringArguments) -> None:
    """Raise ``UserError`` where an engine cannot score one of the models, before the first of them is scored."""
    if scoring.engine != "vllm":
        return
    for one in (one for one in rounds.values() if not one.tolerant):
        for name in (name for name in one.models if name not in _folders_of_scores(one)):
            find_engine(one.models[name], scoring, False, PartialState().num_processes)


def score_rounds(rounds: Mapping[str, Round], scoring: ScoringArguments, tracking: TrackingArguments) -> Scored:
    """Score every model in all its rounds, loading it once; one that fails is in no later round, and not in the result.

    Call it on every process of the launch. Raises ``UserError`` for whatever a user can mend, unless the round is
    tolerant; on several processes always, since the failure may be one process's alone, while the others wait.
    """
    found = {
        key: {name: read_run(folder) for name, folder in _folders_of_scores(one).items()} for key, one in rounds.items()
    }
    failures: dict[str, str] = {}
    for name in dict.fromkeys(name for one in rounds.values() for name in one.models):
        kept = KeptScorer()
        for key, one in rounds.items():
            if name not in one.models or name in found[key] or name in failures:
                continue
            try:
                found[key][name] = _score(one, name, scoring, tracking.part(one.condition), kept)
            except (UserError, torch.OutOfMemoryError) as error:
                if not one.tolerant or PartialState().num_processes > 1:
                    raise
                failures[name] = " ".join(str(error).split())
                say(f"left out {name}: {failures[name]}")
        del kept
        gc.collect()  # or this model and the next are in memory together
    runs = {key: {name: run for name, run in of.items() if name not in failures} for key, of in found.items()}
    for run in (run for of in runs.values() for run in of.values()):
        if run.n_failed:
            PartialState().print(
                shown(
                    f"note: {run.folder} lacks {run.n_failed} sessions that could not be scored (run.json names them): "
                    "these are in no comparison"
                )
            )
    return Scored(runs, failures)


def _score(one: Round, name: str, scoring: ScoringArguments, tracking: TrackingArguments, kept: KeptScorer) -> ScoreRun:
    model = one.models[name]
    folder = score_folder(one.folder, name)
    try:
        context = one.context_of(model) if one.context_of else None
        measure(model, one.data, scoring.into(folder), tracking, context, kept=kept)
        PartialState().print(shown(f"scored {name}: {folder}"))
    except IncompleteError:  # noted by the caller, as for a folder that lacks sessions
        pass
    return read_run(folder)


def _folders_of_scores(one: Round) -> dict[str, Path]:
    named = {name: Path(model.model_name_or_path) for name, model in one.models.items()}
    return {name: path for name, path in named.items() if is_score_folder(path)}


def score_folder(folder: Path, name: str) -> Path:
    """Where in ``folder`` the scores of the model ``name`` go."""
    return folder / (re.sub(r"[^\w.-]+", "_", name).strip("._") or "_")


def check_scored(*runs: Mapping[str, ScoreRun]) -> None:
    """Raise ``IncompleteError`` where a model that was named, and not a folder of its scores, lacks sessions.

    ``runs``: by the model's name, one mapping for each round.
    """
    lacking = [run for of in runs for name, run in of.items() if run.n_failed and run.folder != Path(name)]
    if lacking:
        named = ", ".join(f"{run.n_failed} of {run.model} ({run.folder / 'run.json'})" for run in lacking)
        raise IncompleteError(
            f"sessions could not be scored, and are in no comparison: {named}; the same command tries again"
        )
