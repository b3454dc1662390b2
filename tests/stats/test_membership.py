"""Min-K%++ and LogProber against what they are by hand."""

import math

import numpy as np
import pytest

from centaurlab.stats.membership import log_prober, min_k_plus_plus


def test_min_k_is_the_mean_of_the_lowest_fifth_and_of_one_token_at_least() -> None:
    z = np.array([3.0, -1.0, 0.5, -2.0, 1.0, 2.0, 0.0, 4.0, 5.0, 6.0, 7.0])
    assert min_k_plus_plus(z) == pytest.approx((-2.0 - 1.0) / 2)
    assert min_k_plus_plus(np.array([1.0, 2.0])) == 1.0
    assert math.isnan(min_k_plus_plus(np.array([])))


def test_logprober_finds_the_curve_again_and_tells_who_levels_off() -> None:
    n = np.arange(41)
    total = -30.0 * (1 - np.exp(-0.25 * n))
    assert log_prober(np.diff(total)) == (pytest.approx(30.0, rel=1e-4), pytest.approx(0.25, rel=1e-4))
    by_heart = log_prober([-8.0, -4.0, -1.0, *[-0.01] * 40])
    never_seen = log_prober([-3.0, -2.5, -3.5, *[-3.0] * 40])
    assert by_heart[1] > 10 * never_seen[1]
    assert all(map(math.isnan, log_prober([-1.0, -2.0])))
