"""Effects against brute-force loops over responses, hand-computed values, and simulated people."""

import math
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from centaurlab.results.joined import StudyScores
from centaurlab.stats.bootstrap import Spread, resampled_means, resampled_sums, standard_error
from centaurlab.stats.contrast import Contrast
from centaurlab.stats.effect_table import read_effects
from centaurlab.stats.effects import estimate_effects
from centaurlab.stats.sums import ComparedPair, leave_one_out, sum_study
from centaurlab.stats.words import verdict_of
from helpers.effect_rows import write_effects
from helpers.simulated_scores import N_RESAMPLES, effects_of, simulated, study


def slow_d(base: Sequence[float], post: Sequence[float]) -> float:
    """Cohen's d, one response at a time."""
    means, variances = [], []
    for values in (base, post):
        mean = math.fsum(values) / len(values)
        means.append(mean)
        variances.append(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))
    return (means[1] - means[0]) / math.sqrt((variances[0] + variances[1]) / 2)


NLLS = st.floats(0, 30, width=32)
RESPONSES = st.lists(st.tuples(st.integers(0, 5), NLLS, NLLS), min_size=2, max_size=60)


def test_d_by_hand() -> None:
    # base 1, 2, 3 (mean 2, variance 1) and post 2, 4, 6 (mean 4, variance 4): (4 - 2) / sqrt(2.5)
    effect = effects_of(study("s", [0, 0, 1], [1, 2, 3], [2, 4, 6]))["s"]
    assert effect.d.value == pytest.approx(2 / math.sqrt(2.5), abs=1e-12)
    # participant means of the difference: (1 + 2) / 2 and 3; mean 2.25, SD 1.5 / sqrt(2)
    assert effect.d_paired_raw == pytest.approx(2.25 / (1.5 / math.sqrt(2)), abs=1e-12)
    assert math.isnan(effect.d_paired.value)  # of two people, nothing is known of its bias
    assert effect.nll_difference.value == pytest.approx(2, abs=1e-12)
    assert (effect.nll_second, effect.nll_first) == (2, 4)
    assert (effect.n_responses, effect.n_participants, effect.n_studies) == (3, 2, 1)
    assert (effect.unmatched_second, effect.unmatched_first) == (2, 3)


@settings(max_examples=150, deadline=None)
@given(RESPONSES)
def test_d_equals_a_loop_over_responses(rows: list[tuple[int, float, float]]) -> None:
    participants, base, post = zip(*rows, strict=True)
    effect = effects_of(study("s", participants, base, post), n_resamples=5)["s"]
    if max(np.ptp(base), np.ptp(post)) == 0:
        assert math.isnan(effect.d.value)
    elif max(np.std(base), np.std(post)) > 1e-5:
        assert effect.d.value == pytest.approx(slow_d(base, post), rel=1e-9, abs=1e-9)


def test_d_without_each_participant_in_turn_is_that_of_the_others() -> None:
    scores = simulated("s", 4, n_participants=5)
    d, without_P = leave_one_out(sum_study(scores))
    assert d == pytest.approx(slow_d(scores.nll_base_R.tolist(), scores.nll_post_R.tolist()))
    for participant, without in zip(np.unique(scores.participant_R), without_P, strict=True):
        others = scores.participant_R != participant
        assert without == pytest.approx(slow_d(scores.nll_base_R[others].tolist(), scores.nll_post_R[others].tolist()))


def test_overall_and_domains_count_every_study_the_same() -> None:
    large, small, other = simulated("a1", 1, 40), simulated("a2", 2, 5, shift=1.0), simulated("b1", 3)
    effects = effects_of(large, small, other)
    d = {name: effects[name].d.value for name in ("a1", "a2", "b1")}
    assert effects["all studies"].d.value == pytest.approx(np.mean(list(d.values())))
    assert effects["domain a"].d.value == pytest.approx((d["a1"] + d["a2"]) / 2)
    assert effects["all studies"].nll_second == pytest.approx(np.mean([effects[n].nll_second for n in d]))
    assert effects["all studies"].n_responses == sum(effects[name].n_responses for name in d)
    assert effects["all studies"].unmatched_first == 9


def test_the_models_exchanged_change_only_the_sign() -> None:
    scores = simulated("s", 4)
    exchanged = StudyScores("s", scores.participant_R, scores.nll_post_R, scores.nll_base_R)
    there, back = effects_of(scores)["s"], effects_of(exchanged)["s"]
    assert there.d.value == pytest.approx(-back.d.value)
    assert there.d.low == pytest.approx(-back.d.high)
    assert there.d_paired.low == pytest.approx(-back.d_paired.high)


