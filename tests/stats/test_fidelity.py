"""Distances of simulated people: rates of error on learners of which the truth is known, and values by hand."""

import math

import numpy as np
import pytest

from centaurlab.stats.estimate import FloatArray
from centaurlab.stats.fidelity import (
    Sessions,
    effect_fidelity,
    fidelity,
    holm,
    individual_distance,
    sd_of_features,
    sd_ratio,
    total_variation,
)

PEOPLE, TRIALS = 40, 80


def learners(rng: np.random.Generator, n: int, rate: float) -> FloatArray:
    """Counts (n, 8) of switching and staying of Q-learners, after each choice and outcome, on a reversing bandit."""
    values_N2, counts_N8 = np.full((n, 2), 0.5), np.zeros((n, 8))
    last_N, rewarded_N = np.zeros(n, int), np.zeros(n, int)
    for trial in range(TRIALS):
        p_N = 1 / (1 + np.exp(-5 * (values_N2[:, 1] - values_N2[:, 0])))
        choice_N = (rng.random(n) < p_N).astype(int)
        if trial:
            counts_N8[np.arange(n), 4 * last_N + 2 * rewarded_N + (choice_N == last_N)] += 1
        last_N, good = choice_N, trial // 20 % 2
        rewarded_N = (rng.random(n) < np.where(choice_N == good, 0.8, 0.2)).astype(int)
        chosen = (np.arange(n), choice_N)
        values_N2[chosen] += rate * (rewarded_N - values_N2[chosen])
    return counts_N8


LEARNERS_ITEMS = np.repeat(np.arange(4), 2)


def test_total_variation_is_that_of_a_sum_by_hand() -> None:
    first = np.array([[3.0, 1, 0, 2], [1, 3, 0, 0]])  # item 0: 4 of 8 and 4 of 8; item 1: 0 of 2 and 2 of 2
    second = np.array([[1.0, 1, 1, 1], [3, 3, 0, 0]])  # 4 and 4 of 8; 1 and 1 of 2
    assert total_variation(np.array([0, 0, 1, 1]))(first, second) == pytest.approx((0 + 0.5) / 2)
    second[:, 2:] = 0  # nobody was asked item 1
    assert total_variation(np.array([0, 0, 1, 1]))(first, second) == pytest.approx(0)
    assert math.isnan(total_variation(np.array([], int))(np.empty((2, 0)), np.empty((2, 0))))


def test_individual_distance_is_that_of_a_sum_by_hand() -> None:
    first, second = np.array([[0.0, 1], [1, 1], [2, 1]]), np.array([[4.0, 1], [3, 1], [2, 1]])
    assert individual_distance(first, second) == pytest.approx(2)  # the SD of 0, 1, 2 is 1; the other feature has none
    assert individual_distance(first * 2, second * 2) == pytest.approx(2)


@pytest.mark.parametrize("paired", [True, False])
def test_a_learner_is_inside_of_its_own_floor_and_one_of_half_the_rate_outside(paired: bool) -> None:
    rng = np.random.default_rng(1)
    distance = total_variation(LEARNERS_ITEMS)
    n_sets, inside, outside, over_floor = 100, 0, 0, []
    for _ in range(n_sets):
        people = learners(rng, PEOPLE, 0.4)
        replicates = 2 if paired else 1
        for rate in (0.4, 0.2):
            model = np.stack([learners(rng, PEOPLE, rate) for _ in range(replicates)], axis=1)
            found = fidelity(Sessions(people, model, paired), distance, 59, 2, 0)
            if rate == 0.4:
                inside += found.p > 0.05
                over_floor.append(found.distance.value / found.floor)
            else:
                outside += found.p <= 0.05
    assert 0.90 <= inside / n_sets <= 0.99  # 95 ± 3 %, and the error of 100 sets
    assert outside / n_sets > 0.6, outside
    assert np.mean(over_floor) == pytest.approx(1, abs=0.12)


