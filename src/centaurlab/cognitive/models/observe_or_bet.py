"""Observe or bet: look which light is lucky, which earns nothing, or bet on what was seen, which teaches nothing.

Evidence for a light is what was observed, an observation fading by δ a round. One bets on the side that the evidence
is for, and observes the more, the less evidence there is: u(observe) = o − κ |evidence|.
"""

from collections.abc import Sequence

import numpy as np

from centaurlab.catalog.studies import Trial
from centaurlab.cognitive.model import CognitiveModel, Likelihood, Prior, log_softmax, most_options
from centaurlab.cognitive.session import labels_of
from centaurlab.stats.estimate import FloatArray

_SIDES = {"blue": 1.0, "red": -1.0}


def likelihood(trials: Sequence[Trial], knowledge: None) -> Likelihood:
    """θ: observing o, κ, inverse temperature of a bet, fading δ, sleep, its weight of lost control, perseveration."""
    n_options = most_options(trials)
    labels = [labels_of(trial) for trial in trials]

    def log_p(theta_MP: FloatArray) -> FloatArray:
        observe_M, certain_M, beta_M, fading_M, sleep_M, control_M, stay_M = theta_MP.T
        utility_MRO = np.full((len(theta_MP), len(trials), n_options), -np.inf)
        evidence_M = np.zeros(len(theta_MP))
        before: str | None = None
        for t, trial in enumerate(trials):
            if t and trial.block != trials[t - 1].block:
                evidence_M, before = np.zeros_like(evidence_M), None
            lost = 4.0 - float(str(trial.stimuli.get("control", 2.0)))
            for o, label in enumerate(labels[t]):
                if label == "observe":
                    utility_M = observe_M - certain_M * np.abs(evidence_M)
                elif label == "sleep":
                    utility_M = sleep_M + control_M * lost
                else:
                    utility_M = beta_M * _SIDES.get(label, 0.0) * evidence_M
                utility_MRO[:, t, o] = utility_M + stay_M * (label == before)
            if not labels[t]:
                utility_MRO[:, t, 0] = 0.0
            before = trial.role
            lucky = trial.outcome.get("lucky")
            evidence_M = (1 - fading_M) * evidence_M + (_SIDES.get(lucky, 0.0) if isinstance(lucky, str) else 0.0)
        return log_softmax(utility_MRO)

    return log_p


MODELS = (
    CognitiveModel(
        "observe-or-bet",
        "people look when they know little, and bet on what they last saw",
        "Navarro, Newell & Schulze 2016, doi:10.1016/j.cogpsych.2016.01.001",
        ("sandbrink2024metacontrol",),
        (
            *(
                Prior("observing", 0, 1.5),
                Prior("certainty", 0, 1, "positive"),
                Prior("inverse temperature", 0.7, 1, "positive"),
            ),
            *(Prior("fading", -2, 1.5, "unit"), Prior("sleep", -2, 2), Prior("lost control", 0, 0.7)),
            Prior("perseveration", 0.5, 1),
        ),
        likelihood,
    ),
)
