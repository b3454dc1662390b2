"""Scales on which an interval is found: a quantity with bounds is measured where it has none, and read back.

An NLL cannot be below zero nor a share outside 0 to 1, and yet estimate ± t · standard error of few people can. So the
interval is that of log x, or of log(x / (1 - x)), whose standard errors are those of x times the derivative (the delta
method; Agresti 2013, Categorical Data Analysis, section 16.1), and its ends are read back.
"""

import math
from dataclasses import dataclass

from scipy.special import expit, logit

from centaurlab.stats.estimate import CONFIDENCE


@dataclass(frozen=True)
class Scale:
    """No bounds at all. ``interval`` gives the two ends around ``value``, where ``half`` is t times standard error."""

    def interval(self, value: float, half: float, n_units: int) -> tuple[float, float]:
        """``value ± half``."""
        return value - half, value + half


@dataclass(frozen=True)
class _Positive(Scale):
    def interval(self, value: float, half: float, n_units: int) -> tuple[float, float]:
        """``value`` times and divided by e to the power of ``half / value``."""
        if value <= 0:
            return value, max(value + half, 0.0)
        with_room = min(half / value, _MOST)
        return value * math.exp(-with_room), value * math.exp(with_room)


@dataclass(frozen=True)
class _Share(Scale):
    def interval(self, value: float, half: float, n_units: int) -> tuple[float, float]:
        """Where ``n_units`` do not differ, what as many could still hide (of all or none: Clopper & Pearson 1934).

        An end that is a thousand times nearer to a bound than the value is the bound: two people may say no more.
        """
        if not 0 < value < 1 or half <= _SAME:
            hidden = 1 - ((1 - CONFIDENCE) / 2) ** (1 / n_units)
            return max(value - hidden, 0.0), min(value + hidden, 1.0)
        on_scale, reach = float(logit(value)), half / (value * (1 - value))
        low, above = float(expit(on_scale - reach)), float(expit(-on_scale - reach))
        return low if low > value / _FAR else 0.0, 1 - above if above > (1 - value) / _FAR else 1.0


PLAIN = Scale()
POSITIVE: Scale = _Positive()
"""What cannot be below zero, such as an NLL."""
SHARE: Scale = _Share()
"""What lies between 0 and 1, such as an accuracy."""

_FAR = 1000
_SAME = 1e-12
"""What sums of floats leave of no difference."""
_MOST = 50.0
"""Of the exponent: 5e21 times the value says no less than infinity."""
