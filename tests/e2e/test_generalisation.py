"""``eval/generalisation.py`` as a user runs it: on the data of the training, grown, malformed in part, or others."""

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from centaurlab.scoring.responses import SessionError
from centaurlab.scoring.scorer import ScoredSession, SessionScorer
from centaurlab.training.centaur import prepare_run
from centaurlab.training.options import CentaurArguments
from helpers.adapters import save_adapter as save_foreign_adapter
from helpers.commands import Done, evaluate
from helpers.json_files import read_json
from helpers.trainings import lora_on, on_cpu
from helpers.transcripts import sessions_of, write_transcripts


def write_people(folder: Path, people: Iterable[int]) -> str:
    """The same people in three studies, who answer by their number, no two sessions alike."""

    def text(study: str, person: int) -> str:
        return f"{study}, {person}. Choose. <<{'JF'[person % 2]}>>. Again. <<J>>."

    write_transcripts(folder / "sessions.jsonl", sessions_of(("alpha", "beta", "gamma"), people, text))
    return str(folder)


def save_adapter(folder: Path, model: Path, data: str, **data_settings: str) -> None:
    """An adapter as training begins with it, with its split.json."""
    arguments = CentaurArguments(data=data, novel_studies="gamma", **data_settings)
    prepare_run(arguments, on_cpu(folder), lora_on(model, lora_r=4)).trainer.save_model()


def run(folder: Path, *arguments: object) -> Done:
    """The script in a folder."""
    return evaluate("generalisation.py", *arguments, cwd=folder)


def people_in(scores: Path) -> set[str]:
    return set(pd.read_parquet(scores / "scores.parquet")["participant"])


def fail_at_the_first_session(monkeypatch: pytest.MonkeyPatch) -> None:
    score, seen = SessionScorer.score_pieces, []

    def fail_once(scorer: SessionScorer, *session: Any) -> ScoredSession:
        seen.append(session)
        if len(seen) == 1:
            raise SessionError("memory ran out")
        return score(scorer, *session)

    monkeypatch.setattr(SessionScorer, "score_pieces", fail_once)


