"""What a baseline says of a session, and what a baseline is: learned from training people, then asked session by
session.

Shapes: R responses, O options, M parameter values (particles).
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from centaurlab.cognitive.session import Session, answer_index, is_predictable
from centaurlab.results.table import TEMPERATURES, ResponseScores
from centaurlab.stats.estimate import FloatArray

OptionLogs = FloatArray | None
"""(O,) log-probability of each option of a trial, in the order of the options; None: any word could be said."""


@dataclass(frozen=True)
class Prediction:
    """Of each response of a session, in order: ``log_p_R`` in nats of the answer (NaN where it is not predicted), and
    ``options_R``, the log-probabilities of all options.
    """

    log_p_R: FloatArray
    options_R: tuple[OptionLogs, ...]


Predict = Callable[[Session], Prediction]
"""One session of a person whom nothing was learned from; each answer is predicted from what was before it alone."""


@dataclass(frozen=True)
class Baseline:
    """``learn`` gets the sessions of the training people of one study. ``source``: whose idea it is."""

    name: str
    about: str
    source: str
    learn: Callable[[Sequence[Session]], Predict]


def of_options(session: Session, options_R: Sequence[OptionLogs], open_log_p_R: Sequence[float]) -> Prediction:
    """The prediction with these log-probabilities of options and, where there are none, of the answers themselves."""
    log_p_R = np.full(len(session.trials), np.nan)
    for number, (trial, logs) in enumerate(zip(session.trials, options_R, strict=True)):
        if not is_predictable(trial):
            continue
        place = answer_index(trial)
        log_p_R[number] = open_log_p_R[number] if logs is None or place is None else logs[place]
    return Prediction(log_p_R, tuple(options_R))


def scores_of(session: Session, prediction: Prediction, numbers: Sequence[int]) -> ResponseScores:
    """The rows of a table of scores for the responses ``numbers`` that are predicted; each counts as one token.

    All probability is on the options, so that ``option_nll`` is 0. Temperatures sharpen or flatten the probabilities
    of the options; without options they are not defined, and NaN.
    """
    rows = [number for number in numbers if np.isfinite(prediction.log_p_R[number])]
    n, n_temperatures = len(rows), len(TEMPERATURES)
    nll_R = -prediction.log_p_R[rows]
    nll_RK = np.full((n, n_temperatures), np.nan)
    entropy_R, correct_R = np.full(n, np.nan), np.full(n, -1)
    n_options_R = np.zeros(n)
    option_nll_R, option_nll_RK = np.full(n, np.nan), np.full((n, n_temperatures), np.nan)
    by_size: dict[int, list[tuple[int, int, FloatArray]]] = defaultdict(list)
    for row, number in enumerate(rows):
        logs = prediction.options_R[number]
        place = answer_index(session.trials[number])
        if logs is not None and place is not None:
            by_size[len(logs)].append((row, place, logs))
    for size, found in by_size.items():
        at_N, place_N = (np.array(column, np.int64) for column in list(zip(*found, strict=True))[:2])
        log_NO = np.array([logs for *_, logs in found])
        p_NO = np.exp(log_NO)
        entropy_R[at_N] = -np.sum(p_NO * np.where(p_NO > 0, log_NO, 0.0), axis=1)
        is_likeliest_NO = np.isclose(p_NO, p_NO.max(axis=1, keepdims=True), rtol=1e-12, atol=0)
        correct_R[at_N] = np.where(is_likeliest_NO.sum(axis=1) > 1, -1, np.argmax(log_NO, axis=1) == place_N)
        tempered_NKO = log_NO[:, None, :] / np.asarray(TEMPERATURES)[:, None]
        of_answer_NK = np.take_along_axis(tempered_NKO, place_N[:, None, None], axis=2)[:, :, 0]
        nll_RK[at_N] = np.logaddexp.reduce(tempered_NKO, axis=2) - of_answer_NK
        if size >= 2:
            n_options_R[at_N], option_nll_R[at_N], option_nll_RK[at_N] = size, 0.0, 0.0
    return ResponseScores(
        response_R=np.asarray(rows, np.int32),
        n_tokens_R=np.ones(n, np.int32),
        nll_R=nll_R.astype(np.float32),
        greedy_correct_R=correct_R.astype(np.int8),
        entropy_R=entropy_R.astype(np.float32),
        nll_RK=nll_RK.astype(np.float32),
        n_options_R=n_options_R.astype(np.int32),
        option_nll_R=option_nll_R.astype(np.float32),
        option_nll_RK=option_nll_RK.astype(np.float32),
        item_R=np.zeros(n, np.int64),
    )
