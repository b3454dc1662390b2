"""Function estimation: a Gaussian process through the points of a graph, from which a person departs smoothly.

    y ~ logistic(m(x) + φ (y' − m(x')), σ s),   s: standard deviation of the graph's y, (x', y'): the prediction before,

m being the process' mean with a squared-exponential kernel, whose length scale is the person's. Answers are numbers on
a grid, which is learned of the training people; where the text asks for the same x again, the answer before is told
again with probability ρ.

Shapes: G length scales of a grid, N points.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.special import log_expit

from centaurlab.catalog.studies import Trial, Value
from centaurlab.cognitive.model import CognitiveModel, Likelihood, Prior
from centaurlab.cognitive.session import Session
from centaurlab.cognitive.words import Words
from centaurlab.stats.estimate import FloatArray

_SCALES_G = np.geomspace(0.08, 2.5, 12)
_NOISE = 0.05  # of the variance of a graph's y
_NO_NUMBER = 1e-3  # the share of answers that are on no grid
_STEPS = tuple(digit * 10.0**-power for power in range(7) for digit in (5, 2, 1))


@dataclass(frozen=True)
class Answers:
    """``step``: the grid that nearly all answers are on; ``words``: what was said besides."""

    step: float
    words: Words


def know_answers(training: Sequence[Session]) -> Answers:
    """The grid of the training people's answers."""
    said = [trial.answer for session in training for trial in session.trials if covers(trial)]
    values = [value for answer in said if (value := number(answer)) is not None]
    step = next(
        (one for one in _STEPS if np.mean([_is_on(value, one) for value in values] or [True]) > 0.99), _STEPS[-1]
    )
    return Answers(step, Words(answer for answer in said if not _is_grid_number(answer, step)))


def number(answer: str) -> float | None:
    """The number that is written in the shortest way; None where it is another text."""
    try:
        value = float(answer)
    except ValueError:
        return None
    return value if np.isfinite(value) and answer in (repr(value), f"{value:g}") else None


def _is_on(value: float, step: float) -> bool:
    return abs(value / step - round(value / step)) < 1e-6


def _is_grid_number(answer: str, step: float) -> bool:
    value = number(answer)
    return value is not None and _is_on(value, step)


@lru_cache(maxsize=256)
def process(points: tuple[tuple[float, float], ...]) -> tuple[FloatArray, float, float, FloatArray]:
    """Of a graph: weights of its points (G, N), mean and standard deviation of y, and x (N,)."""
    x_N, y_N = np.array(points, float).T
    mean, sd = float(y_N.mean()), float(y_N.std()) or 1.0
    gap_NN = (x_N[:, None] - x_N[None]) ** 2
    kernel_GNN = np.exp(-gap_NN / (2 * _SCALES_G[:, None, None] ** 2)) + _NOISE * np.eye(len(x_N))
    weight_GN = np.linalg.solve(kernel_GNN, np.broadcast_to((y_N - mean)[:, None], (len(_SCALES_G), len(x_N), 1)))
    return weight_GN[:, :, 0], mean, sd, x_N


def curve(points: Value, x: float) -> tuple[FloatArray, float]:
    """The process' mean at ``x`` for each length scale (G,), and the standard deviation of the graph's y."""
    assert isinstance(points, tuple)
    weight_GN, mean, sd, x_N = process(points)
    kernel_GN = np.exp(-((x - x_N) ** 2) / (2 * _SCALES_G[:, None] ** 2))
    mean_G: FloatArray = mean + (weight_GN * kernel_GN).sum(axis=1)
    return mean_G, sd


def likelihood(trials: Sequence[Trial], known: Answers) -> Likelihood:
    """θ: length scale, φ, σ of a graph's first answer and of later ones, ρ."""
    n = len(trials)
    mean_RG, before_RG, unit_R = np.zeros((n, len(_SCALES_G))), np.zeros((n, len(_SCALES_G))), np.ones(n)
    answer_R, before_R, log_text_R = np.zeros(n), np.zeros(n), np.zeros(n)
    is_first_R, is_again_R, is_same_R, is_number_R = (np.zeros(n, bool) for _ in range(4))
    for t, trial in enumerate(trials):
        mean_RG[t], unit_R[t] = curve(trial.stimuli["points"], float(str(trial.stimuli["x"])))
        value = number(trial.answer)
        is_number_R[t] = value is not None and _is_on(value, known.step)
        answer_R[t] = value if value is not None else mean_RG[t].mean()
        log_text_R[t] = 0.0 if is_number_R[t] else known.words.log_p(trial.answer)
        is_first_R[t] = t == 0 or trial.block != trials[t - 1].block
        if not is_first_R[t]:
            before_RG[t], before_R[t] = mean_RG[t - 1], answer_R[t - 1]
            is_again_R[t] = trial.stimuli.get("repeated") == 1.0
            is_same_R[t] = trial.answer == trials[t - 1].answer

    def log_p(theta_MP: FloatArray) -> FloatArray:
        scale_M, stay_M1, first_M1, later_M1, again_M1 = theta_MP[:, 0], *theta_MP.T[1:, :, None]
        at_M = np.clip(np.interp(np.log(scale_M), np.log(_SCALES_G), np.arange(len(_SCALES_G))), 0, len(_SCALES_G) - 1)
        weight_MG = np.maximum(1 - np.abs(at_M[:, None] - np.arange(len(_SCALES_G))), 0)
        mean_MR = weight_MG @ mean_RG.T
        drift_MR = stay_M1 * (before_R - weight_MG @ before_RG.T)
        sigma_MR = np.where(is_first_R, first_M1, later_M1) * unit_R
        center_MR = mean_MR + np.where(is_first_R, 0.0, drift_MR)
        half = known.step / 2
        log_grid_MR = _log_mass((answer_R - half - center_MR) / sigma_MR, (answer_R + half - center_MR) / sigma_MR)
        log_new_MR = np.where(is_number_R, np.log1p(-_NO_NUMBER) + log_grid_MR, np.log(_NO_NUMBER) + log_text_R)
        log_again_MR = np.log1p(-again_M1) + log_new_MR
        told_again_MR = np.logaddexp(np.log(again_M1), log_again_MR)
        log_MR: FloatArray = np.where(is_again_R, np.where(is_same_R, told_again_MR, log_again_MR), log_new_MR)
        return log_MR[:, :, None]

    return log_p


def _log_mass(low: FloatArray, high: FloatArray) -> FloatArray:
    """Logarithm of the logistic distribution's mass between two values, on the side where it does not round to 0."""
    flip = low > 0
    low, high = np.where(flip, -high, low), np.where(flip, -low, high)
    top = log_expit(high)
    mass: FloatArray = top + np.log(-np.expm1(np.minimum(log_expit(low) - top, -1e-300)))
    return np.maximum(mass, -700.0)


def covers(trial: Trial) -> bool:
    """Whether y is to be said at some x of a graph."""
    return trial.kind == "prediction" and trial.options is None and "points" in trial.stimuli


MODELS = (
    CognitiveModel(
        "gaussian-process",
        "people expect functions as smooth as a Gaussian process does, and go on from their last answer",
        "Lucas, Griffiths, Williams & Kalish 2015, doi:10.3758/s13423-015-0808-5",
        ("little2024functionestimation",),
        (
            Prior("length scale", -1, 0.8, "positive"),
            Prior("persistence", 1, 1.2, "unit"),
            Prior("spread of the first answer", -1.5, 0.8, "positive"),
            Prior("spread of later answers", -2, 0.8, "positive"),
            Prior("told again", 3, 1.5, "unit"),
        ),
        likelihood,
        covers,
        know=know_answers,
    ),
)
