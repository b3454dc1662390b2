"""Post-training and winning human-likeness back, as a user runs it: each command on the output of the one before."""

from pathlib import Path

import pandas as pd
import pytest

from helpers.commands import UNTRACKED, run_python
from helpers.json_files import run_json
from helpers.paths import ROOT
from helpers.transcripts import sessions_of, write_transcripts


def command(folder: Path, script: str, *arguments: str) -> None:
    done = run_python(ROOT / script, *arguments, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr


@pytest.mark.slow
def test_from_base_to_frontier(tiny_llama_dir: Path, tmp_path: Path) -> None:
    def text(_: str, person: int) -> str:
        return "Machines J and F. " + f"You choose <<{'JF'[person % 2]}>>. " * 4

    write_transcripts(tmp_path / "people.jsonl", sessions_of(("alpha", "beta"), 20, text))
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
    assert run_json(tmp_path / "trajectory")["job"] == "trajectory"

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
