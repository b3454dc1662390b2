"""An estimate: a value with its 95 % interval, and what may be said by it."""

import math
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

CONFIDENCE = 0.95
NAN = float("nan")


@dataclass(frozen=True)
class Estimate:
    """A value and its 95 % interval; NaN where not defined.

    ``p``: two-sided, of zero, where it was computed; ``n_units``: how many were drawn for the interval, 0 where that is
    not known. They do not tell estimates apart, as the interval does.
    """

    value: float
    low: float = NAN
    high: float = NAN
    p: float = field(default=NAN, compare=False, repr=False)
    n_units: int = field(default=0, compare=False, repr=False, kw_only=True)

    @property
    def is_defined(self) -> bool:
        """Whether there is a value."""
        return math.isfinite(self.value)

    @property
    def has_interval(self) -> bool:
        """Whether there is an interval: it has two ends."""
        return math.isfinite(self.low) and math.isfinite(self.high)

    @property
    def excludes_zero(self) -> bool:
        """Whether there is an interval and all of it lies on one side of zero: only then may a winner be named."""
        return self.has_interval and not self.low <= 0 <= self.high

    def __neg__(self) -> "Estimate":
        """The same of a difference that is taken the other way round."""
        return Estimate(-self.value, -self.high, -self.low, self.p, n_units=self.n_units)


UNKNOWN = Estimate(NAN)
"""No value, no interval."""


@dataclass(frozen=True)
class Accuracy:
    """Share of ``n`` items that are solved, with a 95 % Wilson interval over items of these templates."""

    n: int
    value: float
    low: float
    high: float

    def as_estimate(self) -> Estimate:
        """The share and its interval."""
        return Estimate(self.value, self.low, self.high)
