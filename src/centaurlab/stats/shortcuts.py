"""Responses told as they were and in another condition into what the condition costs, and what it explains.

With N the mean NLL in nats of the same responses, and chance the mean of log(number of options) where that is known,

    cost = N(condition) − N(as told),        share = (chance − N(condition)) / (chance − N(as told)).

A share of 1: what the condition leaves is all that the model makes use of; of 0: it leaves nothing. It is given where a
model predicts people better than chance, by its 95 % interval over people; else there is nothing to explain. Of all
studies it is the ratio of the two means. Its error is that of chance − N(condition) − share · (chance − N(as told)), by
the same draws, over the denominator (delta method; Cochran 1977, Sampling Techniques, section 6.3).

Shapes: R responses, P participants, M models and then pairs of models, K sums, B resamples.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from centaurlab.stats import bootstrap
from centaurlab.stats.bootstrap import Draws, Spread
from centaurlab.stats.estimate import NAN, UNKNOWN, Estimate, FloatArray, IntArray
from centaurlab.stats.multiplicity import q_values

ALL_STUDIES = "all studies"
_COST, _ABOVE, _BELOW = range(3)


@dataclass(frozen=True)
class ToldTwice:
    """A study's R responses as told and in a condition, by M models, in nats; ``chance_R`` is NaN without options."""

    person_R: IntArray
    chance_R: FloatArray
    as_told_MR: FloatArray
    condition_MR: FloatArray


@dataclass(frozen=True)
class Cost:
    """What a condition costs a model in one study or over all, in nats per response, and the share that it explains.

    ``more``: by how much more it costs this model than the first one, on the same responses. ``beyond``: what it
    predicts as told beyond chance, with the interval over people by which there is a share. ``q``: of a study's cost
    among all studies. ``*_these``: with the interval over new people in these studies.
    """

    study: str
    as_told: float
    condition: float
    cost: Estimate
    cost_these: Estimate
    share: Estimate
    share_these: Estimate
    more: Estimate
    more_these: Estimate
    beyond: Estimate
    q: float
    n_responses: int
    n_participants: int


def costs(studies: Mapping[str, ToldTwice], n_resamples: int = 2000, seed: int = 0) -> list[list[Cost]]:
    """For each model, the cost over all studies (each counts the same), then in each of them."""
    n_models = len(next(iter(studies.values())).as_told_MR)
    known = {name: _study(of) for name, of in studies.items()}
    found = bootstrap.estimate(known, n_resamples, partial(_generator, seed))
    draws = {ALL_STUDIES: (found.overall, list(found.studies.values()))}
    draws |= {name: (one, [one]) for name, one in found.studies.items()}
    means = {name: (of.as_told_MR.mean(axis=1), of.condition_MR.mean(axis=1)) for name, of in studies.items()}
    told, new = (np.mean(side, axis=0) for side in zip(*means.values(), strict=True))
    means[ALL_STUDIES] = (told, new)
    counts = {name: (len(of.person_R), len(np.unique(of.person_R))) for name, of in studies.items()}
    counts[ALL_STUDIES] = (sum(n for n, _ in counts.values()), sum(people for _, people in counts.values()))
    by_model = []
    for m in range(n_models):
        tested = dict(zip(studies, q_values([draws[name][0].estimate(_COST, [m]) for name in studies]), strict=True))
        rows = []
        for name, (one, parts) in draws.items():
            beyond = bootstrap.over_these(parts, _BELOW, [m]).estimate()
            rows.append(
                Cost(
                    study=name,
                    as_told=float(means[name][0][m]),
                    condition=float(means[name][1][m]),
                    cost=one.estimate(_COST, [m]),
                    cost_these=bootstrap.over_these(parts, _COST, [m]).estimate(),
                    share=_share(one, parts, m, one) if beyond.low > 0 else UNKNOWN,
                    share_these=_share(one, parts, m, None) if beyond.low > 0 else UNKNOWN,
                    more=one.estimate(_COST, [n_models + m]) if m else UNKNOWN,
                    more_these=bootstrap.over_these(parts, _COST, [n_models + m]).estimate() if m else UNKNOWN,
                    beyond=beyond,
                    q=tested.get(name, NAN),
                    n_responses=counts[name][0],
                    n_participants=counts[name][1],
                )
            )
        by_model.append(rows)
    return by_model


def _study(of: ToldTwice) -> bootstrap.Study:
    """Columns M: each model, then each minus the first."""
    n_models = len(of.as_told_MR)
    person_P, person_R = np.unique(of.person_R, return_inverse=True)
    has_R = np.isfinite(of.chance_R)

    def summed(values_R: FloatArray) -> FloatArray:
        return np.bincount(person_R, values_R, minlength=len(person_P)).astype(np.float64)

    known = [summed(np.ones(len(person_R))), summed(has_R.astype(np.float64))]
    cost = [summed(one) for one in of.condition_MR - of.as_told_MR]
    above, below = (
        [summed(np.where(has_R, of.chance_R - one, 0.0)) for one in side] for side in (of.condition_MR, of.as_told_MR)
    )
    sums_PK = np.stack([*known, *cost, *above, *below], axis=1)

    def statistic(totals_BK: FloatArray) -> FloatArray:
        n_B, n_known_B = totals_BK[:, 0], totals_BK[:, 1]
        cost_MB, above_MB, below_MB = totals_BK[:, 2:].T.reshape(3, n_models, -1)
        parts = [
            np.stack([bootstrap.divide(one_B, n) for one_B in side])
            for side, n in ((cost_MB, n_B), (above_MB, n_known_B), (below_MB, n_known_B))
        ]
        return np.stack([np.concatenate([part_MB, part_MB - part_MB[:1]]) for part_MB in parts])

    weight_PQ = sums_PK[:, [0, 1, 1]]
    return bootstrap.Study(sums_PK, statistic, np.repeat(weight_PQ[:, :, None], 2 * n_models, axis=2))


def _share(one: Draws, parts: Sequence[Draws], m: int, drawn: Draws | None) -> Estimate:
    """The share of model ``m``, with the interval of ``drawn``, or of new people in these studies (None)."""
    above, below = (float(one.value_QM[q, m]) for q in (_ABOVE, _BELOW))
    share = above / below
    if drawn is not None:
        spread = _residual(drawn, share, m).spread()
    else:
        spread = bootstrap.over_these([_residual(part, share, m) for part in parts])
    error = spread.error / below
    return Spread(share, error if math.isfinite(error) else NAN, spread.freedom, spread.n_units).estimate()


def _residual(draws: Draws, share: float, m: int) -> Draws:
    """chance − N(condition) less the share of chance − N(as told)."""

    def less(values: FloatArray) -> FloatArray:
        rest: FloatArray = values[_ABOVE] - share * values[_BELOW]
        return rest[None, [m]]

    return Draws(less(draws.value_QM), less(draws.replicate_QMB), draws.weight_UQM[:, [_BELOW]][:, :, [m]])


def _generator(seed: int, study: str | None) -> np.random.Generator:
    return bootstrap.generator(seed, "shortcuts", *([] if study is None else [study]))
