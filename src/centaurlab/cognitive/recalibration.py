"""A model's stored scores of some people into two parameters, by which it predicts others: no weight is changed.

What the model says at temperature T is mixed with how often people gave each answer,

    p(answer) = (1 − λ) · p_T(answer) + λ · m(answer),

with T (Guo et al. 2017, arXiv:1706.04599) of the temperatures at which NLLs are recorded, and m the role marginal of
the same people, of whom each is left out of the m that T and λ are fitted with.

Shapes: R responses, K temperatures, L mixing weights.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from centaurlab.cognitive.marginals import learn_role_marginal
from centaurlab.cognitive.prediction import Predict, Prediction
from centaurlab.cognitive.session import Session
from centaurlab.results.table import TEMPERATURES
from centaurlab.stats.estimate import NAN, FloatArray

WEIGHTS = np.linspace(0.0, 1.0, 101)
"""What λ may be."""
AT = tuple(sorted((1.0, *TEMPERATURES)))
"""What T may be, in the order of the columns of ``nll_RK``."""


@dataclass(frozen=True)
class Recalibration:
    """T and λ; of nobody's answers the model as it is."""

    temperature: float = 1.0
    weight: float = 0.0

    def log_p(self, nll_RK: FloatArray, marginal_R: FloatArray) -> FloatArray:
        """(R,) log-probability of each answer.

        ``nll_RK``: its NLL under the model at each of ``AT``. ``marginal_R``: its log-probability under m. NaN where
        either has none.
        """
        log_model_R = -nll_RK[:, AT.index(self.temperature)]
        is_known_R = np.isfinite(log_model_R) & np.isfinite(marginal_R)
        mixed_R = np.full(len(log_model_R), NAN)
        with np.errstate(divide="ignore"):
            log_shares = np.log([1 - self.weight, self.weight])
        mixed_R[is_known_R] = np.logaddexp(
            log_shares[0] + log_model_R[is_known_R], log_shares[1] + marginal_R[is_known_R]
        )
        return mixed_R


def fit_recalibration(nll_RK: FloatArray, marginal_R: FloatArray) -> Recalibration:
    """T and λ of maximum likelihood on a grid, of equals those nearest to the model as it is.

    ``marginal_R`` of each answer was learned without its person.
    """
    is_known_R = np.isfinite(nll_RK).all(axis=1) & np.isfinite(marginal_R)
    if not is_known_R.any():
        return Recalibration()
    p_R = np.exp(marginal_R[is_known_R])
    best, found = -np.inf, Recalibration()
    for temperature in sorted(AT, key=lambda t: abs(np.log(t))):
        model_R = np.exp(-nll_RK[is_known_R, AT.index(temperature)])
        for weight in WEIGHTS:
            with np.errstate(divide="ignore"):
                total = float(np.log((1 - weight) * model_R + weight * p_R).sum())
            if total > best + 1e-12:
                best, found = total, Recalibration(temperature, float(weight))
    return found


@dataclass(frozen=True)
class ScoredSession:
    """A session and the model's NLL of each of its answers at each of ``AT``, (R, K); NaN where it was not scored."""

    session: Session
    nll_RK: FloatArray


def recalibrate(
    people: Sequence[ScoredSession], others: Sequence[ScoredSession]
) -> tuple[Recalibration, list[Prediction]]:
    """What the model says of ``others`` once it is recalibrated to ``people``; of nobody's answers nothing changes."""
    if not people:
        found = Recalibration()
    else:
        left_out = {one.session.person: _others_than(one, people) for one in people}
        marginals = [left_out[one.session.person](one.session).log_p_R for one in people]
        found = fit_recalibration(np.concatenate([one.nll_RK for one in people]), np.concatenate(marginals))
    marginal = learn_role_marginal([one.session for one in people])
    predictions = []
    for one in others:
        log_p_R = found.log_p(one.nll_RK, marginal(one.session).log_p_R)
        predictions.append(Prediction(log_p_R, (None,) * len(log_p_R)))
    return found, predictions


def _others_than(one: ScoredSession, people: Sequence[ScoredSession]) -> Predict:
    return learn_role_marginal([other.session for other in people if other.session.person != one.session.person])
