"""A slope over studies is scipy's, and needs enough of them."""

import numpy as np
import pytest
from scipy import stats

from centaurlab.stats.regression import FEWEST, slope_over_studies
from helpers.rates import Rates


def test_it_is_that_of_scipy_without_what_is_not_known() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.random(8), rng.normal(size=8)
    found, oracle = slope_over_studies([*x, 0.5], [*y, float("nan")]), stats.linregress(x, y)
    half = stats.t.ppf(0.975, 6) * oracle.stderr
    assert (found.value, found.low, found.high) == pytest.approx(
        (oracle.slope, oracle.slope - half, oracle.slope + half)
    )
    assert found.p == pytest.approx(oracle.pvalue)


def test_few_studies_and_such_as_are_all_alike_have_none() -> None:
    assert not slope_over_studies(range(FEWEST - 1), range(FEWEST - 1)).is_defined
    assert not slope_over_studies([0.3] * 9, range(9)).is_defined


@pytest.mark.parametrize("n_studies", [5, 12])
def test_intervals_hold_the_truth(n_studies: int) -> None:
    """Studies differ beyond what similarity says, and are known differently well."""
    rng = np.random.default_rng(n_studies)
    rates = Rates()
    for _ in range(800):
        x = rng.random(n_studies)
        y = 0.1 + 0.5 * x + rng.normal(0, 0.2, n_studies) + rng.normal(0, rng.uniform(0.05, 0.2, n_studies))
        rates.add("slope", slope_over_studies(x, y), 0.5)
    rates.check()
