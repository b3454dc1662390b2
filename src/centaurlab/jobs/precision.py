"""Two models scored in turn on the same people in random order, until d is known as well as asked."""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import numpy.typing as npt
from accelerate import PartialState

from centaurlab.data.source import DataArguments
from centaurlab.data.transcripts import SessionKey
from centaurlab.jobs.scoring import score_folder
from centaurlab.models.arguments import ModelArguments
from centaurlab.results.joined import StudyScores
from centaurlab.results.run import ScoreRun, read_run
from centaurlab.runs.tracker import TrackingArguments
from centaurlab.scoring.arguments import ScoringArguments
from centaurlab.scoring.failures import check_complete
from centaurlab.scoring.run import Measurement, ScoreResults, measuring
from centaurlab.stats.sequential import StudyEstimate, jackknife, sample_until
from centaurlab.stats.sums import leave_one_out, sum_study


def score_until_precise(
    models: Mapping[str, ModelArguments],
    data: DataArguments,
    scoring: ScoringArguments,
    folder: Path,
    target: float,
    tracking: TrackingArguments,
) -> None:
    """Score two models, base and post-trained, until the mean d over studies is known to ± ``target``.

    The models take turns, one in memory at a time, and score the same people in every round. Raises
    ``IncompleteError`` where sessions could not be scored.
    """

    def run(name: str) -> AbstractContextManager[Measurement]:
        return measuring(models[name], data, scoring.into(score_folder(folder, name)), tracking)

    base, post = models
    with run(base) as first, run(post) as second:

        def score(sessions: frozenset[SessionKey], title: str) -> list[StudyEstimate]:
            for measurement, model in ((first, "base"), (second, "post")):
                measurement.score(sessions, f"{title}, {model}")
                measurement.release()
            return first.from_main(lambda: d_estimates(first.results(), second.results(), first.person_of))

        first.sample = second.sample = sample_until(target, "d", first.order, first.seed, score, first.report)
    for ended in (first, second):
        check_complete(ended.folder.path, ended.failures)


def scores_so_far(names: Iterable[str], folder: Path) -> dict[str, ScoreRun]:
    """The scores that these models have by now in ``folder``; on the main process alone."""
    if not PartialState().is_main_process:
        return {}
    return {name: read_run(score_folder(folder, name)) for name in names}


def d_estimates(
    base: ScoreResults, post: ScoreResults, person_of: Callable[[SessionKey], Hashable]
) -> list[StudyEstimate]:
    """Each study's d over the responses that both models scored; ``person_of`` says whose session it is."""
    of_post = dict(post)
    numbers: dict[Hashable, int] = {}
    found: dict[str, list[tuple[int, npt.NDArray[np.float32], npt.NDArray[np.float32]]]] = defaultdict(list)
    for key, scores in base:
        if key not in of_post:
            continue
        other = of_post[key]
        _, in_base, in_post = np.intersect1d(scores.response_R, other.response_R, True, return_indices=True)
        if len(in_base):
            number = numbers.setdefault(person_of(key), len(numbers))
            found[key.study].append((number, scores.nll_R[in_base], other.nll_R[in_post]))
    estimates = []
    for study, sessions in sorted(found.items()):
        person_S, base_S, post_S = zip(*sessions, strict=True)
        person_R = np.repeat(person_S, list(map(len, base_S)))
        sums = sum_study(StudyScores(study, person_R, np.concatenate(base_S), np.concatenate(post_S)))
        estimates.append(jackknife(study, *leave_one_out(sums)))
    return estimates
