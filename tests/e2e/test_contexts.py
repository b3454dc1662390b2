"""``eval/personas.py`` as a user runs it: the same people and responses in every context, and folders kept apart."""

import json
import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from centaurlab.comparison import check_same, read_run
from centaurlab.errors import UserError

EVAL = Path(__file__).parents[2] / "eval"
KEY = ["study", "experiment", "participant", "response"]
Run = Callable[..., int]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a script of ``eval`` in this process; its exit code."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("CENTAURLAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("centaurlab.allocator.keep_freed_memory", lambda: None)

    def run_script(name: str, *arguments: object) -> int:
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments), "--dtype", "float32", "--report_to", "none"])
        try:
            runpy.run_path(str(EVAL / name), run_name="__main__")
        except SystemExit as stop:
            return int(stop.code or 0)
        return 0

    return run_script


def write_people(path: Path) -> Path:
    """Two studies of five people; the fifth of each has no metadata, and the fourth of the second only an age."""
    rows = []
    for study in ("alpha", "beta"):
        for i in range(5):
            text = f"Study {study}. You press <<{'JF'[i % 2]}>> and win {i}. You press <<{'FJ'[i % 3 == 0]}>>."
            row = {"text": text, "experiment": f"{study}/exp.csv", "participant": i, "age": 20.0 + i, "sex": "N/A"}
            if i < 4 and not (study == "beta" and i == 3):
                row["sex"] = ["male", "female"][i % 2]
            if i == 4:
                row["age"] = None
            rows.append(row)
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


def people_of(folder: Path) -> set[tuple[str, str]]:
    (scores,) = folder.glob("*/scores.parquet")
    table = pd.read_parquet(scores)
    return set(zip(table["study"], table["participant"], strict=True))


def nlls(folder: Path) -> pd.Series:
    (scores,) = folder.glob("*/scores.parquet")
    return pd.read_parquet(scores).set_index(KEY)["nll"].astype(float)


def test_personas_are_compared_on_the_same_people_and_responses(
    tmp_path: Path, tiny_llama_dir: Path, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out = write_people(tmp_path / "people.jsonl"), tmp_path / "out"
    asked = ("--model_name_or_path", tiny_llama_dir, "--data", data, "--output_dir", out)
    assert run("personas.py", *asked, "--fields", "each", "--unmatched", "--resamples", 50) == 0
    scores = out / "scores"
    with_metadata = {(study, str(i)) for study in ("alpha", "beta") for i in range(4)}
    assert (
        people_of(scores / "without") == people_of(scores / "with") == people_of(scores / "shuffled") == with_metadata
    )
    assert people_of(scores / "field-age") == with_metadata
    assert people_of(scores / "field-gender") == with_metadata - {("beta", "3")}
    assert people_of(scores / "everybody") == with_metadata | {("alpha", "4"), ("beta", "4")}

    table = pd.read_csv(out / "personas.csv").set_index(["comparison", "level", "name"])
    without, own, gender, everybody = (nlls(scores / name) for name in ("without", "with", "field-gender", "everybody"))
    for study in ("alpha", "beta"):
        row = table.loc[("persona", "study", study)]
        a, b = without[study], own[study]
        assert row["d"] == pytest.approx((a.mean() - b.mean()) / ((a.var() + b.var()) / 2) ** 0.5, abs=1e-5)
        assert (row["n_responses"], row["n_participants"]) == (8, 4)
        assert (row["nll_first"], row["nll_second"]) == pytest.approx((a.mean(), b.mean()), abs=1e-6)
        row = table.loc[("field gender", "study", study)]
        a, b = without.loc[gender.index][study], gender[study]
        assert row["d"] == pytest.approx((a.mean() - b.mean()) / ((a.var() + b.var()) / 2) ** 0.5, abs=1e-5)
        assert row["unmatched_first"] == row["unmatched_second"] == 0
        row = table.loc[(f"unmatched {tiny_llama_dir}", "study", study)]
        a, b = everybody[study], own[study]
        assert row["d"] == pytest.approx((a.mean() - b.mean()) / ((a.var() + b.var()) / 2) ** 0.5, abs=1e-5)
        assert row["d_low"] <= row["d"] <= row["d_high"]
    overall = table.loc[("persona", "overall", "all studies")]
    assert overall["d"] == pytest.approx(table.loc["persona"].loc["study"]["d"].mean())

    about = json.loads((out / "run.json").read_text())
    assert about["personas"]["fields"] == {"age": 8, "gender": 7}
    assert about["personas"]["kept_their_own"] == []
    assert about["overall"]["persona"]["d"]["value"] == pytest.approx(overall["d"])
    printed = capsys.readouterr().out
    assert about["overall"]["own_or_anothers"]["verdict"] in printed
    assert "no persona − gender-only persona" in printed


def test_a_persona_folder_and_a_plain_one_are_kept_apart(
    tmp_path: Path, tiny_llama_dir: Path, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out = write_people(tmp_path / "people.jsonl"), tmp_path / "out"
    asked = ("--model_name_or_path", tiny_llama_dir, "--data", data)
    assert run("personas.py", *asked, "--output_dir", out, "--resamples", 5) == 0
    (own,) = (out / "scores" / "with").iterdir()
    (without,) = (out / "scores" / "without").iterdir()
    assert run("score.py", *asked, "--output_dir", own) == 2
    assert "context {'" in capsys.readouterr().err
    assert run("score.py", *asked, "--output_dir", without) == 0
    without.rename(out / "scores" / "with" / "other")
    (out / "scores" / "with" / own.name).rename(out / "kept")
    (out / "scores" / "with" / "other").rename(out / "scores" / "with" / own.name)
    assert run("personas.py", *asked, "--output_dir", out, "--resamples", 5) == 2
    assert "holds scores with context None, not {'" in capsys.readouterr().err


def test_a_persona_does_not_change_which_sessions_were_scored(tmp_path: Path, tiny_llama_dir: Path, run: Run) -> None:
    data, out = write_people(tmp_path / "people.jsonl"), tmp_path / "out"
    asked = ("--model_name_or_path", tiny_llama_dir, "--data", data, "--output_dir", out, "--max_participants", 3)
    assert run("personas.py", *asked, "--resamples", 5) == 0
    without, own = (read_run(next((out / "scores" / name).iterdir())) for name in ("without", "with"))
    assert without.about["data"]["studies"].keys() == {"alpha", "beta"}
    for study, about in without.about["data"]["studies"].items():
        assert about["sessions"] == 3
        assert about["fingerprint"] == own.about["data"]["studies"][study]["fingerprint"]
    check_same([without, own], same_context=False)
    with pytest.raises(UserError, match="score both alike"):
        check_same([without, own])


def test_data_without_metadata_are_refused(
    tmp_path: Path, tiny_llama_dir: Path, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "people.jsonl"
    data.write_text('{"text": "You press <<J>>.", "experiment": "a/b", "participant": 1, "age": "N/A", "cond": 1}\n')
    asked = ("--model_name_or_path", tiny_llama_dir, "--data", data, "--output_dir", tmp_path / "out")
    assert run("personas.py", *asked) == 2
    assert "no participant has metadata of the persona table (age, gender, " in capsys.readouterr().err
    write_people(data)
    assert run("personas.py", *asked, "--fields", "IUS") == 2
    assert "--fields 'IUS': nobody in the data answers it; there are age, gender" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
