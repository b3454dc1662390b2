"""How predictable people are where everybody meets the same items: the NLL that no context-free model can go below.

The truth is the entropy of the answers to an item, H. From below it is bounded by its estimate from the counts
(plug-in with Miller & Madow's correction, which still tends to be too small), from above by what predicting each
person from the others at the item achieves. Both meet as people per item grow. A model that sees who a person is, by
earlier answers, may go below either.

Shapes: R responses.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np

from centaurlab.catalog.studies import Trial
from centaurlab.cognitive.marginals import RoleMarginal, best_weight, prior_of
from centaurlab.cognitive.person_ceiling import grades, person_item_nll
from centaurlab.cognitive.session import Cell, Session, cell_of, is_predictable, symbol_of
from centaurlab.data.transcripts import SessionKey
from centaurlab.stats.bootstrap import quantile
from centaurlab.stats.estimate import UNKNOWN, Estimate, FloatArray

FEW_PEOPLE = 10
"""Of fewer people at the typical item it is said that they are few."""
_WIDE = 0.1  # of the NLL of chance

Item = tuple[Cell, str | None]


@dataclass(frozen=True, eq=False)
class Ceiling:
    """The bracket of one study, in nats per response, over the ``responses`` (by session and number) at its items.

    ``chance``: of a guess among the options. ``bound`` and ``achieved`` are the two ends, with 95 % intervals over
    people; ``bound_R`` and ``achieved_R`` are what each response contributes to them; ``chao_shen`` is another estimate
    of the entropy; ``person`` is achieved by who knows the person's other answers too, where answers are steps of one
    scale. ``n_items`` have at least two people; ``people_per_item`` is their median; ``n_other`` responses are
    at no such item.
    """

    study: str
    chance: float
    bound: Estimate
    achieved: Estimate
    chao_shen: float
    n_items: int
    people_per_item: float
    n_people: int
    responses: tuple[tuple[SessionKey, int], ...]
    n_other: int
    bound_R: FloatArray
    achieved_R: FloatArray
    person: Estimate = UNKNOWN

    @property
    def is_wide(self) -> bool:
        """Whether there are too few people per item to say how predictable people are."""
        width = self.achieved.value - self.bound.value
        return self.people_per_item < FEW_PEOPLE or width > _WIDE * self.chance

    def within(self, sessions: Collection[SessionKey]) -> "Ceiling":
        """The same with what is kept of each response for these sessions alone; the bracket stays everybody's."""
        kept = [r for r, (key, _) in enumerate(self.responses) if key in sessions]
        responses = tuple(self.responses[r] for r in kept)
        return replace(self, responses=responses, bound_R=self.bound_R[kept], achieved_R=self.achieved_R[kept])

    def completeness(self, nll: float) -> tuple[float, float]:
        """(chance − NLL) / (chance − end) at the bound and at what is achieved (Fudenberg et al. 2022).

        NaN where an end is no better than chance: then there is nothing to be complete about.
        """
        low, high = (
            (self.chance - nll) / gain if (gain := self.chance - end.value) > 0 else math.nan
            for end in (self.bound, self.achieved)
        )
        return low, high


def ceiling(study: str, sessions: Sequence[Session]) -> Ceiling | None:
    """The bracket of a study; None where no item with options is answered by two people.

    References
    ----------
    Miller 1955 (the correction); Chao & Shen 2003, doi:10.1023/A:1026096204727; Fudenberg, Kleinberg, Liang &
    Mullainathan 2022, doi:10.1086/718371 (completeness).
    """
    answered = [
        (session, number, trial, (cell_of(trial), trial.item))
        for session in sessions
        for number, trial in enumerate(session.trials)
        if trial.options is not None and len(trial.options) > 1 and is_predictable(trial)
    ]
    people: dict[Item, set[object]] = defaultdict(set)
    for session, _, trial, item in answered:
        if trial.item is not None:
            people[item].add(session.person)
    kept = [one for one in answered if one[2].item is not None and len(people[one[3]]) > 1]
    if not kept:
        return None
    person_R = [session.person for session, *_ in kept]
    items = {item for *_, item in kept}
    answers = [(item, symbol_of(trial)) for _, _, trial, item in kept]
    bound_R = _entropy_R(answers)
    achieved_R = _left_out_R(sessions, [(s.person, trial, item) for s, _, trial, item in kept])
    return Ceiling(
        study=study,
        chance=float(np.mean([math.log(len(trial.options or ())) for _, _, trial, _ in kept])),
        bound=_clustered(bound_R, person_R),
        achieved=_clustered(achieved_R, person_R),
        chao_shen=_chao_shen(answers),
        n_items=len(items),
        people_per_item=float(np.median([len(people[item]) for item in items])),
        n_people=len(set(person_R)),
        responses=tuple((session.key, number) for session, number, *_ in kept),
        n_other=len(answered) - len(kept),
        bound_R=bound_R,
        achieved_R=achieved_R,
        person=_person(study, kept),
    )


