"""Families of models by size and generation: the numbers are those of the scores, and of the comparison."""

from pathlib import Path

import pandas as pd
import pytest

from centaurlab.analyses.generations import find_generations
from centaurlab.catalog.pairs import ModelPair
from centaurlab.data.transcripts import SessionKey
from centaurlab.results.run import read_run
from centaurlab.stats.arguments import EstimateArguments
from helpers.commands import centaurlab, evaluate
from helpers.finished_runs import STUDIES, score_run
from helpers.score_folders import score_folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two generations of one pair each, and a pair of which nothing is known, scored before."""
    folder = tmp_path_factory.mktemp("generations")
    for i in range(4):
        score_run(folder / f"m{i}", f"org/m{i}", STUDIES, i)
    lines = ["post_trained,base,post_training,family,size_b", "m1,m0,instruct,new2,8", "m3,m2,instruct,old1,0.5"]
    (folder / "pairs.csv").write_text("\n".join([*lines, "m3,m0,,,"]))
    arguments = ("--pairs", "pairs.csv", "--resamples", "200", "--output_dir", "out")
    assert evaluate("generations.py", *arguments, cwd=folder).returncode == 0
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


def test_models_of_other_windows_are_held_over_the_responses_that_all_scored(tmp_path: Path) -> None:
    """The first two of ten responses are hard, and all that the window of the small pair holds."""
    nlls = {"small": 0.5, "small-it": 0.6, "large": 0.7, "large-it": 0.8}
    runs = {}
    for name, nll in nlls.items():
        n = 2 if name.startswith("small") else 10
        rows = [
            (SessionKey(study, "e", str(person)), {r: nll + 2 * (r < 2) + person * r / 64 for r in range(n)})
            for study in "rs"
            for person in range(3)
        ]
        runs[name] = read_run(score_folder(tmp_path / name, rows))
    pairs = [ModelPair(f"{name}-it", name, "sft", name, size) for name, size in (("small", 0.1), ("large", 7.0))]
    found = find_generations(pairs, runs, EstimateArguments(resamples=50))
    table = found.tables["generations.csv"].set_index("base")
    hard = 2 + 1 / 128  # the second response of three people, every other one
    assert table.loc["small", ["nll_base", "nll_post"]].tolist() == pytest.approx([0.5 + hard, 0.6 + hard])
    assert table.loc["large", ["nll_base", "nll_post"]].tolist() == pytest.approx([0.7 + hard, 0.8 + hard])
    assert "over the 12 responses that all of them scored; 48 that some did not are left out" in found.record["verdict"]


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


def test_a_report_shows_the_generations(folder: Path) -> None:
    done = centaurlab("report", "out", cwd=folder)
    assert done.returncode == 0
    assert "By size and generation: base models: NLL = " in done.stdout
    assert "0.5 billion parameters and" in done.stdout
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
def test_mistakes_are_one_sentence(arguments: list[str], message: str, tmp_path: Path) -> None:
    done = evaluate("generations.py", *arguments, "--output_dir", tmp_path / "out")
    assert message in done.error
    assert done.stderr.splitlines()[-1] == done.error
