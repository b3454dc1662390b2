"""A straight line through few points, each of them one study: the slope with its interval."""

from collections.abc import Sequence

import numpy as np

from centaurlab.stats.bootstrap import Spread
from centaurlab.stats.estimate import UNKNOWN, Estimate

FEWEST = 5
"""Studies that a slope over studies needs: three degrees of freedom."""


def slope_over_studies(x: Sequence[float], y: Sequence[float]) -> Estimate:
    """Least squares: the change of y per unit of x, with Student's t of n − 2 degrees of freedom.

    UNKNOWN with fewer than ``FEWEST`` studies of which both are known, or where all have the same x.
    """
    known = np.isfinite(x) & np.isfinite(y)
    x_S, y_S = np.array(x, np.float64)[known], np.array(y, np.float64)[known]
    if len(x_S) < FEWEST or np.ptp(x_S) == 0:
        return UNKNOWN
    from_mean_S = x_S - x_S.mean()
    squares = float(from_mean_S @ from_mean_S)
    slope = float(from_mean_S @ y_S) / squares
    residual_S = y_S - y_S.mean() - slope * from_mean_S
    freedom = len(x_S) - 2
    error = float(residual_S @ residual_S / freedom / squares) ** 0.5
    return Spread(slope, error, freedom, len(x_S)).estimate()
