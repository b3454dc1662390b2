import json
import math
import os
import runpy
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from trl import ModelConfig, SFTConfig

from centaurlab.analyses.generalisation import (
    GeneralisationArguments,
    StudyGain,
    Summary,
    find_gains,
    marginal_nll,
    standard_error,
    uniform_nll,
)
from centaurlab.data.held_out import Split, read_split
from centaurlab.data.transcripts import Transcript
from centaurlab.display.terminal import show
from centaurlab.jobs.generalisation import check_base
from centaurlab.models.arguments import ModelArguments
from centaurlab.models.identity import identify
from centaurlab.runtime.errors import UserError
from centaurlab.scoring.scorer import ScoredSession, SessionError, SessionScorer
from centaurlab.training.centaur import prepare_run
from centaurlab.training.options import CentaurArguments
from helpers.tiny_models import save_tiny_llama

SCRIPT = Path(__file__).parents[2] / "eval" / "generalisation.py"
Run = Callable[..., str]


def write_people(folder: Path, people: Iterable[int]) -> str:
    """The same people in three studies, who answer by their number, no two sessions alike."""
    folder.mkdir()
    rows = [
        {
            "text": f"{study}, {p}. Choose. <<{'JF'[p % 2]}>>. Again. <<J>>.",
            "experiment": f"{study}/exp1.csv",
            "participant": p,
        }
        for study in ("alpha", "beta", "gamma")
        for p in people
    ]
    (folder / "sessions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(folder)


def save_adapter(folder: Path, model: Path, data: str, **data_settings: str) -> None:
    """An adapter as training begins with it, with its split.json."""
    training = SFTConfig(str(folder), use_cpu=True, bf16=False, report_to="none", activation_checkpointing=False)
    lora = ModelConfig(str(model), dtype="float32", use_peft=True, lora_r=4, lora_target_modules=["q_proj", "v_proj"])
    run = prepare_run(CentaurArguments(data=data, novel_studies="gamma", **data_settings), training, lora)
    run.trainer.save_model()


def people_in(scores: Path) -> set[str]:
    return set(pd.read_parquet(scores / "scores.parquet")["participant"])


def fail_at_the_first_session(monkeypatch: pytest.MonkeyPatch) -> None:
    score, seen = SessionScorer.score, []

    def fail_once(scorer: SessionScorer, *session: Any) -> ScoredSession:
        seen.append(session)
        if len(seen) == 1:
            raise SessionError("memory ran out")
        return score(scorer, *session)

    monkeypatch.setattr(SessionScorer, "score", fail_once)


@pytest.fixture
def run(tmp_path: Path, offline: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the script in this process, in an empty folder; what it prints or, when it fails, its exit code and error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("centaurlab.jobs.job.keep_freed_memory", lambda: None)

    def run_script(*arguments: object) -> str:
        monkeypatch.setattr(sys, "argv", [str(SCRIPT), *map(str, arguments), "--report_to", "none"])
        capsys.readouterr()
        try:
            runpy.run_path(str(SCRIPT), run_name="__main__")
        except SystemExit as stop:
            return f"{stop.code}, {capsys.readouterr().err}"
        return capsys.readouterr().out

    return run_script


def told(*answers: str) -> Transcript:
    return Transcript(" ".join(f"You say <<{answer}>>." for answer in answers), "study", "exp", "1")


def test_uniform_spreads_over_the_answers_of_each_session() -> None:
    expected = (2 * math.log(2) + 4 * math.log(4)) / 6
    assert uniform_nll([told("J", "F"), told("a", "b", "c", "d")]) == pytest.approx(expected)


def test_marginal_uses_training_frequencies_with_room_for_other_answers() -> None:
    training, test = [told("J", "J", "J", "F")], [told("J", "F", "never seen")]
    expected = -(math.log(4 / 7) + math.log(2 / 7) + math.log(1 / 7)) / 3
    assert marginal_nll(training, test) == pytest.approx(expected)


def test_without_training_participants_there_is_no_marginal() -> None:
    assert math.isnan(marginal_nll([], [told("J")]))


def test_standard_error_over_studies() -> None:
    assert standard_error([1.0, 3.0, float("nan")]) == pytest.approx(1.0)
    assert math.isnan(standard_error([1.0]))


def test_an_adapter_of_another_base_is_refused(tiny_llama_dir: Path, tmp_path: Path) -> None:
    base, other = ModelArguments(str(tiny_llama_dir)), ModelArguments(str(save_tiny_llama(tmp_path, seed=1)))
    split = Split("starter", None, frozenset(), frozenset(), (), 0, identify(base).fingerprint)
    check_base(split, base, Path("runs/centaur"))
    with pytest.raises(UserError, match=f"runs/centaur was trained on another base than {tmp_path}"):
        check_base(split, other, Path("runs/centaur"))


@pytest.mark.parametrize(
    ("trained", "given", "options"),
    [
        ({"load_in_4bit": True}, {}, "--dtype bfloat16 --load_in_4bit"),
        ({"load_in_8bit": True}, {"load_in_4bit": True}, "--dtype bfloat16 --load_in_8bit"),
        ({"dtype": "float32"}, {"load_in_4bit": True}, "--dtype float32 and no quantisation"),
    ],
)
def test_a_base_loaded_otherwise_than_in_training_is_told_from_another_base(
    trained: dict[str, Any], given: dict[str, Any], options: str, tiny_llama_dir: Path
) -> None:
    name = str(tiny_llama_dir)
    split = Split(
        "starter", None, frozenset(), frozenset(), (), 0, identify(ModelArguments(name, **trained)).fingerprint
    )
    with pytest.raises(UserError, match=f"trained on {name} loaded with {options}; load it here in the same way"):
        check_base(split, ModelArguments(name, **given), Path("runs/centaur"))


def test_a_folder_that_is_no_adapter_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"split\.json"):
        read_split(tmp_path)


def test_an_interval_that_does_not_exist_is_printed_as_such(capsys: pytest.CaptureFixture[str]) -> None:
    numbers = {"nll_base": 0.7, "nll_centaur": 0.6, "d": 0.25, "d_low": math.nan, "d_high": math.nan}
    gain = StudyGain("novel", "alpha", 1, 20, **numbers, nll_uniform=0.69, nll_marginal=math.nan)
    asked = GeneralisationArguments("org/base", "runs/centaur", "out")
    show(*find_gains(asked, [gain], [Summary("novel", 1, **numbers, d_sem=math.nan, improved=1.0)]).shown)
    printed = capsys.readouterr().out
    assert "nan" not in printed
    (row,) = (line.split() for line in printed.splitlines() if line.split()[:1] == ["alpha"])
    assert row[-8:] == ["+0.250", "–", "1", "20", "0.700", "0.600", "0.690", "–"]
    assert (
        "on novel studies (1 study), in alpha, the higher NLL in these data is that of base (d = +0.250; no interval: "
        "it needs two people or more, so that it cannot be told from chance); this says nothing of other studies; the "
        "NLL fell in 100 % of the studies"
    ) in printed


def test_with_eval_data_its_people_are_held_out_and_nobody_trained_on(
    run: Run, tiny_llama_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = {
        "marcelbinz/Psych-101": Path(write_people(tmp_path / "train", range(20))),
        "marcelbinz/Psych-101-test": Path(write_people(tmp_path / "test", range(20, 24))),
    }
    monkeypatch.setattr("centaurlab.data.hub.download", folders.__getitem__)
    eval_file = tmp_path / "test" / "sessions.jsonl"
    eval_file.write_text("".join(row for row in eval_file.open() if "gamma" not in row))
    data, eval_data = folders
    save_adapter(tmp_path / "adapter", tiny_llama_dir, data, eval_data=eval_data)
    command = ["--base", tiny_llama_dir, "--adapter", "adapter", "--output_dir", "out", "--dtype", "float32"]

    assert "studies: out/studies.csv" in run(*command, "--data", data)
    assert people_in(tmp_path / "out" / "held_out-centaur") == {str(p) for p in range(20, 24)}
    assert people_in(tmp_path / "out" / "novel-base") == {str(p) for p in range(20)}
    gains = pd.read_csv(tmp_path / "out" / "studies.csv").set_index("study")
    assert dict(gains["kind"]) == {"alpha": "held_out", "beta": "held_out", "gamma": "novel"}
    # 30 J and 10 F of everybody in the training data; 6 J and 2 F to predict.
    expected = -(6 * math.log(31 / 43) + 2 * math.log(11 / 43)) / 8
    assert gains["nll_marginal"]["alpha"] == pytest.approx(expected)

    error = run(*command, "--data", eval_data)
    assert f"{eval_data} lacks 40 of 40 people" in error
    assert f"give --data {data}, as in training" in error


def test_people_are_held_out_as_in_training_when_the_data_have_grown(
    run: Run, tiny_llama_dir: Path, tmp_path: Path
) -> None:
    data = write_people(tmp_path / "data", range(30))
    save_adapter(tmp_path / "adapter", tiny_llama_dir, data)
    write_people(tmp_path / "more", range(30, 300))
    (tmp_path / "more" / "sessions.jsonl").rename(tmp_path / "data" / "more.jsonl")
    split = json.loads((tmp_path / "adapter" / "split.json").read_text())
    command = ["--base", tiny_llama_dir, "--adapter", "adapter", "--output_dir", "out", "--dtype", "float32"]
    run(*command, "--data", data, "--max_participants", "2")
    scores = pd.read_parquet(tmp_path / "out" / "held_out-base" / "scores.parquet")
    for study, about in split["studies"].items():
        held_out = {participant for _, participant in about["test"]}
        judged_on = set(scores["participant"][scores["study"] == study])
        assert len(judged_on) == 2
        assert judged_on <= held_out


def test_what_training_was_told_of_its_data_can_be_told_again(run: Run, tiny_llama_dir: Path, tmp_path: Path) -> None:
    """Which split it is, and that malformed sessions are left out, in the data and in those held out."""
    data, eval_data = write_people(tmp_path / "data", range(4)), write_people(tmp_path / "test", range(10, 12))
    (tmp_path / "data" / "sessions.jsonl").rename(tmp_path / "data" / "train.jsonl")
    eval_file = tmp_path / "test" / "sessions.jsonl"
    eval_file.write_text("".join(row for row in eval_file.open() if "gamma" not in row))
    (tmp_path / "data" / "test.jsonl").write_text(eval_file.read_text())
    for file in (tmp_path / "data" / "train.jsonl", eval_file):
        file.write_text(file.read_text() + "no JSON\n")
    told = {"data_split": "train", "on_malformed": "skip"}
    save_adapter(tmp_path / "adapter", tiny_llama_dir, data, eval_data=eval_data, **told)
    command = ["--base", tiny_llama_dir, "--adapter", "adapter", "--output_dir", "out", "--dtype", "float32"]
    command += ["--data", data, "--data_split", "train"]
    assert "leave such sessions out with --on_malformed skip" in run(*command)
    assert "studies: out/studies.csv" in run(*command, "--on_malformed", "skip")
    assert people_in(tmp_path / "out" / "held_out-base") == {"10", "11"}
    assert people_in(tmp_path / "out" / "novel-base") == {"0", "1", "2", "3"}


def test_a_session_that_cannot_be_scored_is_named_and_the_rest_is_judged(
    run: Run, tiny_llama_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write_people(tmp_path / "data", range(30))
    save_adapter(tmp_path / "adapter", tiny_llama_dir, data)
    fail_at_the_first_session(monkeypatch)
    command = ["--base", tiny_llama_dir, "--adapter", "adapter", "--output_dir", "out", "--dtype", "float32"]
    said = run(*command, "--data", data)
    assert said.startswith("1, ")
    assert "1 session could not be scored, and out/held_out-base/scores.parquet holds the others" in said
    assert "of 'alpha' (experiment 'alpha/exp1.csv'): memory ran out" in said
    gains = pd.read_csv(tmp_path / "out" / "studies.csv").set_index("study")
    assert dict(gains["participants"]) == {"alpha": 2, "beta": 3, "gamma": 30}
    assert "studies: out/studies.csv" in run(*command, "--data", data)


def test_a_study_of_which_no_session_can_be_scored_is_left_out(
    run: Run, tiny_llama_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write_people(tmp_path / "data", range(10))
    save_adapter(tmp_path / "adapter", tiny_llama_dir, data)
    fail_at_the_first_session(monkeypatch)  # alpha's one person held out
    command = ["--base", tiny_llama_dir, "--adapter", "adapter", "--output_dir", "out", "--dtype", "float32"]
    assert "of 'alpha' (experiment 'alpha/exp1.csv'): memory ran out" in run(*command, "--data", data)
    assert list(pd.read_csv(tmp_path / "out" / "studies.csv")["study"]) == ["beta", "gamma"]


def test_an_adapter_that_held_out_nobody_is_refused(tmp_path: Path) -> None:
    split = {"data": "starter", "eval_data": None, "studies": {"alpha": {"train": [["exp", "1"]], "test": []}}}
    split |= {"novel_studies": [], "split_seed": 0, "base_fingerprint": "abc"}
    (tmp_path / "split.json").write_text(json.dumps(split))
    with pytest.raises(UserError, match="held out nobody to judge it on; train with more people or --novel_studies"):
        read_split(tmp_path)


def test_an_adapter_that_is_not_there_is_named_and_not_made(run: Run, tmp_path: Path) -> None:
    for name in ("runs/typo", "org/adapter-of-the-hub"):
        error = run("--base", "any", "--adapter", name, "--output_dir", "out")
        assert error.startswith(f"2, error: there is no folder {name}; --adapter")
    assert not list(tmp_path.iterdir())


def test_an_adapter_is_read_from_a_folder_that_cannot_be_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    split = {"data": "starter", "eval_data": None, "studies": {}, "novel_studies": ["beta"]}
    split |= {"split_seed": 3, "base_fingerprint": "abc"}
    (tmp_path / "split.json").write_text(json.dumps(split))
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write anywhere
    assert read_split(tmp_path).split_seed == 3
