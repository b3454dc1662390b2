"""Pairs into scores, all sessions at once or, with a precision, as many people as it takes."""

from collections import defaultdict
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from centaurlab.catalog.pairs import ModelPair, named_pairs, single_pair
from centaurlab.data.source import DataArguments
from centaurlab.data.transcripts import SessionKey
from centaurlab.jobs.job import _score_folder, scores_so_far
from centaurlab.models.arguments import ModelArguments
from centaurlab.results.joined import StudyScores
from centaurlab.results.run import ScoreRun, is_score_folder
from centaurlab.runs.tracker import TrackingArguments
from centaurlab.runtime.errors import UserError
from centaurlab.scoring.arguments import ScoreArguments
from centaurlab.scoring.failures import check_complete
from centaurlab.scoring.run import Measurement, ScoreResults, measuring
from centaurlab.stats.effects import leave_one_out, sum_study
from centaurlab.stats.sequential import StudyEstimate, check_target, jackknife, sample_until


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
    resamples: int = field(default=2000, metadata={"help": "bootstrap resamples of studies and participants"})
    seed: int = field(default=0, metadata={"help": "seed of the bootstrap"})
    protocol: Literal["full", "paper"] = field(default="full", metadata={"help": "for models that are scored first"})
    max_length: int | None = field(default=None, metadata={"help": "for models that are scored first, in tokens"})
    precision: float | None = field(
        default=None,
        metadata={"help": "score people until the mean d over the studies is known to ± so much (95 %% interval)"},
    )

    def asked_pairs(self) -> tuple[ModelPair, ...]:
        """The pairs to compare; ``UserError`` where the arguments name none, or make no sense."""
        if self.resamples < 1 or self.seed < 0:
            raise UserError("--resamples must be at least 1, and --seed at least 0")
        if self.pairs and self.precision is not None:
            raise UserError("--precision is for one pair of models; give --base and --post instead of --pairs")
        if self.pairs and not (self.base or self.post):
            return named_pairs(self.pairs)
        if self.base and self.post and not self.pairs:
            return (single_pair(self.base, self.post),)
        raise UserError("give both --base and --post, or --pairs instead")
