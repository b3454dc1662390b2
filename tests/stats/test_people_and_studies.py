"""How consistent a difference is from person to person, and how sure of new people: by scipy and by hand."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from centaurlab.data.transcripts import SessionKey
from centaurlab.results.joined import ResponseDetails, StudyScores
from centaurlab.stats.bootstrap import standard_error
from centaurlab.stats.contrast import Contrast
from centaurlab.stats.effects import cut_alike, estimate_effects
from centaurlab.stats.sums import ComparedPair, sum_study
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


def with_items(name: str, seed: int, first_unmatched: int | None = None) -> StudyScores:
    """Six people who all meet the same eight items."""
    rng = np.random.default_rng(seed)
    person_R, item_R = np.repeat(np.arange(6), 8), np.tile(np.arange(1, 9), 6)
    second_R = rng.gamma(2, 0.5, len(person_R))
    first_R = second_R + rng.normal(0.2, 0.3, 6)[person_R] + rng.normal(0, 0.3, 9)[item_R] + rng.normal(0, 0.1, 48)
    sessions, nothing_R = [SessionKey(name, "e", str(p)) for p in range(6)], np.zeros(48, np.int64)
    details = ResponseDetails(sessions, person_R, item_R - 1, nothing_R.astype(bool), nothing_R, item_R)
    nlls = (second_R.astype(np.float32), first_R.astype(np.float32))
    return StudyScores(name, person_R, *nlls, 5, 0, details, first_unmatched)


def test_an_average_over_pairs_has_the_items_that_all_pairs_met() -> None:
    """By loops over people and items: the mean change of the two pairs, clustered both ways."""
    scores = [with_items("s", seed) for seed in (1, 2)]
    pairs = [ComparedPair(Contrast(f"m{m}", "b"), [sum_study(one)]) for m, one in enumerate(scores)]
    average = next(e for e in estimate_effects(pairs, 50, domains=lambda _: ()) if e.level == "study")
    changes = [(one.nll_post_R.astype(float) - one.nll_base_R).reshape(6, 8) for one in scores]
    mean = np.mean(changes, axis=0)
    of_people, of_items = (mean - mean.mean()).sum(axis=1) / 48, (mean - mean.mean()).sum(axis=0) / 48
    alone = sum(float(((one - one.mean()) ** 2).sum()) / 48**2 for one in changes) / 4  # as if pairs were independent
    variance = (of_people**2).sum() * 6 / 5 + (of_items**2).sum() * 8 / 7 - alone * 48 / 47
    half = stats.t.ppf(0.975, 5) * math.sqrt(variance)
    found = average.nll_difference_items
    assert found.value == pytest.approx(mean.mean())
    assert (found.low, found.high) == pytest.approx((mean.mean() - half, mean.mean() + half), rel=1e-5)
    assert average.d_items.low < average.d.value < average.d_items.high


def test_d_where_all_sessions_end_before_what_one_side_lacks() -> None:
    pairs = [ComparedPair(Contrast("m", "b"), [sum_study(with_items("s", 1, 5)), sum_study(with_items("t", 2))])]
    alike = cut_alike(pairs, 50)
    assert alike is not None
    expected = []
    for one, n in ((with_items("s", 1), 5), (with_items("t", 2), 8)):
        second, first = (nlls.astype(float).reshape(6, 8)[:, :n] for nlls in (one.nll_base_R, one.nll_post_R))
        variance = (second.var(ddof=1) + first.var(ddof=1)) / 2
        expected.append((first.mean() - second.mean()) / math.sqrt(variance))
    assert alike.d.value == pytest.approx(np.mean(expected))
    assert alike.n_responses == 6 * (5 + 8)
    assert cut_alike([ComparedPair(Contrast("m", "b"), [sum_study(with_items("t", 2))])], 50) is None
