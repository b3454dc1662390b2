"""What is published of how to tell from probabilities of tokens alone that a text was trained on; no test of anything.

Shapes: N tokens.
"""

import math
from collections.abc import Sequence

import numpy as np

from centaurlab.stats.estimate import NAN, FloatArray

SHARE = 0.2
"""Of the tokens, the least likely: k of Min-K%++, as in the paper's main results."""


def min_k_plus_plus(z_N: FloatArray, share: float = SHARE) -> float:
    """Mean of the lowest ``share`` of z, at least one; NaN of none. Higher: likelier to have been trained on.

    ``z_N``: by how many standard deviations of log p the log-probability of each token is above its expectation, both
    under the model's own distribution of the next token.

    References
    ----------
    Zhang et al. (2024), arXiv:2404.02936, equations 3 and 4.
    """
    if not len(z_N):
        return NAN
    return float(np.sort(z_N)[: max(1, int(share * len(z_N)))].mean())


def log_prober(log_p_N: Sequence[float] | FloatArray) -> tuple[float, float]:
    """A (nats) and B (per token) of least squares for the cumulative log-probability of a text,

        Σ_{m ≤ n} log p_m ≈ −A (1 − exp(−B n)).

    A text known by heart levels off after a few tokens: its B is high. NaN of fewer than three tokens, and where no
    such curve is found.

    References
    ----------
    Yax, Oudeyer & Palminteri (2024), arXiv:2408.14352.
    """
    from scipy.optimize import curve_fit  # here: --help would wait for it

    total_N = np.cumsum(np.asarray(log_p_N, np.float64))
    n_N = np.arange(1, len(total_N) + 1, dtype=np.float64)
    if len(n_N) < 3 or not total_N[-1] < 0:
        return NAN, NAN

    def curve(n: FloatArray, log_a: float, log_b: float) -> FloatArray:
        values: FloatArray = math.e**log_a * np.expm1(-(math.e**log_b) * n)
        return values

    start = (math.log(-total_N[-1]), math.log(2 / len(n_N)))
    try:
        (log_a, log_b), _ = curve_fit(curve, n_N, total_N, p0=start, bounds=(-20, 20))
    except RuntimeError:  # no optimum was found
        return NAN, NAN
    return math.exp(log_a), math.exp(log_b)
