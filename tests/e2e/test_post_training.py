"""Post-training and winning human-likeness back, as a user runs it: each command on the output of the one before."""

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).parents[2]


UNTRACKED = ("--report_to", "none")


def command(folder: Path, script: str, *arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / script), *arguments],
        cwd=folder, capture_output=True, text=True, timeout=900, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr


@pytest.mark.slow
def test_from_base_to_frontier(tiny_llama_dir: Path, tmp_path: Path) -> None:
    rows = [
        {"text": "Machines J and F. " + f"You choose <<{'JF'[p % 2]}>>. " * 4, "experiment": s, "participant": p}
        for s in ("alpha", "beta")
        for p in range(20)
    ]
    (tmp_path / "people.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    people = ["--data", "people.jsonl", "--participants", "test"]
    configs = ROOT / "recipes" / "configs"
    base = str(tiny_llama_dir)
    command(
        *(tmp_path, "recipes/posttrain.py", "--config", f"{configs}/posttrain-gemma-3-270m.yaml"),
        *("--model_name_or_path", base, "--max_examples", "60", "--max_steps", "4", "--save_steps", "2"),
        *("--output_dir", "sft", "--learning_rate", "1e-2", *UNTRACKED),
    )
    command(
        *(tmp_path, "eval/trajectory.py", "--run", "sft", *people, *UNTRACKED),
        *("--items", "12", "--output_dir", "trajectory"),
    )
    trajectory = pd.read_csv(tmp_path / "trajectory" / "trajectory.csv")
    assert sorted(set(trajectory["step"])) == [0, 2, 4]
    assert sorted(set(trajectory["name"])) == ["all studies", "alpha", "beta"]
    assert json.loads((tmp_path / "trajectory" / "run.json").read_text())["job"] == "trajectory"

    centaur = ["--config", f"{configs}/gemma-3-270m-starter.yaml", "--data", "people.jsonl", "--novel_studies", "beta"]
    centaur += UNTRACKED
    command(tmp_path, "recipes/merge.py", "--adapter", "sft", "--output_dir", "merged", *UNTRACKED)
    steps = ["--max_steps", "2", "--eval_steps", "2", "--save_steps", "2"]
    command(
        *(tmp_path, "recipes/centaur.py", *centaur, *steps),
        *("--model_name_or_path", "sft", "--output_dir", "centaur"),
    )
    command(
        tmp_path, "recipes/interpolate.py", "--post", "sft", "--alpha", "0", "1", "--output_dir", "between", *UNTRACKED
    )
    models = ["sft=sft", "zero=between/alpha-0", "one=between/alpha-1", "merged=merged", "centaur=centaur"]
    command(
        *(tmp_path, "eval/frontier.py", "--base", base, "--models", *models, *people, *UNTRACKED),
        *("--items", "12", "--output_dir", "frontier"),
    )
    table = pd.read_csv(tmp_path / "frontier" / "frontier.csv").set_index("name")
    assert table.loc["zero", "nll"] == pytest.approx(table.loc["base", "nll"], abs=1e-5)
    assert table.loc["one", "nll"] == pytest.approx(table.loc["sft", "nll"], abs=1e-5)
    assert table.loc["sft", "nll"] != pytest.approx(table.loc["base", "nll"], abs=1e-3)
    assert (tmp_path / "frontier" / "figures" / "frontier.png").stat().st_size > 1000
