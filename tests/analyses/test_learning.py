"""The NLL by trial number: slopes and curves against one's own arithmetic, and intervals against known truth."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from centaurlab.analyses.learning import Learning, curve_figure, learning, slope_figure, verdict
from centaurlab.stats.estimate import UNKNOWN, Estimate


def people(nlls: dict[str, list[list[float]]]) -> pd.DataFrame:
    """A table of scores of each study's people, trial by trial."""
    return pd.DataFrame(
        {"study": study, "experiment": "e", "participant": f"p{p}", "response": trial, "nll": nll}
        for study, of_study in nlls.items()
        for p, of_person in enumerate(of_study)
        for trial, nll in enumerate(of_person)
    )


@given(st.lists(st.lists(st.floats(0, 20), min_size=1, max_size=9), min_size=1, max_size=4))
@settings(max_examples=60, deadline=None)
def test_a_slope_is_that_of_a_regression_with_an_intercept_for_each_person(nlls: list[list[float]]) -> None:
    slope = learning(people({"a": nlls}), n_resamples=20).slopes["a"]
    rows = [(p, np.log2(t + 1), y) for p, of_person in enumerate(nlls) for t, y in enumerate(of_person)]
    design = np.array([[x, *(float(p == other) for other in range(len(nlls)))] for p, x, _ in rows])
    if max(map(len, nlls)) < 2:
        assert np.isnan(slope.value)
        return
    expected = np.linalg.lstsq(design, np.array([y for *_, y in rows]), rcond=None)[0][0]
    assert slope.value == pytest.approx(expected, abs=1e-8)


def test_a_curve_has_a_point_for_each_octave_of_trials() -> None:
    found = learning(people({"a": [[4.0, 3.0, 2.0, 1.0, 1.0], [2.0, 1.0]]}), n_resamples=50)
    assert [(p.first, p.last) for p in found.points] == [(1, 1), (2, 2), (3, 4), (5, 8)]
    assert [p.nll.value for p in found.points] == [3.0, 2.0, 1.5, 1.0]
    assert [(p.n_responses, p.n_participants) for p in found.points] == [(2, 2), (2, 2), (2, 1), (1, 1)]
    assert [p.nll.has_interval for p in found.points] == [True, True, False, False]


def test_the_mean_slope_is_over_studies() -> None:
    found = learning(people({"a": [[2.0, 1.0], [3.0, 2.0]], "b": [[1.0, 1.5], [1.0, 1.5], [2.0, 2.5]]}), 50)
    assert list(found.slopes) == ["all studies", "a", "b"]
    assert found.slopes["a"].value == pytest.approx(-1)
    assert found.slopes["b"].value == pytest.approx(0.5)
    assert found.slopes["all studies"].value == pytest.approx(-0.25)


def test_a_verdict_names_a_direction_only_where_the_interval_excludes_zero() -> None:
    def of(overall: Estimate, these: Estimate = UNKNOWN, **studies: Estimate) -> str:
        return verdict("m", Learning({"all studies": overall} | studies, [], these))

    clear = {"a": Estimate(-0.2, -0.3, -0.1), "b": Estimate(-0.2, -0.3, -0.1)}
    assert "are predicted better the further" in of(Estimate(-0.2, -0.3, -0.1), **clear)
    assert "are predicted worse the further" in of(Estimate(0.2, 0.1, 0.3), Estimate(0.2, 0.1, 0.3), **clear)
    assert "no clear change" in of(Estimate(0.2, -0.1, 0.5), **clear)
    assert "the further a session goes cannot be told" in of(Estimate(-0.2), **clear)
    in_these = of(Estimate(-0.2, -0.5, 0.1), Estimate(-0.2, -0.3, -0.1), **clear)
    assert "in these studies people are predicted better" in in_these
    one = of(Estimate(-0.2), Estimate(-0.2, -0.3, -0.1), a=Estimate(-0.2, -0.3, -0.1))
    assert one.startswith("m: in a, people are predicted better")
    assert one.endswith("; this says nothing of other studies")


def test_figures_are_drawn_also_of_one_person() -> None:
    found = {"org/one": learning(people({"a": [[2.0, 1.0, 1.0]], "b": [[3.0]]}), 20)}
    assert curve_figure(found).axes
    assert slope_figure(found).axes


@pytest.mark.slow
@pytest.mark.parametrize("n_people", [4, 20])
def test_intervals_hold_the_true_slope(n_people: int) -> None:
    """Slopes differ between people, trials are noisy: the mean slope is the truth that is to be held."""
    rng = np.random.default_rng(n_people)
    x = np.log2(np.arange(1, 33))
    held = 0
    for _ in range(400):
        slopes, levels = rng.normal(-0.1, 0.08, n_people), rng.normal(2, 0.5, n_people)
        nlls = levels[:, None] + slopes[:, None] * x + rng.normal(0, 0.4, (n_people, len(x)))
        slope = learning(people({"a": nlls.tolist()}), n_resamples=400).slopes["a"]
        held += slope.low <= -0.1 <= slope.high
    assert 0.92 <= held / 400 <= 0.98
