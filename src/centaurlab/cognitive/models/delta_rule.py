"""Delta rule (Rescorla & Wagner 1972): values follow outcomes, of the chosen option and, it may be, of the others.

    Q_j ← Q_j + α (outcome_j − Q_j) for the chosen, + α_c for the others;  u_j = β Q_j + π · [j was chosen before].

Outcomes are in units of the standard deviation of all that the person was told so far, from its mean: experiments
differ in what a point is worth. A new block begins anew.
"""

from collections.abc import Sequence
from functools import partial

import numpy as np

from centaurlab.catalog.studies import Trial
from centaurlab.cognitive.model import CognitiveModel, Likelihood, Prior, log_softmax, most_options, numbers
from centaurlab.cognitive.session import answer_index
from centaurlab.stats.estimate import FloatArray

_ALPHA, _BETA = Prior("learning rate", -1, 1.5, "unit"), Prior("inverse temperature", 0, 1.5, "positive")
_COUNTERFACTUAL = Prior("counterfactual learning rate", -1, 1.5, "unit")
_PERSEVERATION = Prior("perseveration", 0, 1)


def scaled(trials: Sequence[Trial]) -> list[list[float]]:
    """The outcomes of each trial, from the mean and in units of the standard deviation of all that was told so far."""
    told: list[float] = []
    found = []
    for trial in trials:
        points = numbers(trial.outcome.get("points"))
        told += points
        mean, sd = (float(np.mean(told)), float(np.std(told)) or 1.0) if told else (0.0, 1.0)
        found.append([(x - mean) / sd for x in points])
    return found


def likelihood(counterfactual: bool, trials: Sequence[Trial], knowledge: None) -> Likelihood:
    """θ: α, β, then π, then α_c of a model that learns from what it did not choose."""
    n_options, points = most_options(trials), scaled(trials)
    chosen = [answer_index(trial) for trial in trials]

    def log_p(theta_MP: FloatArray) -> FloatArray:
        alpha_M, beta_M, stay_M = theta_MP[:, 0], theta_MP[:, 1], theta_MP[:, 2] if theta_MP.shape[1] > 2 else 0.0
        other_M = theta_MP[:, 3] if counterfactual else None
        utility_MRO = np.full((len(theta_MP), len(trials), n_options), -np.inf)
        value_MO = np.zeros((len(theta_MP), n_options))
        before: int | None = None
        for t, trial in enumerate(trials):
            if t and (trial.block, trial.options) != (trials[t - 1].block, trials[t - 1].options):
                value_MO, before = np.zeros_like(value_MO), None
            n = len(trial.options or ())
            if not n:
                utility_MRO[:, t, 0] = 0
                continue
            utility_MO = beta_M[:, None] * value_MO[:, :n]
            if before is not None:
                utility_MO[:, before] += stay_M
            utility_MRO[:, t, :n] = utility_MO
            before = chosen[t]
            for j, outcome in enumerate(points[t]):
                rate_M = alpha_M if j == before else other_M
                if rate_M is not None:
                    value_MO[:, j] += rate_M * (outcome - value_MO[:, j])
        return log_softmax(utility_MRO)

    return log_p


def _covers(trial: Trial) -> bool:
    return bool(trial.options) and "points" not in trial.stimuli


_MODELS = (
    ("delta-rule", "values follow the outcome of what was chosen", False, (_ALPHA, _BETA)),
    (
        "delta-rule-perseverative",
        "the same, and what was chosen is chosen again",
        False,
        (_ALPHA, _BETA, _PERSEVERATION),
    ),
    (
        "delta-rule-counterfactual",
        "the same, and values follow the outcomes of the other options too",
        True,
        (_ALPHA, _BETA, _PERSEVERATION, _COUNTERFACTUAL),
    ),
)
MODELS = tuple(
    CognitiveModel(
        name,
        about,
        "Rescorla & Wagner 1972; Palminteri et al. 2017, doi:10.1371/journal.pcbi.1005684",
        ("spektor2019contexteffects", "olschewski2024skewness"),
        priors,
        partial(likelihood, counterfactual),
        _covers,
    )
    for name, about, counterfactual, priors in _MODELS
)
