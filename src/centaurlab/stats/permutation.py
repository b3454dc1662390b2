"""Ranks among re-drawn data into exact p-values, and several of them into one.

Shapes: R draws beside the data as they are.
"""

import math
from collections.abc import Sequence

import numpy as np
from scipy.special import chdtrc

from centaurlab.stats.estimate import NAN, FloatArray


def permutation_p(observed: float, drawn_R: FloatArray) -> float:
    """The share of data, as they are and drawn, whose statistic is as low as that of the data as they are.

    Exact where both were drawn in the same way (Phipson & Smyth 2010, doi:10.2202/1544-6115.1585): P(p ≤ a) ≤ a.
    """
    return float((1 + int((drawn_R <= observed).sum())) / (1 + len(drawn_R)))


def fisher(ps: Sequence[float]) -> float:
    """One p of independent ones: −2 Σ log p is χ² with twice as many degrees of freedom (Fisher 1932); NaN of none.

    Of p-values with few steps it is too large rather than too small.
    """
    known = np.array([p for p in ps if math.isfinite(p)])
    return float(chdtrc(2 * len(known), -2 * np.log(known).sum())) if len(known) else NAN
