"""The frame of a job: models that are named are scored, folders of scores are read, what lacks is said."""

import gc
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState

from centaurlab.data.source import DataArguments
from centaurlab.models.arguments import LoadArguments, ModelArguments
from centaurlab.prompts.context import Context
from centaurlab.results.run import ScoreRun, is_score_folder, read_run
from centaurlab.runs.tracker import TrackingArguments
from centaurlab.runtime.errors import IncompleteError, UserError
from centaurlab.scoring.arguments import ScoreArguments
from centaurlab.scoring.run import measure

_OF_SCORING = ("dtype", "protocol", "max_length")
"""Options of the scripts themselves that say how models are scored."""


def asked_of(names: Iterable[str], arguments: Any, *of_scoring: LoadArguments | DataArguments) -> dict[str, Any]:
    """What a comparison of ``names`` was asked, for ``config.json``.

    Where all are folders of scores, how models would be scored is left out; ``UserError`` where it was given.
    """
    asked = {name: value for one in (arguments, *of_scoring) for name, value in asdict(one).items()}
    if not all(is_score_folder(Path(name)) for name in names):
        return asked
    unused = [one for one in fields(arguments) if one.name in _OF_SCORING]
    unused += [one for settings in of_scoring for one in fields(settings)]
    for one in unused:
        if asked.pop(one.name) != one.default:
            raise UserError(
                f"--{one.name} is for models that are scored first, and these are folders of scores; leave it away, or "
                "name the models"
            )
    return asked


def score_models(
    names: Iterable[str],
    model_arguments: ModelArguments,
    data_arguments: DataArguments,
    arguments: ScoreArguments,
    tolerant: bool = False,
    tracking: TrackingArguments | None = None,
    context_of: Callable[[ModelArguments], Context] | None = None,
) -> tuple[dict[str, ScoreRun], dict[str, str]]:
    """The scores of each name, a folder of scores or a model; and, if ``tolerant``, what stood in the way of others.

    Models are scored in turn, each into a folder of its own in ``arguments.output_dir``, and in the context that
    ``context_of`` gives it. On several processes the first failure is raised whether ``tolerant`` or not: it may be
    one process's alone, while the others wait.
    """
    names = tuple(dict.fromkeys(names))
    runs = {name: read_run(Path(name)) for name in names if is_score_folder(Path(name))}
    failures: dict[str, str] = {}
    for name in [name for name in names if name not in runs]:
        folder = _score_folder(arguments, name)
        try:
            model = replace(model_arguments, model_name_or_path=name)
            context = context_of(model) if context_of else None
            scores = measure(model, data_arguments, replace(arguments, output_dir=str(folder)), tracking, context)
            runs[name] = read_run(scores)
            PartialState().print(f"scored {name}: {folder}")
        except IncompleteError:  # noted below, as for a folder that lacks sessions
            runs[name] = read_run(_score_folder(arguments, name))
        except (UserError, torch.OutOfMemoryError) as error:
            if not tolerant or PartialState().num_processes > 1:
                raise
            failures[name] = " ".join(str(error).split())
            print(f"left out {name}: {failures[name]}")
        gc.collect()  # or this model and the next are in memory together
    for run in runs.values():
        if run.n_failed:
            PartialState().print(
                f"note: {run.folder} lacks {run.n_failed} sessions that could not be scored (run.json names them): "
                "these are in no comparison"
            )
    return runs, failures


def scores_so_far(names: Iterable[str], arguments: ScoreArguments) -> dict[str, ScoreRun]:
    """The scores that these models have by now in folders of ``arguments.output_dir``."""
    return {name: read_run(_score_folder(arguments, name)) for name in names}


def check_scored(*runs: Mapping[str, ScoreRun]) -> None:
    """Raise ``IncompleteError`` where a model that was named, and not a folder of its scores, lacks sessions.

    ``runs``: by the model's name, one mapping for each context in which models were scored.
    """
    lacking = [run for of in runs for name, run in of.items() if run.n_failed and run.folder != Path(name)]
    if lacking:
        named = ", ".join(f"{run.n_failed} of {run.model} ({run.folder / 'run.json'})" for run in lacking)
        raise IncompleteError(
            f"sessions could not be scored, and are in no comparison: {named}; the same command tries again"
        )


def _score_folder(arguments: ScoreArguments, name: str) -> Path:
    """Where the scores of the model ``name`` go."""
    return Path(arguments.output_dir) / (re.sub(r"[^\w.-]+", "_", name).strip("._") or "_")
