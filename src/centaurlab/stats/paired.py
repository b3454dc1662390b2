"""The paired d of two models: how consistent their difference is from person to person.

The mean over participants of the difference of their two mean NLLs, divided by the SD of these differences ("d_z" in
Lakens 2013, doi:10.3389/fpsyg.2013.00863). It answers another question than d: not how large the difference is beside
the spread of NLLs, but how much the same it is for everybody. With few people it overstates what more of them would
show, by 38 % with 4, 9 % with 10, 4 % with 20; so the value is corrected (Hedges 1981,
doi:10.3102/10769986006002107: "g_z"), which needs three people, and its interval is about the corrected value.

Shapes: P participants.
"""

import math

import numpy as np
from scipy.special import gammaln

from centaurlab.stats.bootstrap import jackknife
from centaurlab.stats.estimate import NAN, Estimate, FloatArray, IntArray


def bias_correction(freedom: IntArray) -> FloatArray:
    """By what to multiply a d of so many degrees of freedom (Hedges 1981, exact form); NaN below two."""
    n = np.maximum(freedom, 2).astype(np.float64)
    factor = np.exp(gammaln(n / 2) - gammaln((n - 1) / 2)) / np.sqrt(n / 2)
    return np.where(freedom > 1, factor, NAN)


def paired_estimate(value: float, without_one_P: FloatArray, n_units: int) -> Estimate:
    """A study's paired d with the interval found where its sampling variance, (1 + d²/2) / n, does not depend on it.

    As Hedges & Olkin 1985, Statistical Methods for Meta-Analysis, chapter 6, do for two groups. Resamples of few people
    hold some of nearly equal differences, whose d is huge: they are left out one by one instead. ``without_one_P`` are
    raw values; the standard error on that scale is the same for raw and for corrected ones.
    """
    root = math.sqrt(2)
    found = jackknife(math.asinh(value / root), np.arcsinh(without_one_P / root), n_units).estimate()
    return Estimate(value, root * math.sinh(found.low), root * math.sinh(found.high), n_units=n_units)
