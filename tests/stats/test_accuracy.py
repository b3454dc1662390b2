"""An accuracy and its interval by Wilson's formula."""

import pytest

from centaurlab.stats.accuracy import accuracy


def test_accuracy_and_wilson_interval() -> None:
    """Wilson's interval by its formula, with z = 1.959964."""
    z, n, p = 1.959964, 10, 0.7
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * (p * (1 - p) / n + z * z / (4 * n * n)) ** 0.5
    found = accuracy([True] * 7 + [False] * 3)
    assert (found.n, found.value) == (10, 0.7)
    assert (found.low, found.high) == pytest.approx((centre - half, centre + half), abs=1e-5)
