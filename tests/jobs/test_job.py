"""No job begins in the folder of another."""

from pathlib import Path

import pytest

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
