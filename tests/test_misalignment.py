"""``eval/misalignment.py`` as a user runs it: on folders of scores, on models, and on what cannot be compared."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

SCRIPT = Path(__file__).parents[1] / "eval" / "misalignment.py"


def misalignment(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def sessions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve people in each of two studies, who press one of two keys eight times."""
    rng = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("data") / "sessions.jsonl"
    lines = [
        {
            "text": "You see two keys.\n" + "".join(f"You press <<{key}>>.\n" for key in rng.choice(["J", "F"], 8)),
            "experiment": f"{study}/exp1.csv",
            "participant": person,
        }
        for study in ("keys2020", "again2021")
        for person in range(12)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@pytest.fixture(scope="module")
def finished(
    sessions: Path, tiny_llama_dir: Path, tiny_gemma_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """Two models compared by name: scored first, in the output folder."""
    folder = tmp_path_factory.mktemp("runs")
    arguments = ["--base", tiny_llama_dir, "--post", tiny_gemma_dir, "--data", sessions, "--resamples", "200"]
    return folder / "effect", misalignment(*arguments, "--output_dir", "effect", "--dtype", "float32", cwd=folder)


def test_models_are_scored_first_and_then_compared(finished: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, done = finished
    assert done.returncode == 0, done.stderr
    assert len(list((folder / "scores").glob("*/scores.parquet"))) == 2
    table = pd.read_csv(folder / "effects.csv")
    pd.testing.assert_frame_equal(table, pd.read_parquet(folder / "effects.parquet"), check_dtype=False)
    assert table.loc[0, ["level", "name", "n_studies"]].tolist() == ["overall", "all studies", 2]
    assert set(table.query("level == 'study'")["name"]) == {"keys2020", "again2021"}
    assert table.query("level == 'study'")["n_responses"].tolist() == [96, 96]
    assert (table["d_low"] <= table["d"]).all()
    assert (table["d"] <= table["d_high"]).all()


def test_the_effects_are_those_of_the_scores(finished: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, _ = finished
    run = json.loads((folder / "run.json").read_text())
    base, post = (pd.read_parquet(folder.parent / run[side]["folder"] / "scores.parquet") for side in ("base", "post"))
    for _, row in pd.read_csv(folder / "effects.csv").query("level == 'study'").iterrows():
        x, y = (scores.loc[scores["study"] == row["name"], "nll"].astype(float) for scores in (base, post))
        assert row["d"] == pytest.approx((y.mean() - x.mean()) / np.sqrt((x.var() + y.var()) / 2))
        assert (row["nll_base"], row["nll_post"]) == pytest.approx((x.mean(), y.mean()))


def test_the_terminal_says_which_model_is_worse(finished: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, done = finished
    overall = json.loads((folder / "run.json").read_text())["overall"]
    assert overall["verdict"] in done.stdout
    excludes = overall["d"]["low"] > 0 or overall["d"]["high"] < 0
    assert ("which excludes zero" if excludes else "which includes zero") in done.stdout
    assert "keys2020" in done.stdout


def test_folders_of_scores_give_the_same_effects(
    finished: tuple[Path, subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    folder, _ = finished
    run = json.loads((folder / "run.json").read_text())
    base, post = (folder.parent / run[side]["folder"] for side in ("base", "post"))
    arguments = ["--base", base, "--post", post, "--resamples", "200", "--output_dir", "again"]
    done = misalignment(*arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "again/effects.csv").read_bytes() == (folder / "effects.csv").read_bytes()


def test_an_unfinished_run_is_one_sentence_and_exit_code_2(tmp_path: Path) -> None:
    (tmp_path / "unfinished/store").mkdir(parents=True)
    done = misalignment("--base", "unfinished", "--post", "unfinished", "--output_dir", "effect", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: unfinished is not a finished run of eval/score.py")
    assert "Traceback" not in done.stderr