def _person(study: str, kept: Sequence[tuple[Session, int, Trial, Item]]) -> Estimate:
    grade_R = grades(study, [trial for _, _, trial, _ in kept])
    person_R = [session.person for session, *_ in kept]
    if grade_R is None or grade_R.max() < 1 or len(set(person_R)) < 2:
        return UNKNOWN
    return _clustered(person_item_nll(person_R, [item for *_, item in kept], grade_R), person_R)


def _entropy_R(answers: Sequence[tuple[Item, str]]) -> FloatArray:
    """(R,) −log of the answer's share at its item, plus Miller & Madow's (answers seen − 1) / 2n: the mean is H."""
    counts = _counts(answers)
    return np.array(
        [
            -math.log(counts[item][symbol] / counts[item].total())
            + (len(counts[item]) - 1) / (2 * counts[item].total())
            for item, symbol in answers
        ]
    )


def _chao_shen(answers: Sequence[tuple[Item, str]]) -> float:
    total = 0.0
    for found in _counts(answers).values():
        n = found.total()
        once = min(sum(count == 1 for count in found.values()), n - 1)
        share = (1 - once / n) * np.array(list(found.values())) / n
        total += n * float(-np.sum(share * np.log(share) / (1 - (1 - share) ** n)))
    return total / len(answers)


def _left_out_R(sessions: Sequence[Session], answers: Sequence[tuple[object, Trial, Item]]) -> FloatArray:
    """(R,) NLL of each answer by the other people's at its item, drawn towards the role marginal."""
    roles = RoleMarginal(sessions)
    counts = _counts([(item, symbol_of(trial)) for _, trial, item in answers])
    own: dict[tuple[object, Item], Counter[str]] = defaultdict(Counter)
    for person, trial, item in answers:
        own[person, item][symbol_of(trial)] += 1
    seen = [(person, item, symbol_of(trial), prior_of(roles, trial)) for person, trial, item in answers]
    m = best_weight(counts, own, seen)
    p_R = [
        (counts[item][symbol] - own[person, item][symbol] + m * prior)
        / (counts[item].total() - own[person, item].total() + m)
        for person, item, symbol, prior in seen
    ]
    nll_R: FloatArray = -np.log(np.array(p_R))
    return nll_R


def _counts(answers: Sequence[tuple[Item, str]]) -> dict[Item, Counter[str]]:
    counts: dict[Item, Counter[str]] = defaultdict(Counter)
    for item, symbol in answers:
        counts[item][symbol] += 1
    return counts


def _clustered(value_R: FloatArray, person_R: Sequence[object]) -> Estimate:
    """The mean with a 95 % interval over people, by their sums of deviations (Liang & Zeger 1986), at least 0."""
    mean = float(value_R.mean())
    number = {person: i for i, person in enumerate(dict.fromkeys(person_R))}
    if len(number) < 2:
        return Estimate(mean)
    sums = np.bincount([number[person] for person in person_R], weights=value_R - mean)
    error = math.sqrt(float((sums**2).sum()) * len(number) / (len(number) - 1)) / len(value_R)
    reach = quantile(len(number) - 1) * error
    return Estimate(mean, max(mean - reach, 0.0), mean + reach)
