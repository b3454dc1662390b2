"""``centaurlab realignment`` as a user runs it, on a tiny model: who is learned from, and what is said."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from centaurlab.analyses.realigned import LINES
from centaurlab.analyses.realignment import RealignmentArguments, shown_reached, shown_table
from centaurlab.data.source import DataArguments
from centaurlab.jobs import adapters
from centaurlab.jobs.job import Asked
from centaurlab.jobs.realigned import LearnedRows
from centaurlab.jobs.realignment import Crowd, find_crowd, plan
from centaurlab.models.arguments import LoadArguments
from centaurlab.runs.tracker import TrackingArguments
from centaurlab.runtime.errors import UserError
from centaurlab.scoring.arguments import ScoringArguments
from centaurlab.simulation import run as simulating
from centaurlab.simulation.play import AnswerError
from centaurlab.simulation.player import Person
from centaurlab.stats.arguments import EstimateArguments
from centaurlab.training.arguments import CentaurConfig
from helpers.commands import Done, evaluate
from helpers.json_files import read_json, run_json
from helpers.transcripts import sessions_of, two_keys, write_transcripts

LORA = {"use_peft": True, "lora_r": 2, "max_length": 512, "per_device_train_batch_size": 2, "max_steps": 2}
LORA |= {"gradient_accumulation_steps": 1, "learning_rate": 1e-3, "early_stopping_patience": 3, "bf16": False}
LORA |= {"lora_target_modules": ["q_proj"], "report_to": "none", "novel_studies": "of-another-data-set"}


def write_people(folder: Path, n: int = 20) -> None:
    write_transcripts(folder / "people.jsonl", sessions_of(["a2020"], n, lambda _, person: two_keys(person)))
    (folder / "lora.yaml").write_text(yaml.safe_dump(LORA))


def run(folder: Path, model: Path, *more: object) -> Done:
    asked = (
        "--model",
        model,
        "--data",
        "people.jsonl",
        "--output_dir",
        "out",
        "--dtype",
        "float32",
        "--resamples",
        100,
    )
    return evaluate("realignment.py", *asked, *more, cwd=folder)


def test_arguments_that_make_no_sense_are_named() -> None:
    for wrong, said in (
        ({"methods": ["prompting"]}, "--methods is 'prompting'; choose of lora, context"),
        ({"people": [0]}, "one of them above 0"),
        ({"people": [2, -3, 8]}, "--people has -3; numbers of people are at least 0"),
        ({"orders": [1, 1]}, "each once"),
        ({"passes": 0.0}, "--passes above 0"),
        ({"yoked": True}, "--yoked is for models that act; give --simulate"),
    ):
        with pytest.raises(UserError, match=said):
            RealignmentArguments("m", "out", **wrong)


def test_a_line_is_of_no_number_of_people() -> None:
    rows = [("lora", 0, 1.5, np.nan), ("lora", 8, 1.25, 0.25), ("everybody", 0, 0.5, np.nan)]
    table = pd.DataFrame(rows, columns=["method", "people", "nll", "gain"])
    table = table.assign(study="s", gain_per_person=np.nan, held_out=8, responses=54)
    told = [[cell.text for cell in row[1:3]] for row in shown_table(table).rows]
    assert told == [["lora", "0"], ["lora", "8"], [LINES["everybody"], "–"]]


def test_a_line_that_no_resample_reaches_is_so_called_once() -> None:
    rows = [(np.inf, np.inf, np.inf, 0.0), (np.inf, 12.14, np.inf, 0.19), (0.0, 0.0, 0.0, 1.0), (3.0, *[np.nan] * 3)]
    table = pd.DataFrame(rows, columns=["n", "n_low", "n_high", "share_reached"])
    shown = shown_reached(table.assign(study="s", method="lora", line="base"))
    assert [[cell.text for cell in row[3:]] for row in shown.rows] == [
        ["not reached", "not reached", "0 %"],
        ["not reached", "12.1 to not reached", "19 %"],
        ["0.0", "0.0", "100 %"],
        ["3.0", "–", "–"],
    ]


@pytest.mark.parametrize("half", ["train", "test"])
def test_of_a_half_of_a_split_a_tenth_of_its_own_people_is_held_out(tmp_path: Path, half: str) -> None:
    """Somebody with sessions of two experiments is on one side only."""
    for name, first in (("train", 0), ("test", 100)):
        of_half = sessions_of(["a2020"], range(first, first + 30), lambda _, person: two_keys(person))
        again = [one | {"experiment": "a2020/exp2.csv"} for one in of_half]
        write_transcripts(tmp_path / f"{name}.jsonl", [*of_half, *again])
    crowd = find_crowd(DataArguments(str(tmp_path), data_split=half, max_participants=2), (0,), {})
    crowd.check(27)
    known = {key.participant for key in crowd.first(27, 0)["a2020"]}
    predicted = {key.participant for key in crowd.held_out}
    assert (len(predicted), len(known)) == (2, 27)
    assert not predicted & known
    assert predicted | known <= {str(n) for n in range(30 if half == "train" else 130) if half == "train" or n >= 100}
    with pytest.raises(UserError, match="has 27 people beside those held out"):
        crowd.check(28)


def test_nobody_is_both_predicted_and_learned_from(tmp_path: Path) -> None:
    write_people(tmp_path)
    crowd = find_crowd(DataArguments(str(tmp_path / "people.jsonl")), (0,), {})
    everybody = {study: (*keys, *crowd.people.training[study]) for study, keys in crowd.people.predicted.items()}
    leaking = Crowd(replace(crowd.people, training=everybody), (0,))
    with pytest.raises(UserError, match=r"'a2020' \(.*would be learned from and is predicted too, as are 1 more"):
        leaking.check(1)


@pytest.mark.usefixtures("offline")
def test_what_no_model_can_be_let_answer_is_refused_before_anything_is_scored(
    tmp_path: Path, tiny_llama_dir: Path
) -> None:
    words = sessions_of(["words2020"], 20, lambda _, person: f"You write: <<{'colour and ' * 20}{'x' * person}>>.")
    write_transcripts(tmp_path / "people.jsonl", words)
    own = RealignmentArguments(str(tiny_llama_dir), str(tmp_path), people=[2], methods=["baseline"], simulate=1)
    data = DataArguments(str(tmp_path / "people.jsonl"))
    asked = Asked(own, LoadArguments("float32"), data, ScoringArguments(), EstimateArguments(), tmp_path)
    with pytest.raises(UserError, match=r"in words2020.* give --max_new_tokens \d+"):
        plan(asked)
    plan(replace(asked, own=replace(own, max_new_tokens=100)))


@pytest.mark.usefixtures("offline")
def test_a_base_that_is_not_there_is_named_before_anything_is_trained(tmp_path: Path, tiny_llama_dir: Path) -> None:
    write_people(tmp_path)
    own = RealignmentArguments(str(tiny_llama_dir), str(tmp_path), str(tmp_path / "nowhere"), [2], ["lora"])
    data = DataArguments(str(tmp_path / "people.jsonl"))
    with pytest.raises(UserError, match=r"there is no model at .*nowhere"):
        plan(Asked(own, LoadArguments("float32"), data, ScoringArguments(), EstimateArguments(), tmp_path))


def test_an_adapter_is_known_by_the_texts_it_learned_from_and_not_by_the_processes_that_trained_it(
    tmp_path: Path, tiny_llama_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_people(tmp_path)
    trained = []

    def train(_: object, settings: CentaurConfig, __: object) -> None:
        trained.append(settings.max_steps)
        (Path(settings.output_dir) / "run.json").write_text('{"job": "train"}')

    monkeypatch.setattr(adapters.train, "COMMAND", replace(adapters.train.COMMAND, run=train))
    own = RealignmentArguments(str(tiny_llama_dir), str(tmp_path), train_config=str(tmp_path / "lora.yaml"), passes=0.5)
    data = DataArguments(str(tmp_path / "people.jsonl"))
    asked = Asked(own, LoadArguments("float32"), data, ScoringArguments(), EstimateArguments(), tmp_path)

    def train_again(texts: dict[str, str], asked: Asked[RealignmentArguments] = asked, n_sessions: int = 8) -> None:
        folder = tmp_path / ("adapter" if n_sessions == 8 else "several")
        adapters.train_adapter(asked, texts, 8, 0, n_sessions, folder, TrackingArguments(["none"]))

    monkeypatch.setattr(CentaurConfig, "world_size", 4)
    train_again({"a2020": "1f"})
    monkeypatch.setattr(CentaurConfig, "world_size", 1)
    train_again({"a2020": "1f"})
    assert trained == [1]  # 0.5 passes over 8 sessions, two at once on each of four processes
    with pytest.raises(UserError, match="trained otherwise, or on other texts"):
        train_again({"a2020": "2e"})
    with pytest.raises(UserError, match="trained otherwise"):
        train_again({"a2020": "1f"}, replace(asked, own=replace(own, passes=2.0)))
    (tmp_path / "several").mkdir()
    train_again({"a2020": "1f"}, replace(asked, own=replace(own, passes=0.125)), n_sessions=24)
    assert trained == [1, 2]  # people of three sessions each: an eighth of 24, two at once


def test_a_baseline_is_made_anew_where_the_study_module_was_changed(tmp_path: Path) -> None:
    write_people(tmp_path)
    module = tmp_path / "own.py"
    module.write_text("STUDIES = ()")
    data = DataArguments(str(tmp_path / "people.jsonl"), study_module=str(module))
    crowd = find_crowd(data, (0,), {})
    rows = LearnedRows(crowd.people, data, {}, "full", tmp_path)
    made = tmp_path / "b" / "scores.parquet"

    def time_of_making() -> int:
        rows.baseline(crowd.first(3, 0), "b")
        return made.stat().st_mtime_ns

    first = time_of_making()
    assert time_of_making() == first
    module.write_text("STUDIES = ()  # corrected")
    assert time_of_making() > first


@pytest.mark.slow
@pytest.mark.usefixtures("offline")
def test_every_method_learns_of_the_same_first_people_and_nothing_is_done_twice(
    tmp_path: Path, tiny_llama_dir: Path
) -> None:
    write_people(tmp_path)
    asked = ("--people", 3, "--orders", 0, 5, "--items", 4, "--train_config", "lora.yaml")
    done = run(tmp_path, tiny_llama_dir, *asked)
    assert done.returncode == 0, done.stderr
    out = tmp_path / "out"
    table = pd.read_csv(out / "realignment.csv")
    of_all = table[table["study"] == "all studies"].set_index(["method", "people"])
    assert set(of_all.index) == {
        *((method, n) for method in ("lora", "context", "recalibration", "baseline") for n in (0, 3)),
        ("everybody", 0),
    }
    assert (of_all["held_out"] == 2).all()
    assert (of_all["responses"] == 24).all()
    # The same people: those of the training, of the context and of both others are told by split.json and the stores.
    splits = {name: read_json(out / "adapters" / name / "split.json") for name in ("n3-order0", "n3-order5")}
    learned = {name: {who for _, who in split["studies"]["a2020"]["train"]} for name, split in splits.items()}
    assert learned["n3-order0"] != learned["n3-order5"]
    people = pd.read_parquet(out / "scores" / "people" / "model" / "scores.parquet")
    assert set(people["participant"]) == learned["n3-order0"] | learned["n3-order5"]
    held_out = set(pd.read_parquet(out / "scores" / "as-is" / "model" / "scores.parquet")["participant"])
    assert not held_out & set(people["participant"])
    # By hand: the mean over two orders of the mean over all responses.
    folders = [out / "scores" / f"recalibration-n3-order{order}" for order in (0, 5)]
    means = [pd.read_parquet(folder / "scores.parquet")["nll"].mean() for folder in folders]
    assert of_all["nll"]["recalibration", 3] == pytest.approx(np.mean(means), rel=1e-5)
    assert of_all["gain"]["recalibration", 3] == pytest.approx(of_all["nll"]["lora", 0] - np.mean(means), abs=1e-5)
    assistant = pd.read_csv(out / "assistant.csv")
    assert assistant.groupby("method").size().to_dict() == {"lora": 2, "model": 1}
    assert not any("no interval has whom" in note for note in run_json(out)["notes"])
    assert "no power law is fitted to lora, context, recalibration, baseline" in run_json(out)["verdict"]

    kept = {path: path.stat().st_mtime_ns for path in out.rglob("adapter_model.safetensors")}
    for method in ("baseline", "recalibration"):
        kept |= {path: path.stat().st_mtime_ns for path in out.glob(f"scores/{method}-n3-*/scores.parquet")}
    assert len(kept) == 8
    again = run(tmp_path, tiny_llama_dir, *asked)
    assert again.returncode == 0, again.stderr
    assert "training on" not in again.stdout
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert pd.read_csv(out / "realignment.csv").equals(table)
    assert "was trained otherwise" in run(tmp_path, tiny_llama_dir, *asked, "--passes", 0.5).error


@pytest.mark.slow
@pytest.mark.usefixtures("offline")
def test_what_does_not_fit_and_who_is_not_there_is_said(
    tmp_path: Path, tiny_llama_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_people(tmp_path)
    keep, first = simulating._Work.keep, []

    def lose_the_first(self: object, bar: object, person: Person, replicate: int, ended: object) -> None:
        first.append(person.key)
        keep(self, bar, person, replicate, ended if person.key != first[0] else AnswerError("of no probability"))

    monkeypatch.setattr(simulating._Work, "keep", lose_the_first)
    only = ("--methods", "context", "--items", 0)
    done = run(tmp_path, tiny_llama_dir, *only, "--people", 1, 8, "--max_length", 1000, "--simulate", 1)
    assert done.returncode == 1, done.stderr
    assert "1 session could not be simulated, and the folder holds the others" in done.stderr
    assert "context: 8 people of a2020 (order 0) and the person who is predicted do not fit" in done.stdout
    table = pd.read_csv(tmp_path / "out" / "realignment.csv")
    assert sorted(set(table[table["method"] == "context"]["people"])) == [0, 1]
    assert any("no interval has whom one learned from" in note for note in run_json(tmp_path / "out")["notes"])
    acted = pd.read_csv(tmp_path / "out" / "fidelity.csv")
    assert set(acted["method"]) == {"model"}
    assert "marginal" in set(acted["axis"])
    metrics = [json.loads(line) for line in (tmp_path / "out" / "metrics.jsonl").read_text().splitlines()]
    logged = {name for line in metrics for name in line if name.startswith("fidelity/")}
    assert logged == {f"fidelity/model/{axis}" for axis in acted["axis"]}
    assert "a2020 has 18 people beside those held out" in run(tmp_path, tiny_llama_dir, *only, "--people", 19).error
    train = run(tmp_path, tiny_llama_dir, *only, "--participants", "train")
    assert "the held-out people are predicted; leave it away" in train.error
