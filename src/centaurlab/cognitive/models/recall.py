"""Free recall: which word comes next, by its place in the list and its distance from the word before.

A word that was not said yet is recalled in proportion to exp(u): early places, late ones (at the first recall and
later), and neighbours of the word before, forwards and backwards, which is what a context that drifts with the items
leads to. With some probability a repetition or a word that is not in the list is said, spelled as such words are.

Shapes: W words of a list, F features.
"""

from collections.abc import Sequence

import numpy as np

from centaurlab.catalog.studies import Trial
from centaurlab.cognitive.model import CognitiveModel, Likelihood, Prior, log_softmax
from centaurlab.cognitive.session import Session
from centaurlab.cognitive.words import Words
from centaurlab.stats.estimate import FloatArray

_REACH = 2.0
"""Over so many places each effect falls to 1/e."""
_FEATURES = 5


def other_words(training: Sequence[Session]) -> Words:
    """What training people said that was not in the list, or again."""
    trials = [trial for session in training for trial in session.trials if covers(trial)]
    return Words(trial.answer for trial in trials if not (trial.role or "").isdecimal())


def likelihood(trials: Sequence[Trial], others: Words) -> Likelihood:
    """θ: early places, late places at first and later, following and preceding neighbours, others (as log odds)."""
    lists = [trial.stimuli.get("words") for trial in trials]
    n_words = max((len(words) for words in lists if isinstance(words, tuple)), default=0) or 1
    feature_RWF = np.zeros((len(trials), n_words, _FEATURES))
    is_left_RW = np.zeros((len(trials), n_words), bool)
    place_R = np.zeros(len(trials), np.int64)
    is_listed_R, log_other_R = np.zeros(len(trials), bool), np.zeros(len(trials))
    said: set[int] = set()
    before: int | None = None
    for t, (trial, words) in enumerate(zip(trials, lists, strict=True)):
        if not trial.continues:
            said, before = set(), None
        n = len(words) if isinstance(words, tuple) else 0
        at_W = np.arange(n)
        feature_RWF[t, :n, 0] = np.exp(-at_W / _REACH)
        feature_RWF[t, :n, 1 if not said else 2] = np.exp(-(n - 1 - at_W) / _REACH)
        if before is not None:
            lag_W = at_W - before
            near_W = np.exp(-(np.abs(lag_W) - 1) / _REACH)
            feature_RWF[t, :n, 3], feature_RWF[t, :n, 4] = near_W * (lag_W > 0), near_W * (lag_W < 0)
        is_left_RW[t, :n] = [place not in said for place in range(n)]
        is_listed_R[t] = (trial.role or "").isdecimal()
        if is_listed_R[t]:
            before = place_R[t] = int(trial.role or "") - 1
            said.add(before)
        else:
            log_other_R[t] = others.log_p(trial.answer)
    is_all_said_R = ~is_left_RW.any(axis=1)
    is_left_RW[is_all_said_R, 0] = True  # only others are left; the value is not used

    def log_p(theta_MP: FloatArray) -> FloatArray:
        utility_MRW = np.einsum("mp,rwp->mrw", theta_MP[:, :_FEATURES], feature_RWF)
        log_MRW = log_softmax(np.where(is_left_RW, utility_MRW, -np.inf))
        log_word_MR = np.take_along_axis(log_MRW, place_R[None, :, None], axis=2)[:, :, 0]
        odds_M1 = theta_MP[:, _FEATURES:]
        log_other_M1, log_listed_M1 = -np.logaddexp(0, -odds_M1), -np.logaddexp(0, odds_M1)
        of_others_MR = np.where(is_all_said_R, 0.0, log_other_M1) + log_other_R
        log_MR: FloatArray = np.where(is_listed_R, log_listed_M1 + log_word_MR, of_others_MR)
        return log_MR[:, :, None]

    return log_p


def covers(trial: Trial) -> bool:
    """Whether a word of a list is to be said."""
    return trial.kind == "recall" and isinstance(trial.stimuli.get("words"), tuple)


MODELS = (
    CognitiveModel(
        "temporal-context",
        "words come back by their place in the list and next to their neighbours",
        "Kahana 1996, doi:10.3758/BF03197276; Howard & Kahana 2002, doi:10.1006/jmps.2001.1388 (as a logit)",
        ("healey2014recall",),
        (
            *(Prior("primacy", 1, 1), Prior("recency at first", 3, 2), Prior("recency later", 0, 1)),
            *(Prior("forward", 2, 1.5), Prior("backward", 1, 1.5), Prior("others", -3, 1.5)),
        ),
        likelihood,
        covers,
        know=other_words,
    ),
)
