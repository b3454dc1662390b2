"""Curves over numbers of people: where they reach a line, their power law, and intervals over people and orders."""

import math

import numpy as np
import pytest

from centaurlab.stats.estimate import FloatArray
from centaurlab.stats.realignment import Points, crossing, curve_points, power_law, reached

SIZES = (0, 1, 2, 4, 8, 16)
CURVE = {n: ("m", n) for n in SIZES}


def points_of(nll: dict[int, float], line: float, n_people: int = 30, noise: float = 0.0) -> Points:
    """One study of people with ten responses each, whose NLL is that of the curve, and of the line in another run."""
    draw = np.random.default_rng(3)
    person_P = noise * draw.standard_normal(n_people)
    runs = [(("m", n), 0) for n in nll] + [(("line", 0), 0)]
    sums = np.stack([np.full(n_people, 10.0), *(10 * (value + person_P) for value in (*nll.values(), line))], axis=1)
    return curve_points({"s": sums}, runs, 200, 0)[0]


def test_a_curve_reaches_a_line_where_it_crosses_it_on_a_scale_of_logarithms() -> None:
    nll_NB = np.array([[3.0, 1.0, 3.0], [2.0, 1.0, 2.0], [1.0, 1.0, 1.5]])
    found = crossing((0, 1, 3), nll_NB, np.array([1.5, 1.2, 1.0]))
    # 1 + n goes 1, 2, 4: half way from 2 to 4 is 2√2.
    assert found[0] == pytest.approx(2 * math.sqrt(2) - 1)
    assert found[1:].tolist() == [0.0, math.inf]


def test_people_who_differ_alike_in_all_runs_leave_no_doubt_where_the_line_is_reached() -> None:
    nll = {n: 1 + 1 / (1 + n) for n in SIZES}
    at = reached(points_of(nll, 1.2, noise=0.5), CURVE, ("line", 0))
    assert 3 < at.n < 4
    assert (at.low, at.high) == (pytest.approx(at.n), pytest.approx(at.n))
    assert at.share == 1
    never = reached(points_of(nll, 0.9), CURVE, ("line", 0))
    assert (never.n, never.low, never.share) == (math.inf, math.inf, 0)
    assert math.isnan(reached(points_of(nll, 0.9, n_people=1), CURVE, ("line", 0)).share)


def test_a_power_law_is_found_again_and_not_fitted_to_three_sizes() -> None:
    points = points_of({n: 0.7 + 0.4 * (n or 0.5) ** -0.8 for n in SIZES}, 1.0, noise=0.1)
    law = power_law(points, CURVE)
    assert law is not None
    assert (law.a.value, law.b, law.c.value) == (
        pytest.approx(0.7, abs=0.03),
        pytest.approx(0.4, rel=1e-2),
        pytest.approx(0.8, rel=1e-2),
    )
    assert law.a.low < 0.7 < law.a.high
    assert power_law(points, {n: CURVE[n] for n in (0, 1, 2, 4)}) is None


def test_no_power_law_is_told_of_curves_that_rise_or_fall_without_an_end() -> None:
    """A curve that falls by as much or more with every doubling has no positive a; NLLs that rise have no law."""
    for nll in ((0.75, 0.70, 0.66, 0.61), (0.61, 0.66, 0.70, 0.75), (0.7, 0.7, 0.7, 0.7), (0.9, 0.7, 0.7, 0.7)):
        points = points_of(dict(zip((1, 2, 4, 8), nll, strict=True)), 1.0, noise=0.1)
        assert power_law(points, {n: CURVE[n] for n in (1, 2, 4, 8)}) is None


def test_a_power_law_has_no_interval_where_it_fits_few_of_the_resamples() -> None:
    draw = np.random.default_rng(5)
    nll_N = np.array([0.2 + 0.8 * n**-0.3 for n in SIZES[1:]])
    sums = np.column_stack([np.ones(8), nll_N + 0.3 * draw.standard_normal((8, 5)), np.ones(8)])
    sums[:, 1:6] += nll_N - sums[:, 1:6].mean(axis=0)  # the mean follows the law, which single people do not
    runs = [*((("m", n), 0) for n in SIZES[1:]), (("line", 0), 0)]
    law = power_law(curve_points({"s": sums}, runs, 200, 0)[0], {n: CURVE[n] for n in SIZES[1:]})
    assert law is not None
    assert (law.a.value, law.c.value) == (pytest.approx(0.2, abs=0.01), pytest.approx(0.3, abs=0.01))
    assert not law.a.has_interval
    assert not law.c.has_interval


def test_the_interval_of_the_people_it_takes_holds_them_in_95_of_100_samples_of_four_people() -> None:
    """The curve is 1 above the line with nobody, and 1 − g with three people: log(1 + n*) = log(4) / g."""
    draw, held = np.random.default_rng(2), 0
    runs = [(("m", 0), 0), (("m", 3), 0), (("line", 0), 0)]
    for _ in range(200):
        gain_P, person_P = 2 + 0.3 * draw.standard_normal(4), draw.standard_normal(4)
        sums = np.stack([np.ones(4), 5 + person_P, 5 + person_P - gain_P, 4 + person_P], axis=1)
        points, _ = curve_points({"s": sums}, runs, 200, 0)
        at = reached(points, {0: ("m", 0), 3: ("m", 3)}, ("line", 0))
        assert at.n == pytest.approx(4 ** (1 / gain_P.mean()) - 1)
        held += at.low <= 4 ** (1 / 2) - 1 <= at.high
    assert held >= 183  # 190 expected; fewer with p = 0.01; percentiles as drawn: 253 of 300


def test_orders_that_differ_widen_the_interval_as_their_spread_says() -> None:
    """With people all alike, what remains is the mean of five orders: its standard error is their SD over √5."""
    of_order = np.array([0.9, 1.0, 1.1, 1.3, 0.7])
    sums = np.tile([10.0, *(10 * of_order), 10.0], (40, 1))
    runs = [*(("m", order) for order in range(5)), ("line", 0)]
    points, by_study = curve_points({"s": sums}, runs, 4000, 0)
    error = points.replicate_CB[0].std()
    assert points.value_C.tolist() == pytest.approx([1.0, 1.0])
    assert error == pytest.approx(of_order.std(ddof=1) / math.sqrt(5), rel=0.05)
    change, _ = by_study["s"].change("m", "line")
    assert change.high == pytest.approx(2.776 * of_order.std(ddof=1) / math.sqrt(5), rel=1e-3)  # t of 4
    assert change.low == pytest.approx(-change.high)


def test_the_interval_of_a_change_holds_it_in_95_of_100_samples_of_people() -> None:
    draw, held = np.random.default_rng(1), 0
    for _ in range(200):
        person_P = draw.standard_normal(12)
        gain_P = 0.3 + 0.2 * draw.standard_normal(12)
        sums: FloatArray = np.stack([np.ones(12), 2 + person_P, 2 + person_P - gain_P], axis=1)
        points, _ = curve_points({"s": sums}, [("before", 0), ("after", 0)], 100, 0)
        _, these = points.change("before", "after")
        held += these.low <= 0.3 <= these.high
    assert held >= 183  # 190 expected; fewer with p = 0.01
