"""Finished folders of scores into what ``--precision`` would have saved: the same people, in other orders.

Nothing is scored again. Every order is one run that could have been, and stops where that run would have stopped. A
larger data set of such people is drawn from them, with replacement: how many would it take, and would the interval
hold what is then the truth, the mean of those drawn from?
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from centaurlab.data.transcripts import SessionKey
from centaurlab.results.joined import join_scores
from centaurlab.results.run import ScoreRun, check_same
from centaurlab.runtime.errors import UserError
from centaurlab.stats.sequential import Sample, StudyEstimate, check_target, jackknife, nll_estimate, sample_until
from centaurlab.stats.sums import StudySums, leave_one_out, sum_study


@dataclass(frozen=True)
class Replay:
    """Runs that stopped at ``target``, in as many orders; ``value`` is what all of the people give."""

    target: float
    value: float
    samples: tuple[Sample, ...]

    @property
    def is_reached(self) -> float:
        """Share of the orders in which the target was reached."""
        return float(np.mean([sample.is_reached for sample in self.samples]))

    @property
    def scored(self) -> tuple[float, float, float]:
        """Share of the sessions that were scored: in the median order, and the middle 90 %."""
        shares = [sample.last.sessions / sample.of_sessions for sample in self.samples]
        low, median, high = np.quantile(shares, [0.05, 0.5, 0.95])
        return float(median), float(low), float(high)

    @property
    def holds(self) -> float:
        """Share of the orders whose interval holds ``value``."""
        looks = [sample.last for sample in self.samples]
        return float(np.mean([abs(look.value - self.value) <= look.half_width for look in looks]))


def replay(
    base: ScoreRun, post: ScoreRun | None, targets: Sequence[float], n_people: int | None, n_orders: int, seed: int
) -> list[Replay]:
    """What each target would have taken, for the NLL of ``base`` or, with ``post``, for d.

    ``n_people`` are drawn with replacement in every study; None: those that there are, once each. Raises ``UserError``
    for folders that cannot be compared, and for those that are samples themselves.
    """
    runs = [base] if post is None else [base, post]
    check_same(runs)
    for run in runs:
        if run.record.sample:
            raise UserError(f"{run.folder} is itself a sample; give its command again without --precision")
    joined = join_scores(base.folder, runs[-1].folder)
    studies = [sum_study(scores) for scores in joined if len(scores.participant_R)]
    whole = [_estimate(sums, post is not None) for sums in studies]
    value = float(np.mean([estimate.value for estimate in whole if np.isfinite(estimate.variance)]))
    return [
        Replay(
            target, value, tuple(_stop(studies, post is not None, target, n_people, seed + i) for i in range(n_orders))
        )
        for target in targets
    ]


def _stop(studies: Sequence[StudySums], is_d: bool, target: float, n_people: int | None, seed: int) -> Sample:
    check_target(target)
    rng = np.random.default_rng(seed)
    order_of = {
        sums.study: rng.integers(n, size=n_people) if n_people else rng.permutation(n)
        for sums in studies
        for n in [len(sums.participant_P)]
    }
    order = {name: [(SessionKey(name, "", str(i)),) for i in range(len(drawn))] for name, drawn in order_of.items()}

    def score(sessions: frozenset[SessionKey], _: str) -> list[StudyEstimate]:
        estimates = []
        for sums in studies:
            n = sum(person[0] in sessions for person in order[sums.study])
            estimates.append(_estimate(replace(sums, sums_PK=sums.sums_PK[order_of[sums.study][:n]]), is_d))
        return estimates

    return sample_until(target, "d" if is_d else "NLL", order, seed, score, lambda words, number, look: None)


def _estimate(sums: StudySums, is_d: bool) -> StudyEstimate:
    if is_d:
        return jackknife(sums.study, *leave_one_out(sums))
    return nll_estimate(sums.study, sums.sums_PK[:, 0], sums.sums_PK[:, 1], offset=sums.mean_second)


DESCRIPTION = """What --precision would have saved: finished scores replayed in other orders of the people.

examples:
  centaurlab precision --base runs/gemma --targets 0.2 0.1 0.05
  centaurlab precision --base runs/gemma --targets 0.2 0.1 --people 500
  centaurlab precision --base runs/gemma --post runs/other --targets 0.2 0.1

Of the NLL of one folder of scores or, with --post, of d of two. For each target: in how many orders it was reached,
how many of the sessions that took, and in how many orders the interval holds what all of the people give. With
--people so many are drawn, with replacement, in every study: what a larger data set of such people would take. Nothing
is scored, and nothing is written.
"""


@dataclass
class PrecisionArguments:
    """Which scores, and what would have been asked of them."""

    base: str = field(metadata={"help": "folder of scores of everybody"})
    targets: list[float] = field(metadata={"help": "half-widths of the interval, as --precision would have them"})
    post: str | None = field(default=None, metadata={"help": "the same of a second model: replay d and not the NLL"})
    people: int | None = field(default=None, metadata={"help": "drawn in every study (default: those that there are)"})
    orders: int = field(default=200, metadata={"help": "random orders of the people"})
    seed: int = field(default=0, metadata={"help": "seed of the first order"})

    def __post_init__(self) -> None:
        if self.orders < 1 or self.seed < 0 or (self.people is not None and self.people < 1):
            raise UserError("--orders and --people must be at least 1, and --seed at least 0")
