"""Ink against word: each button has evidence from the ink, which is asked for, and from the word, which is read."""

from collections.abc import Sequence

import numpy as np

from centaurlab.catalog.studies import Trial
from centaurlab.cognitive.model import CognitiveModel, Likelihood, Prior, log_softmax
from centaurlab.cognitive.session import labels_of
from centaurlab.stats.estimate import FloatArray


def likelihood(trials: Sequence[Trial], knowledge: None) -> Likelihood:
    """θ: evidence of the ink, of the word, and of the button pressed before."""
    ink_RO, word_RO, same_RO = (
        np.array(
            [[label == wanted for label in labels_of(trial)] for trial, wanted in zip(trials, targets, strict=True)]
        )
        for targets in (
            [trial.stimuli["ink"] for trial in trials],
            [trial.stimuli["word"] for trial in trials],
            [None, *(trial.role for trial in trials[:-1])],
        )
    )

    def log_p(theta_MP: FloatArray) -> FloatArray:
        ink_M11, word_M11, same_M11 = theta_MP.T[:, :, None, None]
        return log_softmax(ink_M11 * ink_RO + word_M11 * word_RO + same_M11 * same_RO)

    return log_p


MODELS = (
    CognitiveModel(
        "ink-and-word",
        "the ink is named, the word intrudes",
        "Cohen, Dunbar & McClelland 1990, doi:10.1037/0033-295X.97.3.332 (as a logit)",
        ("busch2024_stroop",),
        (Prior("ink", 1, 1, "positive"), Prior("word", 0, 1), Prior("perseveration", 0, 1)),
        likelihood,
    ),
)