def test_two_halves_of_the_same_people_show_nothing_in_95_of_100_splits() -> None:
    rng = np.random.default_rng(2)
    found = 0
    for _ in range(150):
        rate_N = rng.beta(4, 8, size=2 * PEOPLE)
        effect_N = rng.normal(rate_N, 0.1)
        counts = np.stack([rng.binomial(30, rate_N), 30 - rng.binomial(30, rate_N)], axis=1).astype(float)
        halves = Sessions(counts[:PEOPLE], counts[PEOPLE:, None], is_paired=False)
        axis = fidelity(halves, total_variation(np.array([0, 0])), 99, 2, 0)
        effect = effect_fidelity(effect_N[:PEOPLE], effect_N[PEOPLE:, None], is_paired=False)
        found += any(p < 0.05 for p in holm([axis.p, effect.difference.p]))
    assert found <= 0.05 * 150 + 6


def test_too_small_a_spread_is_seen_in_the_ratio() -> None:
    rng = np.random.default_rng(3)
    people, model = rng.normal(0, 2, (60, 3)), rng.normal(0, 1, (60, 2, 3))
    ratio = sd_ratio(Sessions(people, model, is_paired=True), 200, 0)
    assert ratio.low < 0.5 < ratio.high < 0.8
    model[:, :, 2] = 0.5  # all the same in one of three
    alike = sd_ratio(Sessions(people, model, is_paired=True), 200, 0)
    assert alike.value == 0
    assert not alike.has_interval
    model[1:, :, 2] = np.nan  # of one alone nothing is known
    rest = sd_ratio(Sessions(people[:, :2], model[:, :, :2], is_paired=True), 200, 0)
    assert sd_ratio(Sessions(people, model, is_paired=True), 200, 0).value == pytest.approx(rest.value)


def effects(shift: float, scale: float, n: int = 60) -> str:
    rng = np.random.default_rng(4)
    noise_N, noise_N4 = rng.normal(0, 0.2, n), rng.normal(0, 0.2, (n, 4))
    people = 0.5 + noise_N - noise_N.mean()
    model = 0.5 * scale + shift + noise_N4 - noise_N4.mean()
    one = effect_fidelity(people, model, is_paired=True)
    return one.verdict(one.difference.p < 0.05)


def test_verdicts_on_effects() -> None:
    assert effects(0, 1) == "reproduced"
    assert effects(0, 0.5) == "attenuated"
    assert effects(0, 0) == "absent"
    assert effects(0, -1) == "reversed"
    assert effects(0, 2) == "exaggerated"
    rng = np.random.default_rng(5)
    nothing = effect_fidelity(rng.normal(0, 1, 30), rng.normal(0, 1, (30, 1)), is_paired=False)
    assert nothing.verdict(differs=False) == "none in people"


def test_holm_multiplies_by_the_tests_that_are_left() -> None:
    assert holm([0.01, math.nan, 0.04, 0.03]) == pytest.approx([0.03, math.nan, 0.06, 0.06], nan_ok=True)


def test_numbers_that_differ_by_rounding_alone_are_no_unit_of_distances() -> None:
    """The mean of ten times 0.1 is another number than 0.1: without care, its SD of 1e-17 would divide."""
    alike_NF = np.full((10, 1), 0.1) + np.spacing(0.1) * (np.arange(10) % 3)[:, None]
    assert sd_of_features(alike_NF).tolist() == [0.0]
    assert np.isnan(individual_distance(alike_NF, alike_NF + 1))
    assert sd_of_features(1e-6 * np.arange(3.0)[:, None]).tolist() == pytest.approx([1e-6])


@pytest.mark.parametrize(
    ("people", "model"),
    [
        ([0.5] * 3, [7 / 18] * 3),
        ([0.5] * 2, [0.5] * 2),
        ([0.7] * 6, [0.7, *[0.1 + 0.2 + 0.4] * 5]),
        ([0.5] * 2, [0.25] * 2),
    ],
)
@pytest.mark.parametrize("is_paired", [True, False])
def test_of_an_effect_that_differs_alike_in_all_nothing_can_be_told(
    people: list[float], model: list[float], is_paired: bool
) -> None:
    found = effect_fidelity(np.array(people), np.array(model)[:, None], is_paired)
    assert np.isnan(found.difference.p)
    assert not found.difference.has_interval
    assert found.verdict(bool(found.difference.p < 0.05)) == "cannot be told"
