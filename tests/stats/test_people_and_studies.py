"""How consistent a difference is from person to person, and how sure of new people: by scipy and by hand."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from centaurlab.stats.bootstrap import standard_error
from helpers.simulated_scores import effects_of, simulated, study

NLLS = st.floats(0, 30, width=32)
RESPONSES = st.lists(st.tuples(st.integers(0, 5), NLLS, NLLS), min_size=2, max_size=60)


@settings(max_examples=150, deadline=None)
@given(RESPONSES)
def test_paired_d_is_a_one_sample_t_over_participants(rows: list[tuple[int, float, float]]) -> None:
    participants, base, post = (np.array(column) for column in zip(*rows, strict=True))
    differences = [np.mean(post[participants == p]) - np.mean(base[participants == p]) for p in np.unique(participants)]
    effect = effects_of(study("s", participants.tolist(), base.tolist(), post.tolist()), n_resamples=5)["s"]
    if len(differences) < 2 or np.ptp(differences) == 0:
        assert math.isnan(effect.d_paired_raw)
    elif np.std(differences) > 1e-5:
        t = stats.ttest_1samp(differences, 0).statistic
        assert effect.d_paired_raw == pytest.approx(t / math.sqrt(len(differences)), rel=1e-8, abs=1e-8)


def test_the_interval_of_a_studys_paired_d_is_near_that_of_the_noncentral_t() -> None:
    """With many people, whose differences are normal, the exact one (Steiger & Fouladi 1997)."""
    rng = np.random.default_rng(3)
    n = 200
    effect = effects_of(study("s", range(n), np.zeros(n).tolist(), rng.normal(0.8, 1, n).tolist()), n_resamples=5000)
    found = effect["s"].d_paired
    for bound, tail in ((found.low, 0.975), (found.high, 0.025)):
        assert stats.nct.cdf(found.value * math.sqrt(n), n - 1, bound * math.sqrt(n)) == pytest.approx(tail, abs=0.012)


def test_paired_d_over_studies_is_that_of_a_t_test_on_the_corrected_values() -> None:
    studies = [simulated("s", 1, n_participants=4), simulated("t", 2, n_participants=10), simulated("u", 3, 20)]
    effects = effects_of(*studies, simulated("v", 4, n_participants=2), n_resamples=20_000)
    # Hedges (1981), table of J: 3, 9 and 19 degrees of freedom
    corrected = [j * effects[name].d_paired_raw for j, name in ((0.7236, "s"), (0.9139, "t"), (0.9599, "u"))]
    assert [effects[name].d_paired.value for name in "stu"] == pytest.approx(corrected, abs=1e-3)
    oracle = stats.ttest_1samp(corrected, 0).confidence_interval()
    overall = effects["all studies"].d_paired
    assert overall.value == pytest.approx(np.mean(corrected), abs=1e-3)
    assert effects["all studies"].d_paired_raw == pytest.approx(np.mean([effects[n].d_paired_raw for n in "stuv"]))
    assert overall.low == pytest.approx(oracle.low, abs=0.03 * (oracle.high - oracle.low))
    assert overall.high == pytest.approx(oracle.high, abs=0.03 * (oracle.high - oracle.low))


@settings(max_examples=60, deadline=None)
@given(st.integers(3, 6), st.integers(2, 12), st.floats(0, 3), st.integers(0, 10_000))
def test_a_paired_d_lies_in_its_own_interval(n_people: int, n_studies: int, shift: float, seed: int) -> None:
    studies = [simulated(f"s{i}", 100 * seed + i, n_people, shift=shift) for i in range(n_studies)]
    for effect in effects_of(*studies, n_resamples=100).values():
        assert effect.d_paired.low <= effect.d_paired.value <= effect.d_paired.high


def test_these_studies_and_new_people_is_a_welch_like_sum_of_the_studies_variances() -> None:
    """With people who answer equally often, by the formulas of a t test and of Satterthwaite."""
    studies = [simulated(f"s{i}", i, n_participants=n) for i, n in enumerate((5, 9, 16))]
    means, variances, freedom = [], [], []
    for scores, n in zip(studies, (5, 9, 16), strict=True):
        differences = (scores.nll_post_R - scores.nll_base_R).astype(float).reshape(n, -1).mean(axis=1)
        means.append(differences.mean())
        variances.append(differences.var(ddof=1) / n / 9)
        freedom.append(n - 1)
    error = math.sqrt(sum(variances))
    df = sum(variances) ** 2 / sum(v**2 / f for v, f in zip(variances, freedom, strict=True))
    half = float(stats.t.ppf(0.975, df)) * error
    found = effects_of(*studies, n_resamples=20_000)["all studies"].nll_difference_these
    assert found.value == pytest.approx(np.mean(means))
    assert (found.low, found.high) == pytest.approx((found.value - half, found.value + half), abs=0.06 * half)


def test_of_one_study_these_people_are_all_there_is() -> None:
    effects = effects_of(simulated("s", 3))
    assert effects["all studies"].d_these == effects["s"].d == effects["s"].d_these
    assert math.isnan(effects["all studies"].d.low)


def test_a_study_of_one_person_is_as_unsure_as_one_person_of_the_others() -> None:
    """Formula by hand: n times the variance of the mean of n people is that of one."""
    several, one = simulated("s", 1, n_participants=9), simulated("t", 2, n_participants=1)
    effects = effects_of(several, one, n_resamples=5000)
    half = (effects["s"].d.high - effects["s"].d.low) / 2
    error = half / float(stats.t.ppf(0.975, 8))
    expected = float(stats.t.ppf(0.975, 8)) * math.sqrt(error**2 / 4 + 9 * error**2 / 4)
    found = effects["all studies"].d_these
    assert (found.high - found.low) / 2 == pytest.approx(expected)


def test_q_is_that_of_scipy_from_the_p_of_each_study() -> None:
    studies = [simulated(f"s{i}", i, shift=0.1 * i) for i in range(6)]
    effects = effects_of(*studies, n_resamples=500)
    p = []
    for i in range(6):
        d = effects[f"s{i}"].d
        error = (d.high - d.low) / 2 / stats.t.ppf(0.975, 11)
        p.append(2 * stats.t.sf(abs(d.value) / error, 11))
    assert [effects[f"s{i}"].q for i in range(6)] == pytest.approx(stats.false_discovery_control(p))
    assert math.isnan(effects["all studies"].q)


def test_people_who_answered_far_more_often_count_for_few() -> None:
    """By hand: weights 4, 1, 1 have shares 2/3, 1/6, 1/6; Σ w² = 1/2, Σ w⁴ = 258/1296; G = 1.256, and at least two."""
    resampled = np.array([1.0, 2.0, 3.0])
    assert standard_error(resampled, np.array([4.0, 1.0, 1.0]))[1] == 1
    # 2, 1, 1, 1, 1: shares 1/3 and four of 1/6; Σ w² = 2/9, Σ w⁴ = 5/324
    assert standard_error(resampled, np.array([2.0, 1, 1, 1, 1]))[1] == pytest.approx((2 / 9) ** 2 / (5 / 324) - 1)
