"""What other work sums up simulated behaviour by, against hand-computed values, quadrature and SciPy."""

import numpy as np
import pytest
from scipy import integrate, stats

from centaurlab.stats.agreement import (
    agreement_of_tests,
    concordance,
    hedges_g,
    jensen_shannon,
    probability_of_effect,
    rank_agreement,
    simbench_score,
)

ITEM_C = np.array([0, 0, 1, 1])


def test_simbench_is_a_hundred_for_people_and_zero_for_equal_shares() -> None:
    people = np.array([9.0, 1.0, 3.0, 7.0])
    assert simbench_score(people, people * 5, ITEM_C) == 100
    assert simbench_score(people, np.ones(4), ITEM_C) == pytest.approx(0)
    # TVDs 0.4 and 0.1 of the model, 0.4 and 0.2 of equal shares
    assert simbench_score(people, np.array([5.0, 5.0, 4.0, 6.0]), ITEM_C) == pytest.approx(100 * (1 - 0.5 / 0.6))


def test_divergence_of_equal_distributions_is_zero_on_average_over_draws() -> None:
    rng = np.random.default_rng(0)
    share = np.array([0.5, 0.3, 0.2])
    found = [jensen_shannon(*rng.multinomial(60, share, 2).astype(float), np.zeros(3, int)) for _ in range(800)]
    assert abs(np.mean(found)) < 4 * np.std(found) / np.sqrt(800) + 2e-4
    many = jensen_shannon(np.array([6e6, 4e6]), np.array([1e6, 9e6]), np.zeros(2, int))
    p, q = np.array([0.6, 0.4]), np.array([0.1, 0.9])
    assert many == pytest.approx((stats.entropy(p, (p + q) / 2) + stats.entropy(q, (p + q) / 2)) / 2, abs=1e-5)


def test_g_is_the_mean_over_the_sd_a_little_smaller() -> None:
    assert hedges_g(np.array([1.0, 2.0, 3.0, np.nan])) == pytest.approx(2 * (1 - 3 / 7))
    for value in (0.1, 0.3):  # the SD of 0.1 three times is no zero
        assert np.isnan(hedges_g(np.full(3, value)))
        assert np.isnan(probability_of_effect(np.full(6, value)))


def test_the_bayes_factor_is_the_ratio_of_marginal_likelihoods() -> None:
    """By another route: noncentral t densities over a Cauchy prior of the standardised effect."""
    value_N = np.array([0.2, 0.9, -0.3, 0.7, 0.5, 0.1, 0.8])
    n, t = len(value_N), stats.ttest_1samp(value_N, 0).statistic
    prior = stats.cauchy(scale=np.sqrt(2) / 2)
    marginal = integrate.quad(lambda d: stats.nct.pdf(t, n - 1, d * np.sqrt(n)) * prior.pdf(d), -8, 8, limit=200)[0]
    factor = marginal / stats.t.pdf(t, n - 1)
    assert probability_of_effect(value_N) == pytest.approx(factor / (1 + factor), rel=2e-3)
    assert agreement_of_tests(value_N, value_N) == pytest.approx(
        (factor / (1 + factor)) ** 2 + (1 / (1 + factor)) ** 2, rel=4e-3
    )
    assert probability_of_effect(np.linspace(5, 6, 400)) == pytest.approx(1)


def test_concordance_sees_shrinkage_that_correlation_does_not() -> None:
    effects = np.array([0.1, 0.5, 0.9, -0.4])
    assert concordance(effects, effects) == pytest.approx(1)
    assert concordance(effects, effects / 2) < 0.9
    assert np.isnan(concordance(effects[:2], effects[:2]))


def test_ranks_agree_within_studies_whatever_their_level() -> None:
    nll = np.array([[1.0, 2.0, 3.0], [11.0, 12.0, 13.0], [5.0, 6.0, 7.0]])
    assert rank_agreement(nll, nll**2, 200, 0).value == pytest.approx(1)
    assert rank_agreement(nll, -nll, 200, 0).value == pytest.approx(-1)
    assert rank_agreement(nll, nll**2, 2000, 0).p == pytest.approx(2 / 6**3, abs=0.01)  # all of three orders, or none
    mixed = nll.copy()
    mixed[0] = mixed[0, ::-1]
    found = rank_agreement(nll, mixed, 500, 0)
    assert found.value == pytest.approx(1 / 3)
    assert found.low <= found.value <= found.high


def test_two_models_in_three_studies_do_not_tell_whether_measures_agree() -> None:
    """One of four coins that are thrown three times falls alike, and resamples of its throws do not differ."""
    nll = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    found = rank_agreement(nll, nll, 2000, 0)
    assert (found.low, found.high) == (1, 1)
    assert found.p == pytest.approx(1 / 4, abs=0.03)
    assert rank_agreement(np.tile(nll, (3, 1)), np.tile(nll, (3, 1)), 2000, 0).p < 0.02
