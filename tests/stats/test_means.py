"""Mean NLLs of a model cover the truth at the nominal rate, and have no interval where nobody else says more."""

from pathlib import Path

import numpy as np
import pandas as pd

from centaurlab.results.table import read_scores
from centaurlab.stats.means import MEAN_COLUMNS, mean_nlls
from helpers.finished_runs import score_run
from helpers.score_folders import table_folder


def test_intervals_cover_the_mean_nll_at_the_nominal_rate(tmp_path: Path) -> None:
    """Sixty people with means of their own answer five times; the truth is 5 nats: 100 data sets, 95 % ± 4.4 (2 SE)."""
    covered = 0
    scores = pd.DataFrame({"study": "a2020", "experiment": "e", "participant": np.repeat(np.arange(60), 5).astype(str)})
    scores["response"] = np.tile(np.arange(5), 60)
    scores["greedy_correct"] = pd.array([pd.NA] * len(scores), dtype="boolean")
    for seed in range(100):
        rng = np.random.default_rng(seed)
        scores["nll"] = (5 + rng.normal(0, 0.5, 60).repeat(5) + rng.normal(0, 0.5, 300)).astype(np.float32)
        path = table_folder(tmp_path / "scores", scores)
        _, study = mean_nlls(read_scores(path, MEAN_COLUMNS), n_resamples=500, seed=seed)
        covered += study.nll.low <= 5 <= study.nll.high
        assert np.isnan(study.accuracy.value)
    assert 90 <= covered <= 99


def test_a_single_participant_or_study_has_no_interval(tmp_path: Path) -> None:
    scores = pd.read_parquet(score_run(tmp_path / "scores", "model", ["a2020"]) / "scores.parquet")
    path = table_folder(tmp_path / "one", scores[scores["participant"] == "0"])
    overall, study = mean_nlls(read_scores(path, MEAN_COLUMNS))
    assert np.isfinite([overall.nll.value, study.nll.value]).all()
    assert np.isnan([overall.nll.low, study.nll.low]).all()
