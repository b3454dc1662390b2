"""A share of solved items with its interval."""

from collections.abc import Sequence

from centaurlab.stats.estimate import CONFIDENCE, Accuracy


def accuracy(solved: Sequence[bool]) -> Accuracy:
    """Share of True and its Wilson interval (Wilson 1927, doi:10.1080/01621459.1927.10502953)."""
    from scipy.stats import binomtest  # here: --help would wait for it

    interval = binomtest(sum(solved), len(solved)).proportion_ci(CONFIDENCE, method="wilson")
    return Accuracy(len(solved), sum(solved) / len(solved), float(interval.low), float(interval.high))
