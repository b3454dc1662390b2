"""The tutorials do what they say: each command of a page in its order, its R, and every notebook, with tiny models."""

import json
import os
import re
import shlex
import shutil
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest

import centaurlab as cl
from helpers.commands import UNTRACKED, centaurlab, installed, run_process
from helpers.json_files import run_json
from helpers.paths import ROOT
from helpers.readme import blocks
from helpers.tiny_models import save_tiny_llama

PAGE = ROOT / "docs" / "my-own-csv.md"
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
TRACKED = ("score", "misalignment")


def commands(page: Path) -> list[list[str]]:
    """What follows ``centaurlab`` in each line of a page that is a command."""
    lines = (shlex.split(line) for line in blocks(page.read_text(encoding="utf-8")) if line.startswith("centaurlab "))
    return [words[1:] for words in lines]


def test_tables_of_the_tutorial_become_the_sessions_that_it_shows(tmp_path: Path) -> None:
    for words in commands(PAGE):
        if words[0] in ("data", "recipes"):
            done = centaurlab(*words, cwd=tmp_path)
            assert done.returncode == 0, done.stderr
            if "choices.jsonl" in words and "--output" in words:
                assert "8 people, 155 responses (17 to 21 per person) of 168 rows" in done.stdout
    shown = re.search(r"^(\nBlock 1\.\n.*\n.*\n)", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    second = json.loads((tmp_path / "choices.jsonl").read_text(encoding="utf-8").splitlines()[1])
    assert shown is not None
    assert shown[1] in second["text"]
    assert "8 sessions, 0 warnings" in centaurlab("data", "lint", "choices.jsonl", cwd=tmp_path).stdout


def test_answers_of_the_exports_are_those_between_markers(tmp_path: Path) -> None:
    """Oracle: the CSV files as pandas reads them."""
    for words in commands(PAGE):
        if words[:2] == ["data", "convert"] and words[-1].endswith(".jsonl"):
            assert centaurlab(*words, cwd=tmp_path).returncode == 0
    trials = pd.read_csv(ROOT / "recipes" / "exports" / "choices-jspsych.csv", dtype=str, keep_default_na=False)
    for line in (tmp_path / "choices.jsonl").read_text(encoding="utf-8").splitlines():
        session = json.loads(line)
        left, right = re.findall(r"([A-Z]) on the (?:left|right)", session["text"])
        own = trials[(trials["subject"] == session["participant"]) & (trials["task"] == "choice")]
        own = own[own["response"] != "null"]
        keys = [{left: "f", right: "j"}[answer] for answer in re.findall(r"You press <<(.)>>", session["text"])]
        assert keys == own["response"].tolist()
        assert session["RTs"][: len(keys)] == own["rt"].astype(int).tolist()
    survey = pd.read_csv(ROOT / "recipes" / "exports" / "survey-qualtrics.csv", dtype=str, keep_default_na=False)
    finished = survey[(survey["Finished"] == "True") & (survey["Status"] == "IP Address")].set_index("ResponseId")
    told = [json.loads(line) for line in (tmp_path / "street.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [one["participant"] for one in told] == finished.index.tolist()
    for one in told:
        cells = finished.loc[one["participant"], ["Q2", "Q3", "Q4", "Q5", "Q6"]]
        assert re.findall(r"<<(.*?)>>", one["text"], re.DOTALL) == [cell for cell in cells if cell]
        assert one["age"] == int(finished.loc[one["participant"], "Q1"])


@pytest.fixture
def models(tiny_llama_dir: Path, tmp_path: Path) -> dict[str, str]:
    post = save_tiny_llama(tmp_path / "post", seed=1)
    return {"gemma-3-270m": str(tiny_llama_dir), "runs/demo/post-trained": str(post)}


@pytest.mark.slow
@pytest.mark.usefixtures("offline")
def test_every_command_of_the_tutorial_runs_in_its_order(models: dict[str, str], tmp_path: Path) -> None:
    named = models | {"$SMOLLM2": models["runs/demo/post-trained"]}
    for words in commands(PAGE):
        given = [named.get(word, word) for word in words]
        done = centaurlab(*given, *(UNTRACKED if words[0] in TRACKED else ()), cwd=tmp_path)
        assert done.returncode == 0, (words, done.stderr)
    assert (tmp_path / "choices.html").exists()
    assert (tmp_path / "runs" / "choices-post" / "view.html").exists()


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("Rscript") is None, reason="needs R")
@pytest.mark.usefixtures("offline")
def test_r_reads_the_files_and_gets_the_same_numbers(models: dict[str, str], tmp_path: Path) -> None:
    named = zip(("base", "post"), models.values(), strict=True)
    runs = [cl.score(model, "starter", tmp_path / "runs" / name, max_participants=2) for name, model in named]
    done = centaurlab(
        *("misalignment", "--base", runs[0].folder, "--post", runs[1].folder),
        *("--output_dir", tmp_path / "runs" / "effect", *UNTRACKED),
    )
    assert done.returncode == 0, done.stderr
    for run in runs:
        run.table().to_csv(tmp_path / f"{run.folder.name}.csv", index=False)
    chunks = re.findall(r"^```r\n(.*?)^```", (ROOT / "docs" / "r.md").read_text("utf-8"), re.MULTILINE | re.DOTALL)
    told = "\nwriteLines(format(c(mean(nll), d[sort(names(d))]), digits = 15))\n"
    if run_process("Rscript", "-e", "library(lme4)").returncode:
        chunks = [chunk for chunk in chunks if "lme4" not in chunk]
    (tmp_path / "page.R").write_text("\n".join(chunks) + told, encoding="utf-8")
    done = run_process("Rscript", "page.R", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    effects = pd.read_csv(tmp_path / "runs" / "effect" / "effects.csv")
    studies = effects[(effects["group"] == "pair") & (effects["level"] == "study")].sort_values("name")
    expected = [run_json(runs[0].folder)["nll_mean"], *studies["d"]]
    np.testing.assert_allclose(list(map(float, done.stdout.split()[-len(expected) :])), expected, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(notebook: Path, models: dict[str, str], tmp_path: Path) -> None:
    text = notebook.read_text(encoding="utf-8")
    for name, model in models.items():
        text = text.replace(f'\\"{name}\\"', f'\\"{model}\\"')
    (tmp_path / notebook.name).write_text(text, encoding="utf-8")
    path = f"{Path(installed('python')).parent}{os.pathsep}{os.environ['PATH']}"
    done = run_process(installed("jupyter-execute"), "--output=done.ipynb", notebook.name, cwd=tmp_path, PATH=path)
    assert done.returncode == 0, done.stderr
    cells = nbformat.read(tmp_path / "done.ipynb", as_version=4).cells
    assert not [output for cell in cells for output in cell.get("outputs", []) if output.output_type == "error"]
    assert all(cell.execution_count for cell in cells if cell.cell_type == "code")


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_kept_without_results(notebook: Path) -> None:
    cells = nbformat.read(notebook, as_version=4).cells
    assert not [cell for cell in cells if cell.get("outputs") or cell.get("execution_count")]


def test_there_is_a_notebook_for_each_tutorial() -> None:
    assert [path.stem for path in NOTEBOOKS] == ["first-look", "jspsych", "qualtrics", "share"]