def test_with_eval_data_its_people_are_held_out_and_nobody_trained_on(
    tiny_llama_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = {
        "marcelbinz/Psych-101": Path(write_people(tmp_path / "train", range(20))),
        "marcelbinz/Psych-101-test": Path(write_people(tmp_path / "test", range(20, 24))),
    }
    monkeypatch.setattr("centaurlab.data.hub.download", lambda name, _: folders[name])
    eval_file = tmp_path / "test" / "sessions.jsonl"
    eval_file.write_text("".join(row for row in eval_file.read_text().splitlines(True) if "gamma" not in row))
    data, eval_data = folders
    save_adapter(tmp_path / "adapter", tiny_llama_dir, data, eval_data=eval_data)
    command = ["--base", tiny_llama_dir, "--adapter", "adapter", "--output_dir", "out", "--dtype", "float32"]

    assert "studies: out/studies.csv" in run(tmp_path, *command, "--data", data).stdout
    assert people_in(tmp_path / "out" / "held_out-centaur") == {str(p) for p in range(20, 24)}
    assert people_in(tmp_path / "out" / "novel-base") == {str(p) for p in range(20)}
    gains = pd.read_csv(tmp_path / "out" / "studies.csv").set_index("study")
    assert dict(gains["kind"]) == {"alpha": "held_out", "beta": "held_out", "gamma": "novel"}
    # 30 J and 10 F of everybody in the training data; 6 J and 2 F to predict.
    expected = -(6 * math.log(30.5 / 41) + 2 * math.log(10.5 / 41)) / 8
    assert gains["nll_marginal"]["alpha"] == pytest.approx(expected)

    error = run(tmp_path, *command, "--data", eval_data).error
    assert f"{eval_data} lacks 40 of 40 people" in error
    assert f"give --data {data}, as in training" in error


def test_people_are_held_out_as_in_training_when_the_data_have_grown(tiny_llama_dir: Path, tmp_path: Path) -> None:
    data = write_people(tmp_path / "data", range(30))
    save_adapter(tmp_path / "adapter", tiny_llama_dir, data)
    write_people(tmp_path / "more", range(30, 300))
    (tmp_path / "more" / "sessions.jsonl").rename(tmp_path / "data" / "more.jsonl")
    split = read_json(tmp_path / "adapter" / "split.json")
    command = ["--base", tiny_llama_dir, "--adapter", "adapter", "--output_dir", "out", "--dtype", "float32"]
    assert run(tmp_path, *command, "--data", data, "--max_participants", "2").returncode == 0
    scores = pd.read_parquet(tmp_path / "out" / "held_out-base" / "scores.parquet")
    for study, about in split["studies"].items():
        held_out = {participant for _, participant in about["test"]}
        judged_on = set(scores["participant"][scores["study"] == study])
        assert len(judged_on) == 2
        assert judged_on <= held_out


def test_what_training_was_told_of_its_data_can_be_told_again(tiny_llama_dir: Path, tmp_path: Path) -> None:
    """Which split it is, and that malformed sessions are left out, in the data and in those held out."""
    data, eval_data = write_people(tmp_path / "data", range(4)), write_people(tmp_path / "test", range(10, 12))
    (tmp_path / "data" / "sessions.jsonl").rename(tmp_path / "data" / "train.jsonl")
    eval_file = tmp_path / "test" / "sessions.jsonl"
    eval_file.write_text("".join(row for row in eval_file.read_text().splitlines(True) if "gamma" not in row))
    (tmp_path / "data" / "test.jsonl").write_text(eval_file.read_text())
    for file in (tmp_path / "data" / "train.jsonl", eval_file):
        file.write_text(file.read_text() + "no JSON\n")
    told = {"data_split": "train", "on_malformed": "skip"}
    save_adapter(tmp_path / "adapter", tiny_llama_dir, data, eval_data=eval_data, **told)
    command = ["--base", tiny_llama_dir, "--adapter", "adapter", "--output_dir", "out", "--dtype", "float32"]
    command += ["--data", data, "--data_split", "train"]
    assert "leave such sessions out with --on_malformed skip" in run(tmp_path, *command).error
    assert "studies: out/studies.csv" in run(tmp_path, *command, "--on_malformed", "skip").stdout
    assert people_in(tmp_path / "out" / "held_out-base") == {"10", "11"}
    assert people_in(tmp_path / "out" / "novel-base") == {"0", "1", "2", "3"}


def test_a_session_that_cannot_be_scored_is_named_and_the_rest_is_judged(
    tiny_llama_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write_people(tmp_path / "data", range(30))
    save_adapter(tmp_path / "adapter", tiny_llama_dir, data)
    fail_at_the_first_session(monkeypatch)
    command = ["--base", tiny_llama_dir, "--adapter", "adapter", "--output_dir", "out", "--dtype", "float32"]
    done = run(tmp_path, *command, "--data", data)
    assert done.returncode == 1
    assert f"are in no comparison: 1 of {tiny_llama_dir} (out/held_out-base/run.json)" in done.stderr
    assert "of 'alpha' (experiment 'alpha/exp1.csv'): memory ran out" in done.stderr
    gains = pd.read_csv(tmp_path / "out" / "studies.csv").set_index("study")
    assert dict(gains["participants"]) == {"alpha": 2, "beta": 3, "gamma": 30}
    assert "studies: out/studies.csv" in run(tmp_path, *command, "--data", data).stdout


def test_a_study_of_which_no_session_can_be_scored_is_left_out(
    tiny_llama_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write_people(tmp_path / "data", range(10))
    save_adapter(tmp_path / "adapter", tiny_llama_dir, data)
    fail_at_the_first_session(monkeypatch)  # alpha's one person held out
    command = ["--base", tiny_llama_dir, "--adapter", "adapter", "--output_dir", "out", "--dtype", "float32"]
    assert "of 'alpha' (experiment 'alpha/exp1.csv'): memory ran out" in run(tmp_path, *command, "--data", data).stderr
    assert list(pd.read_csv(tmp_path / "out" / "studies.csv")["study"]) == ["beta", "gamma"]


def test_an_adapter_that_is_not_there_is_named_and_not_made(tmp_path: Path) -> None:
    for name in ("runs/typo", "org/adapter-of-the-hub"):
        error = run(tmp_path, "--base", "any", "--adapter", name, "--output_dir", "out").error
        assert error.startswith(f"error: there is no folder {name}; --adapter")
    assert not list(tmp_path.iterdir())


def test_an_adapter_trained_elsewhere_is_judged_on_studies_that_it_never_saw(
    tiny_llama_dir: Path, tmp_path: Path
) -> None:
    data = write_people(tmp_path / "data", range(3))
    save_foreign_adapter(tiny_llama_dir, tmp_path / "foreign")
    asked = ("--base", tiny_llama_dir, "--adapter", tmp_path / "foreign", "--data", data, "--output_dir", "out")
    refused = run(tmp_path, *asked)
    assert refused.returncode == 2
    assert "--novel_studies" in refused.stderr
    done = run(tmp_path, *asked, "--novel_studies", "alpha, gamma")
    assert done.returncode == 0, done.stderr
    assert set(pd.read_csv(tmp_path / "out" / "studies.csv")["kind"]) == {"novel"}
    assert people_in(tmp_path / "out" / "novel-centaur") == {"0", "1", "2"}
    (note,) = read_json(tmp_path / "out" / "run.json")["notes"]
    assert "that it never saw these studies is your word" in note
    save_adapter(tmp_path / "own", tiny_llama_dir, data)
    own = run(tmp_path, *asked[:2], "--adapter", tmp_path / "own", *asked[4:], "--novel_studies", "alpha")
    assert own.returncode == 2
    assert "split.json" in own.stderr
