"""``centaurlab demo`` from the first score to the report, on a tiny model and people of our own."""

import shlex
import shutil
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from centaurlab.cli.demo import Settings, run_demo, steps
from centaurlab.runs.folder import RunFolder
from centaurlab.runtime.errors import UserError
from helpers.commands import UNTRACKED, Done, centaurlab, run_python
from helpers.tiny_models import save_tiny_llama
from helpers.transcripts import sessions_of, write_transcripts


def demo(folder: Path, *options: object) -> Done:
    return run_python(
        "-m", "centaurlab", "demo", *options, cwd=folder, MLFLOW_TRACKING_URI=f"sqlite:///{folder / 'mlflow.db'}"
    )


def write_people(folder: Path) -> Path:
    def text(_: str, person: int) -> str:
        return "Machines J and F. " + f"You choose <<{'JF'[person % 2]}>>. " * 4 + "You choose <<J>>."

    return write_transcripts(folder / "people.jsonl", sessions_of(("alpha", "beta"), 20, text))


@pytest.mark.slow
def test_the_story_is_told_and_the_second_time_only_its_end(tiny_llama_dir: Path, tmp_path: Path) -> None:
    options = ["--quick", "--model", str(tiny_llama_dir), "--data", str(write_people(tmp_path))]
    options += ["--novel_studies", "beta", "--output_dir", str(tmp_path / "demo")]
    first = demo(tmp_path, *options)
    assert first.returncode == 0, first.stderr
    page = (tmp_path / "demo" / "report.html").read_text()
    assert "alpha" in page
    assert "beta" in page
    again = demo(tmp_path, *options)
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("done before") == 8
    assert first.stdout[first.stdout.index("What was found") :] == again.stdout[again.stdout.index("What was found") :]
    _, _, after = again.stdout.partition("\nNext\n")
    begin = "   centaurlab "
    follow_up = [line.removeprefix(begin) for line in after.splitlines() if line.startswith(begin)]
    assert len(follow_up) == 3
    for line in follow_up:
        steps = ("--max_steps", "2", "--save_steps", "2", "--eval_steps", "2") if line.startswith("train") else ()
        done = run_python("-m", "centaurlab", *shlex.split(line), *steps, *UNTRACKED, cwd=tmp_path)
        assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.usefixtures("offline")
def test_models_act_and_are_held_against_people(tiny_llama_dir: Path, tmp_path: Path) -> None:
    settings = Settings(str(tiny_llama_dir), "starter", None, tmp_path, quick=True)
    save_tiny_llama(tmp_path / "post-trained", seed=1)
    save_tiny_llama(tmp_path / "centaur", seed=2)
    acting = [step.arguments for step in steps(settings)[8:]]
    assert [words[0] for words in acting] == ["simulate", "simulate", "simulate", "fidelity"]
    for words in acting:
        done = centaurlab(*words, *UNTRACKED)
        assert done.returncode == 0, done.stderr
    found = pd.read_csv(tmp_path / "fidelity" / "fidelity.csv")
    assert set(found["study"]) == {"revelle2010personality", "smith2018abortion"}
    assert found["system"].nunique() == 3


def test_own_data_need_studies_to_judge_by(tmp_path: Path) -> None:
    done = demo(tmp_path, "--data", "people.jsonl", "--output_dir", str(tmp_path / "demo"))
    assert "--novel_studies" in done.error
    assert not (tmp_path / "demo").exists()


def test_studies_that_the_data_lack_are_named_before_the_first_step(tmp_path: Path) -> None:
    options = ["--data", str(write_people(tmp_path)), "--novel_studies", "alpha,betta"]
    done = demo(tmp_path, "--model", "none", *options, "--output_dir", str(tmp_path / "demo"))
    assert "no study 'betta' in the data; did you mean 'beta'?" in done.error
    assert done.stdout == ""
    assert not (tmp_path / "demo").exists()


def test_what_was_done_with_data_or_a_model_that_have_changed_since_is_not_taken_for_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ran: list[str] = []

    def run(arguments: list[str], group: str) -> None:
        ran.append(arguments[0])
        RunFolder(Path(arguments[arguments.index("--output_dir") + 1]), arguments[0]).finish({"job": arguments[0]})

    monkeypatch.setattr("centaurlab.cli.demo._report", lambda *_: None)
    monkeypatch.setattr("centaurlab.cli.demo._run", run)
    people, model = write_people(tmp_path), tmp_path / "model"
    model.mkdir()
    (model / "model.safetensors").write_bytes(b"one")
    settings = Settings(str(model), str(people), "beta", tmp_path / "demo", quick=True)
    run_demo(settings)
    assert "steps and a report. Interrupted" in capsys.readouterr().out, "how long it takes is not known"
    people.touch()
    run_demo(settings)
    assert len(ran) == 8, "each step once"
    shutil.rmtree(tmp_path / "demo" / "centaur")
    run_demo(settings)
    assert ran[8:] == ["train", "generalisation", "baselines"], "a step whose folder is gone, and what follows"
    told = people.read_text()
    people.write_text(told.replace("You choose <<F>>.", "You choose <<J>>."))
    with pytest.raises(UserError, match="was begun with other data; give another --output_dir"):
        run_demo(settings)
    people.write_text(told)
    (model / "model.safetensors").write_bytes(b"two")
    with pytest.raises(UserError, match="was begun with another model; give another --output_dir"):
        run_demo(settings)
    run_demo(replace(settings, output_dir=tmp_path / "other"))
    assert len(ran) == 11 + 8
