"""Participants and studies drawn again and again: the sampling variation of what they estimate.

A sum over responses is a sum over participants, so a resample of participants is a row of counts and all
resamples of a study are one matrix product: counts (resamples × participants) times sums (participants × k).
The cost is that of drawing participants, whatever the number of responses.

Nested resampling, with replacement at both levels: Davison & Hinkley 1997, Bootstrap Methods and their
Application, section 3.8. As they show, it counts the variation within studies twice (once drawn anew, once in the
spread of the studies' estimates), so the intervals over studies err on the wide side where studies hold few
participants; with few studies (under about 20) percentile intervals err on the narrow side.

Shapes: P participants, B resamples, S studies, K sums.
"""

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

CONFIDENCE = 0.95
_MAX_UNDEFINED = 0.05  # of all resamples
_BLOCK = 1_000_000  # counts held at once


def resampled_sums(sums_PK: FloatArray, n_resamples: int, rng: np.random.Generator) -> FloatArray:
    """Totals (B, K) of per-participant sums over ``n_resamples`` draws of P participants with replacement."""
    n_participants, n_sums = sums_PK.shape
    n_rows = max(1, _BLOCK // n_participants)
    totals_BK = np.empty((n_resamples, n_sums))
    for start in range(0, n_resamples, n_rows):
        n = min(n_rows, n_resamples - start)
        drawn_BP = rng.integers(n_participants, size=(n, n_participants))
        drawn_BP += np.arange(0, n * n_participants, n_participants)[:, None]
        counts = np.bincount(drawn_BP.ravel(), minlength=n * n_participants)
        totals_BK[start : start + n] = counts.reshape(n, n_participants).astype(np.float64) @ sums_PK
    return totals_BK


def draw_studies(n_studies: int, n_resamples: int, rng: np.random.Generator) -> tuple[IntArray, IntArray]:
    """S studies drawn with replacement, ``n_resamples`` times: the study and the replicate (B, S) of each draw.

    A replicate is a study's estimate under one resample of its participants; there are B of each study. A study
    drawn twice in one resample brings two different ones: they are handed out in order, and from the first again
    where a study is drawn more than B times in all.
    """
    study_BS = rng.integers(n_studies, size=(n_resamples, n_studies))
    replicate_BS = np.empty_like(study_BS)
    for study in range(n_studies):
        is_drawn_BS = study_BS == study
        replicate_BS[is_drawn_BS] = np.arange(is_drawn_BS.sum()) % n_resamples
    return study_BS, replicate_BS


def resampled_means(replicates_SB: FloatArray, drawn: tuple[IntArray, IntArray]) -> FloatArray:
    """Means (B,) over the studies of each draw; an undefined replicate (NaN) is left out of its mean."""
    values_BS = replicates_SB[drawn]
    is_defined_BS = np.isfinite(values_BS)
    n_defined_B = is_defined_BS.sum(axis=1)
    means_B = np.full(len(values_BS), np.nan)
    np.divide(np.where(is_defined_BS, values_BS, 0.0).sum(axis=1), n_defined_B, out=means_B, where=n_defined_B > 0)
    return means_B


def percentile_interval(values_B: FloatArray) -> tuple[float, float]:
    """The middle 95 % of the resampled estimates; NaN where more than 5 % of these are undefined."""
    is_defined_B = np.isfinite(values_B)
    if is_defined_B.mean() < 1 - _MAX_UNDEFINED:
        return float("nan"), float("nan")
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(values_B[is_defined_B], [tail, 1 - tail])
    return float(low), float(high)
