"""One way to an estimate: checked against loops that draw every person and study by hand, and against formulas."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from centaurlab.stats import bootstrap
from centaurlab.stats.bootstrap import Draws, Study
from centaurlab.stats.estimate import FloatArray

B = 50


def mean_of_sums(totals_BK: FloatArray) -> FloatArray:
    """Σ x / n (1, 1, B)."""
    return bootstrap.divide(totals_BK[:, 1], totals_BK[:, 0])[None, None]


def study(sums: list[tuple[float, float]]) -> Study:
    sums_PK = np.array(sums, np.float64).reshape(-1, 2)
    return Study(sums_PK, mean_of_sums, (sums_PK[:, 0] > 0).astype(float)[:, None, None])


def of(name: str | None) -> np.random.Generator:
    return bootstrap.generator(7, name or "over studies")


SUMS = st.lists(st.tuples(st.integers(1, 9), st.floats(0, 50)), min_size=1, max_size=7)


def by_hand(value: float, replicates: list[float], n: int) -> tuple[float, float]:
    """value ± t(n - 1) s √(n / (n - 1)), of whatever was drawn."""
    half = stats.t(n - 1).ppf(0.975) * np.std(replicates, ddof=1) * np.sqrt(n / (n - 1))
    return value - half, value + half


@settings(max_examples=30, deadline=None)
@given(st.lists(SUMS, min_size=2, max_size=5))
def test_every_study_and_their_mean_are_those_of_a_loop(all_sums: list[list[tuple[int, float]]]) -> None:
    found = bootstrap.estimate({f"s{i}": study(sums) for i, sums in enumerate(all_sums)}, B, of)
    values = []
    for i, sums in enumerate(all_sums):
        estimate = found.studies[f"s{i}"].estimate()
        values.append(sum(x for _, x in sums) / sum(n for n, _ in sums))
        assert estimate.value == pytest.approx(values[-1])
        if len(sums) < 2:
            assert not estimate.has_interval
            continue
        drawn = of(f"s{i}").integers(len(sums), size=(B, len(sums)))
        replicates = [sum(sums[p][1] for p in row) / sum(sums[p][0] for p in row) for row in drawn]
        assert (estimate.low, estimate.high) == pytest.approx(by_hand(values[-1], replicates, len(sums)))
    overall = found.overall.estimate()
    drawn = of(None).integers(len(values), size=(B, len(values)))
    replicates = [float(np.mean([values[s] for s in row])) for row in drawn]
    assert overall.value == pytest.approx(np.mean(values))
    if np.std(replicates) < 1e-9 * abs(np.mean(values)):
        assert not overall.has_interval  # these studies are equal
        return
    assert (overall.low, overall.high) == pytest.approx(by_hand(float(np.mean(values)), replicates, len(values)))


def test_a_study_depends_on_its_own_generator_alone() -> None:
    one, other = study([(1, 2), (3, 1), (2, 5)]), study([(2, 2), (1, 1)])
    alone = bootstrap.estimate({"a": one}, B, of).studies["a"]
    beside = bootstrap.estimate({"b": other, "a": one, "c": other}, B, of).studies["a"]
    assert alone.estimate() == beside.estimate()


def test_a_study_without_the_statistic_is_not_drawn() -> None:
    sums = [[(1, 2.0), (2, 3.0)], [(0, 0.0)], [(1, 4.0), (1, 2.0)]]
    found = bootstrap.estimate({f"s{i}": study(one) for i, one in enumerate(sums)}, B, of)
    assert not found.studies["s1"].estimate().is_defined
    without = bootstrap.estimate({f"s{i}": study(sums[i]) for i in (0, 2)}, B, of)
    assert found.overall.estimate() == without.overall.estimate()


def test_an_average_over_columns_has_all_of_them_in_every_resample() -> None:
    """Its interval is that of the averages of the same resamples, and everybody weighs what they weigh in the columns.

    The first has half of all, the next two a quarter each: (3/8)² / (9/128) = 2 units of the same weight.
    """
    rng = np.random.default_rng(0)
    replicate_QMB = rng.normal(size=(1, 3, B))
    weight_UQM = np.array([[1, 0, 0], [0, 1, 0], [0, 1, 1], [0, 0, 1]], float)[:, None]
    value_QM = np.array([[1.0, 2.0, np.nan]])
    draws = Draws(value_QM, replicate_QMB, weight_UQM)
    estimate = draws.estimate(0, (0, 1, 2))
    assert estimate.value == 1.5
    averages = [float(one) for one in (replicate_QMB[0, 0] + replicate_QMB[0, 1]) / 2]
    half = stats.t(1).ppf(0.975) * np.std(averages, ddof=1) * np.sqrt(3 / 2)
    assert (estimate.low, estimate.high) == pytest.approx((1.5 - half, 1.5 + half))


def test_generators_differ_by_seed_and_by_name() -> None:
    numbers = {bootstrap.generator(seed, *names).random() for seed in (0, 1) for names in ((), ("a",), ("a", "b"))}
    assert len(numbers) == 6
    assert bootstrap.generator(3, "\udcff").random() == bootstrap.generator(3, "\udcff").random()


def test_copies_of_a_study_say_nothing_of_other_studies() -> None:
    """They have an interval over people, and none of no width over studies; two that differ have one."""
    rng = np.random.default_rng(0)

    def study(values: FloatArray) -> Study:
        sums_PK = np.stack([values, np.ones(len(values))], axis=1)
        return Study(
            sums_PK, lambda total_BK: (total_BK[:, 0] / total_BK[:, 1])[None, None], np.ones((len(values), 1, 1))
        )

    one, other = rng.normal(1, 0.2, 5), rng.normal(1, 0.2, 5)
    for studies, differ in (([one, one], False), ([one, other], True)):
        drawn = [bootstrap.draw_people(study(values), 200, rng) for values in studies]
        overall = bootstrap.draw_studies(drawn, lambda: np.random.default_rng(9)).estimate()
        assert overall.value == pytest.approx(np.mean([values.mean() for values in studies]))
        assert overall.has_interval is differ
