"""Two groups of people who are not the same: d over all their responses, and intervals that cover it."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from centaurlab.analyses.unmatched import compare_unmatched
from centaurlab.results.run import ScoreRun, read_run
from centaurlab.stats.contrast import Contrast
from helpers.score_folders import table_folder

SIDES = Contrast("all", "some", by="with")


def folder(path: Path, people: dict[str, list[float]], study: str = "s") -> ScoreRun:
    rows = [(study, study, person, i, nll) for person, nlls in people.items() for i, nll in enumerate(nlls)]
    known = [pd.read_parquet(path / "scores.parquet")] if (path / "scores.parquet").exists() else []
    table = pd.DataFrame(rows, columns=["study", "experiment", "participant", "response", "nll"])
    return read_run(table_folder(path, pd.concat([*known, table])))


def test_d_is_over_the_responses_of_each_group(tmp_path: Path) -> None:
    everybody = folder(tmp_path / "a", {"1": [1.0, 2.0], "2": [4.0]})
    some = folder(tmp_path / "b", {"1": [0.5, 1.5]})
    overall, study = compare_unmatched("u", SIDES, everybody, some, 100, 0).effects
    a, b = np.array([1.0, 2.0, 4.0]), np.array([0.5, 1.5])
    assert study.d.value == pytest.approx((a.mean() - b.mean()) / np.sqrt((a.var(ddof=1) + b.var(ddof=1)) / 2))
    assert overall.d.value == study.d.value
    assert np.isnan(overall.d.low)
    assert (study.n_responses, study.n_participants) == (5, 2)


def test_overall_is_the_mean_over_studies_of_both(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for study in ("s", "t", "only in one"):
        everybody = folder(tmp_path / "a", {str(i): rng.normal(9, size=3).tolist() for i in range(6)}, study)
        if study != "only in one":
            some = folder(tmp_path / "b", {str(i): rng.normal(9, size=3).tolist() for i in range(3)}, study)
    overall, *studies = compare_unmatched("u", SIDES, everybody, some, 100, 0).effects
    assert [effect.name for effect in studies] == ["s", "t"]
    assert overall.d.value == pytest.approx(np.mean([effect.d.value for effect in studies]))
    assert overall.d.low < overall.d.value < overall.d.high
    assert overall.nll_difference.value == pytest.approx(np.mean([effect.nll_difference.value for effect in studies]))
    assert overall.nll_difference.has_interval


def test_intervals_cover_the_true_difference(tmp_path: Path) -> None:
    """Groups that overlap in part; people and responses vary, so the spread of responses is √2."""
    rng = np.random.default_rng(1)
    n_covered, n_in_nats, n_runs = 0, 0, 60
    for run in range(n_runs):
        person = rng.normal(9, size=60)
        nlls = {str(i): rng.normal(person[i], 1.0, size=5).tolist() for i in range(60)}
        with_persona = {name: (np.array(nlls[name]) - 0.5).tolist() for name in map(str, range(30))}
        here = tmp_path / str(run)
        here.mkdir()
        runs = folder(here / "a", nlls), folder(here / "b", with_persona)
        _, study = compare_unmatched("u", SIDES, *runs, 300, run).effects
        n_covered += study.d.low <= 0.5 / np.sqrt(2) <= study.d.high
        n_in_nats += study.nll_difference.low <= 0.5 <= study.nll_difference.high
    assert n_covered >= 0.87 * n_runs
    assert n_in_nats >= 0.87 * n_runs
