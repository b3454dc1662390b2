"""Intervals of bounded quantities: within the bounds, and near the plain ones where these are far away."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from centaurlab.stats.scale import PLAIN, POSITIVE, SHARE

HALF = st.floats(0, 1e6)


@given(st.floats(1e-9, 1e6), HALF)
def test_an_nll_is_never_below_zero(value: float, half: float) -> None:
    low, high = POSITIVE.interval(value, half, 3)
    assert 0 < low <= value <= high


@given(st.floats(0, 1), HALF)
def test_a_share_is_between_zero_and_one(value: float, half: float) -> None:
    low, high = SHARE.interval(value, half, 3)
    assert 0 <= low <= value + 1e-12
    assert value - 1e-12 <= high <= 1


def test_far_from_the_bounds_they_are_the_plain_ones() -> None:
    for scale, value in ((POSITIVE, 2.0), (SHARE, 0.5)):
        assert scale.interval(value, 1e-3, 9) == pytest.approx(PLAIN.interval(value, 1e-3, 9), rel=1e-5)


def test_by_hand() -> None:
    assert POSITIVE.interval(2.0, 1.0, 5) == pytest.approx((2 * math.exp(-0.5), 2 * math.exp(0.5)))
    # log-odds of 0.8: log 4; the derivative is 1 / 0.16, so that 0.16 is one unit of log-odds
    odds = (4 / math.e, 4 * math.e)
    assert SHARE.interval(0.8, 0.16, 5) == pytest.approx([one / (1 + one) for one in odds])


def test_units_that_do_not_differ_may_hide_others() -> None:
    """All responses of one study are worse, all of another better: the mean of the two is not known to be a half."""
    low, high = SHARE.interval(0.5, 0.0, 12)
    hidden = stats.binomtest(0, 12).proportion_ci(0.95, method="exact").high
    assert (low, high) == pytest.approx((0.5 - hidden, 0.5 + hidden))


def test_a_share_of_which_two_people_say_nothing_reads_zero_to_one() -> None:
    assert SHARE.interval(0.4, 0.24 * 20, 2) == (0.0, 1.0)
    assert SHARE.interval(2e-4, 1e-4, 30)[0] > 0


@pytest.mark.parametrize("n", [2, 5, 40])
def test_where_all_are_right_it_is_what_as_many_could_hide(n: int) -> None:
    exact = stats.binomtest(n, n).proportion_ci(0.95, method="exact")
    assert SHARE.interval(1.0, 0.0, n) == pytest.approx((exact.low, exact.high))
    assert SHARE.interval(0.0, 0.0, n) == pytest.approx((1 - exact.high, 1 - exact.low))
