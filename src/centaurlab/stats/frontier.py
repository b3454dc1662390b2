"""How sure it is which models are on the frontier of two qualities: predicting people, and being a good assistant.

The models on it were chosen after looking, so that an interval of each says little. Instead all models are drawn
together: the same studies (or people) and the same questions for all, and in every resample the frontier is found anew.

Shapes: M models, B resamples, I questions.
"""

import numpy as np
import numpy.typing as npt

from centaurlab.stats.estimate import FloatArray


def share_on_frontier(d_MB: FloatArray, solved_MI: npt.NDArray[np.bool_], seed: int = 0) -> FloatArray:
    """(M,) in what share of the resamples no other model is at least as good in both and better in one.

    Parameters
    ----------
    d_MB : array (M, B)
        d of each model against the same base, in the same resamples; lower is better. Resamples in which one is NaN
        say nothing; where all are so, neither does the share.
    solved_MI : array (M, I) of bool
        Which questions each solves; they are drawn with replacement, the same for all.
    seed : int
        Of the draws of questions.
    """
    d_MB = d_MB[:, np.isfinite(d_MB).all(axis=0)]
    n_models, n_resamples = d_MB.shape
    if not n_resamples:
        return np.full(n_models, np.nan)
    n_items = solved_MI.shape[1]
    drawn_BI = np.random.default_rng([seed, n_items]).integers(n_items, size=(n_resamples, n_items))
    right_MB = np.stack([solved_I[drawn_BI].sum(axis=1) for solved_I in solved_MI])
    on_MB = np.ones((n_models, n_resamples), bool)
    for one in range(n_models):
        for other in range(n_models):
            as_good_B = (right_MB[other] >= right_MB[one]) & (d_MB[other] <= d_MB[one])
            better_B = (right_MB[other] > right_MB[one]) | (d_MB[other] < d_MB[one])
            on_MB[one] &= ~(as_good_B & better_B)
    return np.asarray(on_MB.mean(axis=1), np.float64)
