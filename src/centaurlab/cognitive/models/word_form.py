"""Is it a word, does it make sense? By its length and how usual its letters are, as norms are not at hand.

How usual: the mean logarithm of how often a pair of letters stands in the words that training people were shown. A
person has an inclination to say yes, weights for both, and a pull towards the answer before.
"""

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from centaurlab.catalog.studies import Trial
from centaurlab.cognitive.model import CognitiveModel, Likelihood, Prior, log_softmax
from centaurlab.cognitive.session import Session
from centaurlab.stats.estimate import FloatArray

_MEAN_LENGTH, _SD_LENGTH = 9.0, 2.0


def _pairs(word: str) -> list[str]:
    return [first + second for first, second in pairwise(f"^{word}$")]


def pair_counts(training: Sequence[Session]) -> tuple[Counter[str], float, float]:
    """How often each pair of letters was shown, with mean and standard deviation of a word's mean logarithm."""
    words = [str(trial.stimuli["word"]).lower() for session in training for trial in session.trials]
    counts = Counter(pair for word in dict.fromkeys(words) for pair in _pairs(word))
    usual = [_usual(word, counts) for word in dict.fromkeys(words)]
    return counts, float(np.mean(usual)) if usual else 0.0, (float(np.std(usual)) if usual else 0.0) or 1.0


def _usual(word: str, counts: Counter[str]) -> float:
    return float(np.mean([np.log(counts[pair] + 1) for pair in _pairs(word)]))


def likelihood(trials: Sequence[Trial], known: tuple[Counter[str], float, float]) -> Likelihood:
    """θ: inclination to say yes, weights of length and letters, pull towards the answer before."""
    counts, mean, sd = known
    words = [str(trial.stimuli["word"]).lower() for trial in trials]
    before = [0.0, *(1.0 if t.role == (t.roles or ("",))[0] else -1.0 for t in trials[:-1])][: len(trials)]
    length = [(len(word) - _MEAN_LENGTH) / _SD_LENGTH for word in words]
    usual = [(_usual(word, counts) - mean) / sd for word in words]
    features_R4 = np.array([np.ones(len(words)), length, usual, before]).T

    def log_p(theta_MP: FloatArray) -> FloatArray:
        yes_MR = theta_MP @ features_R4.T
        return log_softmax(np.stack([yes_MR, np.zeros_like(yes_MR)], axis=2))

    return log_p


MODELS = (
    CognitiveModel(
        "word-form",
        "a word is taken for one by its length and its letters",
        "Balota et al. 2004, doi:10.1037/0096-3445.133.2.283 (length and form; no norms)",
        ("guenther2020LDT", "guenther2020TS"),
        (Prior("yes", 0, 1), Prior("length", 0, 0.5), Prior("letters", 0, 0.5), Prior("perseveration", 0, 0.5)),
        likelihood,
        know=pair_counts,
    ),
)
