"""Between matching and maximising: p(frequent) = f^θ / (f^θ + (1 − f)^θ), θ = 1 matches, θ → ∞ maximises (Luce)."""

from collections.abc import Sequence

import numpy as np

from centaurlab.catalog.studies import Trial
from centaurlab.cognitive.model import CognitiveModel, Likelihood, Prior, log_softmax, most_options, numbers
from centaurlab.cognitive.session import labels_of
from centaurlab.stats.estimate import FloatArray


def likelihood(trials: Sequence[Trial], knowledge: None) -> Likelihood:
    """θ: exponent of the shares; pull towards what was predicted before."""
    count_RO = np.array([numbers(trial.stimuli["count"]) for trial in trials]).reshape(
        len(trials), most_options(trials)
    )
    log_share_RO = np.log(count_RO / count_RO.sum(axis=1, keepdims=True))
    same_RO = np.zeros_like(count_RO)
    for t in range(1, len(trials)):
        same_RO[t] = [label == trials[t - 1].role for label in labels_of(trials[t])]

    def log_p(theta_MP: FloatArray) -> FloatArray:
        exponent_M11, again_M11 = theta_MP.T[:, :, None, None]
        return log_softmax(exponent_M11 * log_share_RO + again_M11 * same_RO)

    return log_p


MODELS = (
    CognitiveModel(
        "matching",
        "options are predicted as often as they occur, or the frequent one always, or between",
        "Luce 1959; Vulkan 2000, doi:10.1111/1467-6419.00106",
        ("thoma2025riskychoice", "Thoma_et_al_2025_risky_choice"),
        (Prior("exponent", 0.3, 1, "positive"), Prior("perseveration", 0, 1)),
        likelihood,
    ),
)
