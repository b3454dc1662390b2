"""Families of models by size and generation: the numbers are those of the scores, and of the comparison."""

import runpy
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from centaurlab.cli import main as cli
from centaurlab.results.table import read_scores
from centaurlab.runtime.errors import exit_on_user_error
from centaurlab.stats.means import MEAN_COLUMNS, mean_nlls
from test_report import score_run

SCRIPT = Path(__file__).parents[2] / "eval" / "generations.py"
STUDIES = ["a2020", "b2021", "c2022"]


def run_script(*arguments: str) -> int:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [str(SCRIPT), *arguments, "--report_to", "none"])
        patch.setattr("centaurlab.jobs.job.keep_freed_memory", lambda: None)
        script = runpy.run_path(str(SCRIPT))
        try:
            exit_on_user_error(script["main"])
        except SystemExit as stop:
            return int(stop.code or 0)
    return 0


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two generations of one pair each, and a pair of which nothing is known, scored before."""
    folder = tmp_path_factory.mktemp("generations")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for i in range(4):
            score_run(folder / f"m{i}", f"org/m{i}", STUDIES, i)
        lines = ["post_trained,base,post_training,family,size_b", "m1,m0,instruct,new2,8", "m3,m2,instruct,old1,0.5"]
        (folder / "pairs.csv").write_text("\n".join([*lines, "m3,m0,,,"]))
        assert run_script("--pairs", "pairs.csv", "--resamples", "200", "--output_dir", "out") == 0
    return folder


def test_pairs_are_listed_by_generation_with_the_means_of_their_scores(folder: Path) -> None:
    table = pd.read_csv(folder / "out/generations.csv")
    assert table["generation"].tolist() == ["old1", "new2", "other"]
    for _, row in table.iterrows():
        for side, model in (("base", row["base"]), ("post", row["post_trained"])):
            scores = pd.read_parquet(folder / model / "scores.parquet").astype({"nll": float})
            by_study = scores.groupby("study")
            assert row[f"nll_{side}"] == pytest.approx(by_study["nll"].mean().mean())
            accuracy = by_study["greedy_correct"].agg(lambda x: x.astype(float).mean()).mean()
            assert row[f"accuracy_{side}"] == pytest.approx(accuracy)
            assert row[f"nll_{side}_low"] < row[f"nll_{side}"] < row[f"nll_{side}_high"]


def test_effects_are_those_of_the_comparison(folder: Path) -> None:
    table = pd.read_csv(folder / "out/generations.csv").set_index(["base", "post_trained"])
    effects = pd.read_csv(folder / "out/effects.csv").query("group == 'pair' and level == 'overall'")
    for _, effect in effects.iterrows():
        row = table.loc[(effect["base"].removeprefix("org/"), effect["group_name"].removeprefix("org/"))]
        assert row[["d", "d_low", "d_high"]].tolist() == effect[["d", "d_low", "d_high"]].tolist()


def test_the_figures_are_there(folder: Path) -> None:
    found = {path.stem for path in (folder / "out/figures").glob("*.pdf")}
    assert {"generations", "nll_by_size", "accuracy_by_size", "forest", "pairs"} <= found
    assert found == {path.stem for path in (folder / "out/figures").glob("*.png")}


def test_a_report_shows_the_generations(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "argv", ["centaurlab", "report", "out"])
        with pytest.raises(SystemExit) as exited:
            cli.main()
    assert not exited.value.code
    out = capsys.readouterr().out
    assert "By size and generation: base models: NLL = " in out
    assert "0.5 billion parameters and" in out
    page = (folder / "report.html").read_text()
    assert "old1" in page
    assert page.count("data:image/png") == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--pairs", "qwen33"], "the catalog has no family 'qwen33'"),
        (["--pairs", "qwen3", "--resamples", "0"], "--resamples must be at least 1"),
    ],
)
def test_mistakes_are_one_sentence(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_script(*arguments, "--output_dir", str(tmp_path / "out")) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ")
    assert message in error


def test_intervals_cover_the_mean_nll_at_the_nominal_rate(tmp_path: Path) -> None:
    """Sixty people with means of their own answer five times; the truth is 2 nats: 100 data sets, 95 % ± 4.4 (2 SE)."""
    covered = 0
    path = score_run(tmp_path / "scores", "model", ["a2020"])
    scores = pd.DataFrame({"study": "a2020", "experiment": "e", "participant": np.repeat(np.arange(60), 5).astype(str)})
    scores["response"] = np.tile(np.arange(5), 60)
    scores["greedy_correct"] = pd.array([pd.NA] * len(scores), dtype="boolean")
    for seed in range(100):
        rng = np.random.default_rng(seed)
        scores["nll"] = (2 + rng.normal(0, 0.5, 60).repeat(5) + rng.normal(0, 0.5, 300)).astype(np.float32)
        scores.to_parquet(path / "scores.parquet")
        _, study = mean_nlls(read_scores(path, MEAN_COLUMNS), n_resamples=500, seed=seed)
        covered += study.nll.low <= 2 <= study.nll.high
        assert np.isnan(study.accuracy.value)
    assert 90 <= covered <= 99


def test_a_single_participant_or_study_has_no_interval(tmp_path: Path) -> None:
    path = score_run(tmp_path / "scores", "model", ["a2020"])
    scores = pd.read_parquet(path / "scores.parquet")
    scores[scores["participant"] == "0"].to_parquet(path / "scores.parquet")
    overall, study = mean_nlls(read_scores(path, MEAN_COLUMNS))
    assert np.isfinite([overall.nll.value, study.nll.value]).all()
    assert np.isnan([overall.nll.low, study.nll.low]).all()
