"""Pairs of models into one table of effects: every model scored once, what fails left out and named."""

import gc
import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from accelerate import PartialState

from centaurlab.bootstrap import CONFIDENCE
from centaurlab.catalog import ModelPair
from centaurlab.comparison import (
    ScoreRun,
    StudyScores,
    check_same,
    is_score_folder,
    read_run,
    scored_data,
    scored_models,
)
from centaurlab.effect_table import verdict, write_effects
from centaurlab.effects import Effect, compare, estimate_effects, leave_one_out, sum_study
from centaurlab.errors import IncompleteError, UserError
from centaurlab.failures import check_complete
from centaurlab.measure import ScoreArguments, measure, measuring
from centaurlab.measurement import Measurement, ScoreResults
from centaurlab.models import ModelArguments
from centaurlab.precision import StudyEstimate, check_target, jackknife, sample_note, sample_until
from centaurlab.prompts import Context
from centaurlab.runs import RunFolder, provenance
from centaurlab.sources import DataArguments
from centaurlab.tracking import TrackingArguments
from centaurlab.transcripts import SessionKey


@dataclass
class LoadArguments(ModelArguments):
    """How models that are scored first are loaded, all in the same way."""

    model_name_or_path: str = field(default="", init=False)
    model_revision: str | None = field(default=None, init=False)
    adapter_name_or_path: str | None = field(default=None, init=False)


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


def score_until_precise(
    pair: ModelPair,
    model_arguments: ModelArguments,
    data_arguments: DataArguments,
    arguments: ScoreArguments,
    target: float,
    tracking: TrackingArguments | None = None,
) -> dict[str, ScoreRun]:
    """Both models' scores on as many people as it takes to know the mean d over studies to ± ``target``.

    The models take turns, one in memory at a time, and score the same people in every round. Raises ``UserError``
    where one of them is a folder of scores, or both are the same.
    """
    check_target(target)
    names = (pair.base, pair.post_trained)
    for name in names:
        if is_score_folder(Path(name)):
            raise UserError(
                f"--precision scores both models on the same people, and {name} is a folder of scores; name its model, "
                "or leave --precision away"
            )
    if pair.base == pair.post_trained:
        raise UserError(f"--precision needs two models; --base and --post are both {pair.base}")

    def run(name: str) -> AbstractContextManager[Measurement]:
        model = replace(model_arguments, model_name_or_path=name)
        its = replace(arguments, output_dir=str(_score_folder(arguments, name)))
        return measuring(model, data_arguments, its, tracking)

    with run(pair.base) as first, run(pair.post_trained) as second:

        def score(sessions: frozenset[SessionKey], title: str) -> list[StudyEstimate]:
            for measurement, model in ((first, "base"), (second, "post")):
                measurement.score(sessions, f"{title}, {model}")
                measurement.release()
            return first.from_main(lambda: d_estimates(first.results(), second.results()))

        first.sample = second.sample = sample_until(target, "d", first.order, first.seed, score, first.report)
    for ended in (first, second):
        check_complete(ended.folder.path, ended.failures)
    return scores_so_far(names, arguments)


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


def d_estimates(base: ScoreResults, post: ScoreResults) -> list[StudyEstimate]:
    """Each study's d over the responses that both models scored."""
    of_post = dict(post)
    found: dict[str, list[tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]]] = defaultdict(list)
    for key, scores in base:
        if key not in of_post:
            continue
        other = of_post[key]
        _, in_base, in_post = np.intersect1d(scores.response_R, other.response_R, True, return_indices=True)
        if len(in_base):
            found[key.study].append((scores.nll_R[in_base], other.nll_R[in_post]))
    estimates = []
    for study, people in sorted(found.items()):
        participant_R = np.repeat(np.arange(len(people)), [len(nll_base_R) for nll_base_R, _ in people])
        nll_base_R, nll_post_R = (np.concatenate(columns) for columns in zip(*people, strict=True))
        sums = sum_study(StudyScores(study, participant_R, nll_base_R, nll_post_R))
        estimates.append(jackknife(study, *leave_one_out(sums)))
    return estimates


def compare_pairs(
    folder: RunFolder, pairs: Sequence[ModelPair], runs: Mapping[str, ScoreRun], n_resamples: int, seed: int
) -> list[Effect]:
    """Effects of pairs of scored models, which are also written into ``folder`` with where they come from.

    Raises ``UserError`` unless all models were scored on the same sessions by the same protocol.
    """
    used = {name: runs[name] for pair in pairs for name in (pair.base, pair.post_trained)}
    check_same(used.values())
    compared = [compare(runs[p.base], runs[p.post_trained], p.post_training, p.family) for p in pairs]
    effects = estimate_effects(compared, n_resamples, seed)
    write_effects(folder.path, effects)
    folder.write_json(
        "run.json",
        provenance()
        | {
            "job": folder.job,
            "overall": asdict(effects[0]) | {"verdict": verdict(effects[0])},
            "bootstrap": {"resamples": n_resamples, "seed": seed, "confidence": CONFIDENCE},
            "data": scored_data(used.values()),
            "models": scored_models(used),
            "pairs": [asdict(pair) for pair in pairs],
            "sample": _common_sample(used.values()),
            "notes": sample_notes(used.values()),
        },
    )
    of_first_group = {f"d/{e.level}/{e.name}": e.d.value for e in effects if e.group == effects[0].group}
    of_others = [e for e in effects if e.level == "overall" and e.group != effects[0].group]
    overall = effects[0].d
    folder.log(
        {"effect/d": overall.value, "effect/d_low": overall.low, "effect/d_high": overall.high}
        | of_first_group
        | {f"d/{e.group}/{e.group_name}": e.d.value for e in of_others}
    )
    return effects


def _score_folder(arguments: ScoreArguments, name: str) -> Path:
    """Where the scores of the model ``name`` go."""
    return Path(arguments.output_dir) / (re.sub(r"[^\w.-]+", "_", name).strip("._") or "_")


def sample_notes(runs: Collection[ScoreRun]) -> list[str]:
    """In sentences, which runs did not score every session, and what is known by the sample that all share."""
    if common := sample_note({"sample": _common_sample(runs)}):
        return [f"a sample, the same of all models: {common}"]
    samples = {run.model: run.about["sample"] for run in runs if run.about.get("sample")}
    return [
        f"{model} was scored on a sample, {sample['sessions']:,} of {sample['of_sessions']:,} sessions, until its "
        f"{sample['quantity']} was known; effects are over what is common to all, and their intervals take its size as "
        "given"
        for model, sample in samples.items()
    ]


def _common_sample(runs: Collection[ScoreRun]) -> dict[str, Any] | None:
    """What is known by the one sample that all runs scored; None where they scored all, or different ones."""
    first, *others = [run.about.get("sample") for run in runs]
    return first if all(other == first for other in others) else None
