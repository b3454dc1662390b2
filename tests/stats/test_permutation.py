"""Exact p-values under what they assume, and Fisher's combination against SciPy's."""

import math

import numpy as np
import pytest
from scipy import stats

from centaurlab.stats.permutation import fisher, permutation_p


def test_the_rank_of_data_drawn_like_the_others_is_uniform() -> None:
    draw = np.random.default_rng(0)
    ps = np.array([permutation_p(values[0], values[1:]) for values in draw.normal(size=(4000, 20))])
    counts = np.bincount(np.round(ps * 20).astype(int), minlength=21)[1:]
    assert stats.chisquare(counts).pvalue > 0.01


def test_ties_count_against_the_data_as_they_are() -> None:
    assert permutation_p(1.0, np.array([1.0, 2.0, 0.5])) == 3 / 4
    assert permutation_p(0.0, np.array([1.0, 2.0, 0.5])) == 1 / 4


def test_fishers_method_is_scipys() -> None:
    ps = [0.03, 0.2, 0.7, 0.04]
    assert fisher(ps) == pytest.approx(stats.combine_pvalues(ps, method="fisher").pvalue)
    assert math.isnan(fisher([]))
