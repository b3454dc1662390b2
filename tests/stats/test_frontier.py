"""How sure a frontier is: by counting in a few resamples, and near certainty where models differ far."""

import numpy as np
import pytest

from centaurlab.stats.contrast import Contrast
from centaurlab.stats.effects import estimate_effects, joint_draws
from centaurlab.stats.frontier import share_on_frontier
from centaurlab.stats.sums import ComparedPair, sum_study
from helpers.simulated_scores import simulated


def test_a_model_that_is_far_better_in_both_is_alone_on_the_frontier() -> None:
    rng = np.random.default_rng(0)
    d_MB = np.array([[0.0], [1.0], [-1.0]]) + rng.normal(0, 0.1, (3, 500))
    solved_MI = rng.random((3, 200)) < np.array([[0.5], [0.5], [0.9]])
    assert share_on_frontier(d_MB, solved_MI).tolist() == [0, 0, 1]


def test_two_equal_models_share_it_and_ties_do_not_dominate() -> None:
    solved_MI = np.array([[True, False], [True, False]])
    assert share_on_frontier(np.zeros((2, 10)), solved_MI).tolist() == [1, 1]
    # in half of the resamples the first is nearer to people, and both are equal assistants
    d_MB = np.array([[0.0, 0.0, 1.0, 1.0], [0.5, 0.5, 0.5, 0.5]])
    assert share_on_frontier(d_MB, solved_MI).tolist() == [0.5, 0.5]


def test_resamples_in_which_a_model_has_no_d_say_nothing() -> None:
    solved_MI = np.array([[True, False], [True, False]])
    d_MB = np.array([[0.0, 0.0, 0.0], [0.5, np.nan, -0.5]])
    assert share_on_frontier(d_MB, solved_MI).tolist() == [0.5, 0.5]
    assert np.isnan(share_on_frontier(d_MB[:, 1:2], solved_MI)).all()


@pytest.mark.parametrize("n_studies", [1, 6])
def test_joint_draws_spread_as_the_interval_says(n_studies: int) -> None:
    pairs = [
        ComparedPair(Contrast(f"m{m}", "b"), [sum_study(simulated(f"s{i}", 9 * m + i)) for i in range(n_studies)])
        for m in range(2)
    ]
    draws = joint_draws(pairs, 4000)
    for m in range(2):
        effect = estimate_effects([pairs[m]], 4000)[0]
        of = effect.d if n_studies > 1 else effect.d_these
        quantile = {1: 2.201, 6: 2.571}[n_studies]  # t(0.975) of 11 people's and 5 studies' degrees of freedom
        assert draws[m].std(ddof=1) == pytest.approx((of.high - of.low) / 2 / quantile, rel=0.05)
        assert draws[m].mean() == pytest.approx(of.value, abs=0.05)
