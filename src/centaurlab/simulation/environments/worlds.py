"""How rewards change while somebody learns: walks, and reversals.

Shapes: T trials, O options.
"""

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]


def walk(rng: np.random.Generator, n_trials: int, n_options: int, low: float, high: float, sd: float) -> FloatArray:
    """Gaussian random walks (T, O) between ``low`` and ``high``, which throw them back; they begin anywhere there."""
    if low == high:
        return np.full((n_trials, n_options), float(low))
    value_O = rng.uniform(low, high, n_options)
    walked_TO = np.empty((n_trials, n_options))
    for trial in range(n_trials):
        walked_TO[trial] = value_O
        # Folded at both bounds: a step may be wider than what lies between them.
        beyond_O = (value_O + rng.normal(0, sd, n_options) - low) % (2 * (high - low))
        value_O = low + np.minimum(beyond_O, 2 * (high - low) - beyond_O)
    return walked_TO


def reversals(
    rng: np.random.Generator, n_trials: int, n_options: int, high: float, low: float, hazard: float
) -> FloatArray:
    """One option is the good one (T, O); after a trial another one takes its place with probability ``hazard``."""
    good = int(rng.integers(n_options))
    reversed_TO = np.full((n_trials, n_options), low)
    for trial in range(n_trials):
        reversed_TO[trial, good] = high
        if rng.random() < hazard:
            good = (good + 1 + int(rng.integers(n_options - 1))) % n_options
    return reversed_TO
