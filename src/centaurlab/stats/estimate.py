"""An estimate: a value with its 95 % interval."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest


@dataclass(frozen=True)
class Accuracy:
    """Share of ``n`` items that are solved, with a 95 % Wilson interval over items of these templates."""

    n: int
    value: float
    low: float
    high: float


def accuracy(solved: Sequence[bool]) -> Accuracy:
    """Share of True and its Wilson interval (Wilson 1927, doi:10.1080/01621459.1927.10502953)."""
    interval = binomtest(sum(solved), len(solved)).proportion_ci(CONFIDENCE, method="wilson")
    return Accuracy(len(solved), sum(solved) / len(solved), float(interval.low), float(interval.high))


FloatArray = npt.NDArray[np.float64]

CONFIDENCE = 0.95

NAN = float("nan")
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Estimate:
    """A value and its 95 % interval; NaN where not defined."""

    value: float
    low: float = NAN
    high: float = NAN