def test_resampled_sums_are_those_of_the_drawn_participants() -> None:
    # with powers of 100 as sums, a total spells out how often each participant was drawn
    sums = np.array([[1.0, 100.0**p] for p in range(4)])
    totals = resampled_sums(sums, 3000, np.random.default_rng(0))
    counts = np.stack([totals[:, 1] // 100**p % 100 for p in range(4)], axis=1)
    assert (totals[:, 0] == 4).all()
    assert (counts.sum(axis=1) == 4).all()
    # multinomial: each participant's count has mean 1 and variance 3 / 4
    np.testing.assert_allclose(counts.mean(axis=0), 1, atol=0.06)
    np.testing.assert_allclose(counts.var(axis=0), 0.75, atol=0.08)


def test_resampled_means_are_those_of_the_drawn_studies_that_have_a_value() -> None:
    values = np.array([[1.0, 100.0**s, np.nan if s == 1 else float(s)] for s in range(3)])
    means = resampled_means(values, 2000, np.random.default_rng(1))
    assert (means[:, 0] == 1).all()
    counts = np.stack([np.round(3 * means[:, 1]) // 100**s % 100 for s in range(3)], axis=1)
    assert (counts.sum(axis=1) == 3).all()
    with np.errstate(invalid="ignore"):
        expected = (2 * counts[:, 2]) / (counts[:, 0] + counts[:, 2])
    np.testing.assert_allclose(means[:, 2], expected)
    without_value = np.array([[np.nan], [2.0], [np.nan]])
    assert (resampled_means(without_value, 50, np.random.default_rng(1)) == 2).all()
    assert np.isnan(resampled_means(without_value[:1], 5, np.random.default_rng(1))).all()


def scaled(standard_error: float, n: int) -> float:
    """Half the width of an interval over n units."""
    return float(stats.t.ppf(0.975, n - 1)) * math.sqrt(n / (n - 1)) * standard_error


def test_a_studys_interval_is_that_of_scipys_bootstrap_over_participants() -> None:
    scores = simulated("s", 5, n_participants=30)
    rows = [np.flatnonzero(scores.participant_R == p) for p in range(30)]

    def d(drawn: np.ndarray) -> float:
        chosen = np.concatenate([rows[int(p)] for p in drawn])
        base, post = scores.nll_base_R[chosen].astype(float), scores.nll_post_R[chosen].astype(float)
        return (post.mean() - base.mean()) / math.sqrt((post.var(ddof=1) + base.var(ddof=1)) / 2)

    oracle = stats.bootstrap(
        (np.arange(30),), d, n_resamples=3000, vectorized=False, method="percentile", rng=np.random.default_rng(0)
    )
    effect = effects_of(scores, n_resamples=3000)["s"]
    assert (effect.d.low + effect.d.high) / 2 == pytest.approx(effect.d.value)
    assert (effect.d.high - effect.d.low) / 2 == pytest.approx(scaled(oracle.standard_error, 30), rel=0.06)


def test_the_interval_of_a_difference_is_that_of_a_t_test_over_people_who_answer_equally_often() -> None:
    scores = simulated("s", 5, n_participants=9)
    differences = (scores.nll_post_R - scores.nll_base_R).astype(float).reshape(9, -1).mean(axis=1)
    oracle = stats.ttest_1samp(differences, 0).confidence_interval()
    found = effects_of(scores, n_resamples=20_000)["s"].nll_difference
    assert found.low == pytest.approx(oracle.low, abs=0.03 * (oracle.high - oracle.low))
    assert found.high == pytest.approx(oracle.high, abs=0.03 * (oracle.high - oracle.low))


@pytest.mark.parametrize("n_studies", [2, 5])
def test_the_overall_interval_is_that_of_a_t_test_over_studies(n_studies: int) -> None:
    """Also where a study has one person: what its d is off by is in the spread of the studies."""
    studies = [simulated(f"s{i}", i, n_participants=1 + 5 * i, shift=0.2 * i) for i in range(n_studies)]
    effects = effects_of(*studies, n_resamples=20_000)
    oracle = stats.ttest_1samp([effects[s.study].d.value for s in studies], 0).confidence_interval()
    for name in ("all studies", "domain s"):
        found = effects[name].d
        assert found.low == pytest.approx(oracle.low, abs=0.03 * (oracle.high - oracle.low))
        assert found.high == pytest.approx(oracle.high, abs=0.03 * (oracle.high - oracle.low))


def test_the_same_seed_gives_the_same_numbers_and_another_one_does_not() -> None:
    scores = simulated("s", 6)
    assert effects_of(scores, seed=1)["s"] == effects_of(scores, seed=1)["s"]
    assert effects_of(scores, seed=1)["s"].d.low != effects_of(scores, seed=2)["s"].d.low


def test_a_studys_row_does_not_depend_on_the_other_studies() -> None:
    one, other = simulated("s", 7), simulated("t", 8)
    alone, beside = (replace(e["s"], q=0.0, nll_difference_q=0.0) for e in (effects_of(one), effects_of(other, one)))
    assert alone == beside


def test_each_q_is_over_the_studies_own_p_of_its_quantity() -> None:
    """Benjamini & Hochberg's step-up written out; one response that loses much hides a difference from d alone."""
    quiet = [simulated(name, seed, shift=shift) for seed, (name, shift) in enumerate({"r": 0.0, "s": 0.05}.items())]
    outlier = simulated("t", 5, shift=0.4)
    outlier.nll_base_R[0] = outlier.nll_post_R[0] = 300
    effects = effects_of(*quiet, outlier)
    for estimate, q in (("d", "q"), ("nll_difference", "nll_difference_q")):
        p_S = [getattr(effects[name], estimate).p for name in "rst"]
        expected = [min(3 * p / sum(other <= p for other in p_S) for p in p_S if p >= own) for own in p_S]
        assert [getattr(effects[name], q) for name in "rst"] == pytest.approx(expected)
    assert effects["t"].nll_difference_q < 0.05 < effects["t"].q


def test_one_participant_has_d_but_no_interval() -> None:
    effect = effects_of(study("s", [3, 3, 3], [1, 2, 3], [2, 4, 6]))["s"]
    assert effect.d.value > 0
    assert effect.n_participants == 1
    assert np.isnan([effect.d.low, effect.d.high, effect.d_paired_raw, effect.d_paired.low]).all()


@pytest.mark.parametrize(
    ("participants", "why"),
    [([3, 3, 3], "it needs two people or more"), ([1, 2, 2], "it is not defined by some of these 2 people alone")],
)
def test_why_there_is_no_interval_is_the_true_reason(participants: list[int], why: str, tmp_path: Path) -> None:
    """Drawing the one of a single response three times leaves no variance, of which d is a share."""
    effects = list(effects_of(study("s", participants, [1, 2, 3], [2, 4, 6])).values())
    assert effects[0].n_participants == len(set(participants))
    write_effects(tmp_path, effects)
    for known in (effects, read_effects(tmp_path)):
        said = verdict_of(known)
        assert said.startswith("in s, whether people are predicted worse by post or by base cannot be told")
        assert f"no interval: {why})" in said


def test_one_response_has_a_mean_and_nothing_else() -> None:
    effect = effects_of(study("s", [0], [1.0], [2.0]))["s"]
    assert (effect.nll_second, effect.nll_first, effect.n_responses, effect.n_studies_d) == (1, 2, 1, 0)
    assert np.isnan([effect.d.value, effect.d.low, effect.d_paired.value]).all()


def test_responses_without_variation_have_no_d() -> None:
    effect = effects_of(study("s", [0, 0, 1, 1], [0.1] * 4, [0.7] * 4))["s"]
    assert np.isnan([effect.d.value, effect.d.low, effect.d_paired.value]).all()
    assert (effect.n_studies_d, effect.n_studies_paired) == (0, 0)


def test_a_model_against_itself_has_d_zero_and_no_paired_d() -> None:
    scores = simulated("s", 9)
    effect = effects_of(StudyScores("s", scores.participant_R, scores.nll_base_R, scores.nll_base_R))["s"]
    assert (effect.d.value, effect.d.low, effect.d.high) == (0, 0, 0)
    assert math.isnan(effect.d_paired.value)


def test_a_study_without_d_is_left_out_of_the_mean_and_counted() -> None:
    one, other, bare = simulated("s", 10), simulated("t", 11), study("u", [0], [9.0], [9.5])
    overall = effects_of(one, other, bare)["all studies"]
    without = effects_of(one, other)["all studies"]
    assert overall.d == without.d
    assert (overall.n_studies, overall.n_studies_d, overall.n_studies_paired) == (3, 2, 2)
    assert overall.nll_second != without.nll_second


def test_a_single_study_gives_no_interval_over_studies() -> None:
    effects = effects_of(simulated("s", 12))
    assert effects["all studies"].d.value == effects["s"].d.value
    assert math.isnan(effects["all studies"].d.low)
    assert math.isfinite(effects["s"].d.low)


def test_an_interval_by_hand() -> None:
    # 3 units: t(2) = 4.3027; the resampled estimates have SD 1 (ddof 1) around anything
    found = Spread(5.0, *standard_error(np.array([1.0, 2.0, 3.0]), np.ones(3))).estimate()
    half = 4.3027 * math.sqrt(1.5)
    assert (found.low, found.high) == pytest.approx((5 - half, 5 + half), abs=1e-4)


def test_an_interval_from_too_many_undefined_resamples_or_one_unit_is_none() -> None:
    values = np.concatenate([np.full(6, np.nan), np.arange(94.0)])
    assert math.isnan(standard_error(values, np.ones(10))[0])
    assert math.isnan(standard_error(values[6:], np.ones(1))[0])
    assert math.isnan(standard_error(values[6:7], np.ones(10))[0])
    assert math.isfinite(standard_error(values[5:], np.ones(10))[0])


def test_averages_over_pairs_are_those_of_their_effects() -> None:
    first = ComparedPair(Contrast("b", "a"), [sum_study(simulated(f"s{i}", i)) for i in range(3)], family="x")
    second = ComparedPair(
        Contrast("d", "c"), [sum_study(simulated(f"s{i}", 9 + i, shift=0.9)) for i in range(3)], family="x"
    )
    effects = estimate_effects([first, second], N_RESAMPLES, domains=lambda name: ())
    overall = {(e.group, e.group_name): e for e in effects if e.level == "overall"}
    mean = (overall["pair", "b"].d.value + overall["pair", "d"].d.value) / 2
    assert overall["all", "all pairs"].d.value == pytest.approx(mean)
    assert overall["family", "x"].d == overall["all", "all pairs"].d
    alone = estimate_effects([first], N_RESAMPLES, domains=lambda name: ())[0]
    assert overall["pair", "b"].d.value == pytest.approx(alone.d.value)
    assert overall["pair", "b"].d.low == pytest.approx(alone.d.low)


def test_models_like_these_by_the_sums_of_cameron_gelbach_and_miller() -> None:
    """Five studies by four pairs, two of which share their base: cell by cell, in loops."""
    bases = ["a", "a", "b", "c"]
    pairs = [
        ComparedPair(
            Contrast(f"p{m}", base),
            [sum_study(simulated(f"s{i}", 10 * m + i, shift=0.2 * m + 0.1 * i)) for i in range(5)],
            base=base,
        )
        for m, base in enumerate(bases)
    ]
    effects = estimate_effects(pairs, 50, domains=lambda _: ())
    d = {(e.group_name, e.name): e.d.value for e in effects if e.group == "pair" and e.level == "study"}
    mean = np.mean(list(d.values()))
    residual = {(s, m): (d[f"p{m}", f"s{s}"] - mean) / 20 for s in range(5) for m in range(4)}
    by_study = sum(sum(residual[s, m] for m in range(4)) ** 2 for s in range(5)) * 5 / 4
    cells, by_base = [], 0.0
    for base in "abc":
        members = [m for m in range(4) if bases[m] == base]
        cells += [sum(residual[s, m] for m in members) ** 2 for s in range(5)]
        by_base += sum(residual[s, m] for s in range(5) for m in members) ** 2
    variance = max(by_study + by_base * 3 / 2 - sum(cells) * 15 / 14, by_study, by_base * 3 / 2)
    half = float(stats.t.ppf(0.975, 2)) * math.sqrt(variance)
    found = effects[0].d_models
    assert found.value == pytest.approx(effects[0].d.value)
    assert (found.low, found.high) == pytest.approx((mean - half, mean + half))
    assert math.isnan(next(e for e in effects if e.group == "pair").d_models.low)


def test_pairs_get_the_same_people_in_every_resample() -> None:
    """The average of a pair and the same pair exchanged has no spread at all."""
    scores = [simulated(f"s{i}", i) for i in range(6)]
    exchanged = [StudyScores(s.study, s.participant_R, s.nll_post_R, s.nll_base_R) for s in scores]
    pairs = [
        ComparedPair(Contrast("b", "a"), [sum_study(s) for s in scores]),
        ComparedPair(Contrast("a", "b"), [sum_study(s) for s in exchanged]),
    ]
    for effect in estimate_effects(pairs, N_RESAMPLES):
        if effect.group == "all":
            assert (effect.d.value, effect.d.low, effect.d.high) == pytest.approx((0, 0, 0), abs=1e-9)
        else:
            assert effect.d.high - effect.d.low > 0.05


def test_people_are_matched_over_pairs_also_where_one_lacks_some() -> None:
    """With a person missing from the first pair, the second pair's draws are still those of the same people."""
    full = simulated("s", 20, n_participants=15)
    kept = full.participant_R != 4
    fewer = StudyScores("s", full.participant_R[kept], full.nll_base_R[kept], full.nll_post_R[kept])
    pairs = [
        ComparedPair(Contrast("b", "a"), [sum_study(fewer)]),
        ComparedPair(Contrast("c", "a"), [sum_study(full)]),
        ComparedPair(
            Contrast("a", "c"), [sum_study(StudyScores("s", full.participant_R, full.nll_post_R, full.nll_base_R))]
        ),
    ]
    effects = {
        (e.group, e.group_name, e.contrast.second): e for e in estimate_effects(pairs, 2000) if e.level == "study"
    }
    first, whole = effects["pair", "b", "a"], effects["all", "all pairs", "the base models"]
    assert (first.n_participants, first.n_responses) == (14, 112)
    assert (whole.n_participants, whole.n_responses, whole.n_pairs) == (15, 120, 3)
    # the second and third pair cancel in every resample, so a third of the first remains
    assert whole.d.value == pytest.approx(first.d.value / 3, abs=1e-9)
    width = (first.d.high - first.d.low) * scaled(1, 15) / scaled(1, 14)
    assert whole.d.high - whole.d.low == pytest.approx(width / 3, rel=0.01)
    alone = effects_of(fewer, n_resamples=2000)["s"]
    assert first.d.value == pytest.approx(alone.d.value)
    assert first.d.high - first.d.low == pytest.approx(alone.d.high - alone.d.low, rel=0.15)


def test_a_study_that_one_pair_lacks_is_averaged_over_the_other() -> None:
    shared, extra = simulated("s", 21), simulated("t", 22)
    pairs = [
        ComparedPair(Contrast("b", "a"), [sum_study(shared)], post_training="x"),
        ComparedPair(Contrast("c", "a"), [sum_study(shared), sum_study(extra)], post_training="y"),
    ]
    effects = {(e.group, e.group_name, e.level, e.name): e for e in estimate_effects(pairs, N_RESAMPLES)}
    assert effects["all", "all pairs", "study", "t"].d.value == effects["pair", "c", "study", "t"].d.value
    assert math.isnan(effects["pair", "b", "study", "t"].d.value)
    assert effects["pair", "b", "overall", "all studies"].n_studies_d == 1
    of_pairs = [effects["pair", name, "overall", "all studies"].d.value for name in ("b", "c")]
    assert effects["all", "all pairs", "overall", "all studies"].d.value == pytest.approx(np.mean(of_pairs))


def test_a_study_of_which_nothing_was_scored_by_both_models_is_left_out_of_the_means() -> None:
    """As where one model failed at all its sessions."""
    others = [simulated("a", 1), simulated("b", 2)]
    effects = effects_of(*others, study("c", [], [], []))
    expected = effects_of(*others)
    assert effects["all studies"].d == expected["all studies"].d
    assert effects["all studies"].nll_second == expected["all studies"].nll_second
    assert (effects["c"].n_responses, effects["c"].unmatched_second) == (0, 2)
    assert math.isnan(effects["c"].d.value)
    assert math.isnan(effects["c"].nll_first)


def test_time_grows_with_participants_not_with_responses() -> None:
    """A tenth of the full size: 200 resamples of a million responses by 100 x 1,000 participants."""
    sums, seconds = _timed(n_responses=10, n_resamples=200)
    assert len(sums) == 100
    assert seconds < 4


@pytest.mark.slow
def test_two_thousand_resamples_of_ten_million_responses_take_under_ten_seconds() -> None:
    _, seconds = _timed(n_responses=100, n_resamples=2000)
    assert seconds < 10


def _timed(n_responses: int, n_resamples: int) -> tuple[list[StudyScores], float]:
    studies = [simulated(f"s{i}", i, 1000, n_responses) for i in range(100)]
    started = time.perf_counter()
    effects_of(*studies, n_resamples=n_resamples)
    return studies, time.perf_counter() - started


def test_effects_import_without_torch() -> None:
    code = "import sys, centaurlab.stats.effects, centaurlab.stats.effect_table; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
