"""Many tests at once: which of a table's studies differ, with few false ones among those that are named.

Of 40 studies without any difference two intervals exclude zero by chance. A q below .05 keeps the expected share of
false ones among those named below 5 % (Benjamini & Hochberg 1995, doi:10.1111/j.2517-6161.1995.tb02031.x).
"""

from collections.abc import Sequence

import numpy as np

from centaurlab.stats.estimate import NAN, Estimate

FALSE_SHARE = 0.05
"""Studies with a q below this are marked as different."""


def q_values(tested: Sequence[Estimate]) -> list[float]:
    """q of each estimate's difference from zero, over those of which it can be told; NaN elsewhere."""
    # Here and not above: scipy.stats takes a second to import, and only tables of studies need it.
    from scipy.stats import false_discovery_control

    p_S = np.array([estimate.p for estimate in tested])
    q_S = np.full(len(p_S), NAN)
    has_p_S = np.isfinite(p_S)
    if has_p_S.any():
        q_S[has_p_S] = false_discovery_control(p_S[has_p_S])
    return [float(q) for q in q_S]
