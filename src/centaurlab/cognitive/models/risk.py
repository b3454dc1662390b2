"""Risky choice by what was shown of each option: prospect theory, and the moments of its outcomes.

Outcomes are in units of the mean size of all that the trial shows: experiments differ in what a point is worth.

Shapes: O options, N outcomes of each, F features.
"""

from collections.abc import Sequence

import numpy as np

from centaurlab.catalog.studies import Trial
from centaurlab.cognitive.model import CognitiveModel, Likelihood, Prior, log_softmax, most_options, numbers
from centaurlab.stats.estimate import FloatArray


def shown(trial: Trial) -> list[FloatArray]:
    """The outcomes that the trial shows of each option, from the highest down, in units of their mean size."""
    points = trial.stimuli.get("points")
    assert isinstance(points, tuple)
    found = [np.sort(np.array(numbers(one), float))[::-1] for one in points]
    size = float(np.mean(np.abs(np.concatenate(found)))) or 1.0
    return [one / size for one in found]


def prospects(trials: Sequence[Trial], knowledge: None) -> Likelihood:
    """θ: exponent of value, weighting of probabilities (1: none), loss aversion, inverse temperature.

    V = Σ π_k v(x_k) with v(x) = x^a or −λ (−x)^a, and π_k the steps of w(p) = exp(−(−log p)^γ) from the best outcome
    down for gains and from the worst up for losses.
    """
    n_options = most_options(trials)
    outcomes = [shown(trial) if covers(trial) else [] for trial in trials]

    def log_p(theta_MP: FloatArray) -> FloatArray:
        exponent_M1, weighting_M1, aversion_M1, beta_M1 = theta_MP.T[:, :, None]
        steps: dict[int, FloatArray] = {}
        utility_MRO = np.full((len(theta_MP), len(trials), n_options), -np.inf)
        for t, of_options in enumerate(outcomes):
            utility_MRO[:, t, : max(len(trials[t].options or ()), 1)] = 0.0
            for o, x_N in enumerate(of_options):
                if len(x_N) not in steps:
                    p_N = np.arange(len(x_N) + 1) / len(x_N)
                    with np.errstate(divide="ignore"):
                        steps[len(x_N)] = np.diff(np.exp(-((-np.log(p_N)) ** weighting_M1)), axis=1)
                step_MN = steps[len(x_N)]
                size_MN = np.abs(x_N) ** exponent_M1
                value_MN = np.where(x_N >= 0, step_MN * size_MN, -aversion_M1 * step_MN[:, ::-1] * size_MN)
                utility_MRO[:, t, o] = beta_M1[:, 0] * value_MN.sum(axis=1)
        return log_softmax(utility_MRO)

    return log_p


def moments(trials: Sequence[Trial], knowledge: None) -> Likelihood:
    """θ: weights of an option's mean, standard deviation and skewness."""
    n_options = most_options(trials)
    feature_ROF = np.zeros((len(trials), n_options, 3))
    is_option_RO = np.zeros((len(trials), n_options), bool)
    for t, trial in enumerate(trials):
        is_option_RO[t, : max(len(trial.options or ()), 1)] = True
        for o, x_N in enumerate(shown(trial) if covers(trial) else []):
            sd = float(x_N.std())
            skewness = float(np.mean((x_N - x_N.mean()) ** 3)) / sd**3 if sd > 1e-9 else 0.0
            feature_ROF[t, o] = x_N.mean(), sd, skewness

    def log_p(theta_MP: FloatArray) -> FloatArray:
        return log_softmax(np.where(is_option_RO, np.einsum("mp,rop->mro", theta_MP, feature_ROF), -np.inf))

    return log_p


def covers(trial: Trial) -> bool:
    """Whether outcomes of every option are shown before the choice."""
    return bool(trial.options) and "points" in trial.stimuli


MODELS = (
    CognitiveModel(
        "prospect-theory",
        "outcomes are valued with diminishing sensitivity, losses more, and extreme ones by weighted probabilities",
        "Tversky & Kahneman 1992, doi:10.1007/BF00122574; Prelec 1998, doi:10.2307/2998573",
        ("olschewski2024skewness",),
        (
            Prior("exponent", -0.3, 0.5, "positive"),
            Prior("probability weighting", -0.2, 0.5, "positive"),
            Prior("loss aversion", 0.4, 0.5, "positive"),
            Prior("inverse temperature", 1, 1.2, "positive"),
        ),
        prospects,
        covers,
    ),
    CognitiveModel(
        "moments",
        "options are judged by mean, variability and skewness of their outcomes",
        "Kraus & Litzenberger 1976, Journal of Finance 31, 1085",
        ("olschewski2024skewness",),
        (Prior("mean", 2, 3), Prior("standard deviation", 0, 1.5), Prior("skewness", 0, 0.7)),
        moments,
        covers,
    ),
)
