"""No job begins in the folder of another, and none leaves there what an earlier call found and it did not."""

from pathlib import Path

import pandas as pd
import pytest
from matplotlib.figure import Figure

from centaurlab.analyses.analysis import Finding
from centaurlab.jobs.job import write_files
from centaurlab.runs.folder import WRITTEN, RunFolder
from helpers.commands import evaluate


@pytest.mark.parametrize(
    ("script", "options"),
    [
        ("benchmark", ["--model_name_or_path", "model"]),
        ("diagnosis", ["--base", "base", "--post", "post"]),
        ("frontier", ["--base", "base", "--models", "post"]),
        ("generations", ["--pairs", "qwen3"]),
        ("misalignment", ["--base", "base", "--post", "post"]),
        ("personas", ["--model_name_or_path", "base"]),
        ("trajectory", ["--run", "base"]),
    ],
)
def test_no_script_begins_in_the_folder_of_another_job(script: str, options: list[str], tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text('{"job": "score"}')
    done = evaluate(f"{script}.py", *options, "--output_dir", "run", cwd=tmp_path)
    assert f"run holds a run of score, not of {script}" in done.error
    assert [path.name for path in tmp_path.rglob("*")] == ["run", "run.json"]


def test_what_an_earlier_call_wrote_and_this_one_does_not_is_removed_and_nothing_else(tmp_path: Path) -> None:
    folder, table = RunFolder(tmp_path / "run", "fidelity"), pd.DataFrame({"d": [0.5]})

    def call(tables: list[str], figures: list[str], written: list[str] | None = None) -> set[str]:
        finding = Finding(dict.fromkeys(tables, table), {}, {name: Figure() for name in figures})
        folder.finish({"job": "fidelity", WRITTEN: write_files(folder, finding) if written is None else written})
        return {path.name for path in folder.path.rglob("*") if path.is_file()} - {"run.json"}

    (tmp_path / "mine.csv").write_text("")
    (folder.path / "mine.csv").write_text("a\n1\n")
    both = {"fidelity.csv", "gap.csv", "gap.png", "gap.pdf", "mine.csv"}
    assert call(["fidelity.csv", "gap.csv"], ["gap"]) == both
    assert call([], [], ["../mine.csv", "gap.csv", "figures/gap.png", "figures/gap.pdf"]) == both
    assert call(["fidelity.csv"], []) == {"fidelity.csv", "mine.csv"}
    assert (tmp_path / "mine.csv").exists()
