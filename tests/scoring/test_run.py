"""What a run itself decides: how sessions fill its windows, what is scored once, and whom it may call held out."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from centaurlab.catalog.tables import devices
from centaurlab.data.source import DataArguments
from centaurlab.runtime.errors import UserError
from centaurlab.scoring import order as plan
from centaurlab.scoring import run as run_module
from centaurlab.scoring.arguments import ScoreArguments
from centaurlab.scoring.cost import measured_speed
from centaurlab.scoring.run import measure
from helpers.json_files import run_json, write_json
from helpers.tiny_models import in_float32, named
from helpers.transcripts import sessions_of, write_transcripts

pytestmark = pytest.mark.usefixtures("own_cache")


def data(folder: Path, *texts: str) -> DataArguments:
    """A study in which each text is that of somebody else."""
    rows = sessions_of(["a2020"], len(texts), lambda _, person: texts[person])
    return DataArguments(data=str(write_transcripts(folder / "data.jsonl", rows)))


def test_small_windows_give_the_same_responses(
    tmp_path: Path, tiny_llama_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = data(tmp_path, *(f"You see {i}. You press <<J>> and <<F>>." for i in range(6)))
    model = in_float32(tiny_llama_dir)
    tables = []
    for name, window in (("large", 10_000), ("small", 60)):
        monkeypatch.setattr(plan, "WINDOW_CHARACTERS", window)
        folder = measure(model, source, ScoreArguments(str(tmp_path / name)))
        tables.append(pq.read_table(folder / "scores.parquet").to_pandas())
    assert len(tables[0]) == 12
    assert tables[0]["participant"].tolist() == tables[1]["participant"].tolist()
    np.testing.assert_allclose(tables[0]["nll"], tables[1]["nll"], atol=1e-5)


def test_equal_texts_are_scored_once_and_written_for_each_session(tmp_path: Path, tiny_llama_dir: Path) -> None:
    folder = measure(
        named(tiny_llama_dir),
        data(tmp_path, *["You press <<J>>."] * 3),
        ScoreArguments(str(tmp_path / "run")),
    )
    table = pq.read_table(folder / "scores.parquet").to_pandas()
    assert sorted(table["participant"]) == ["0", "1", "2"]
    assert table["nll"].nunique() == 1


def test_a_model_whose_operations_cannot_be_counted_is_scored(
    tmp_path: Path, tiny_llama_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(run_module, "countable_shape", lambda _: "operations are not counted (no heads)")
    folder = measure(named(tiny_llama_dir), data(tmp_path, "You press <<J>>."), ScoreArguments(str(tmp_path / "run")))
    about = run_json(folder)
    assert (about["nll_mean"] > 0, about["speed"]["flops"]) == (True, None)
    assert about["notes"] == ["operations are not counted (no heads)"]
    assert "note: operations are not counted (no heads)" in capsys.readouterr().out
    with pytest.raises(UserError, match="not counted"):
        measured_speed(folder, devices()["H100"])


def test_responses_beyond_max_length_are_counted_as_cut(tmp_path: Path, tiny_llama_dir: Path) -> None:
    folder = measure(
        named(tiny_llama_dir),
        data(tmp_path, "You press <<J>>. " + "You press a button. " * 40 + "<<F>>"),
        ScoreArguments(str(tmp_path / "run"), max_length=20),
    )
    coverage = run_json(folder)["coverage"]["a2020"]
    assert {name: n for name, n in coverage.items() if n} == {"responses": 2, "scored": 1, "cut": 1}


@pytest.mark.parametrize("checkpoint", [False, True])
def test_people_trained_on_are_not_called_held_out(tmp_path: Path, tiny_llama_dir: Path, checkpoint: bool) -> None:
    run = tmp_path / "run"
    model = run / "checkpoint-2" if checkpoint else run
    shutil.copytree(tiny_llama_dir, model)
    people = data(tmp_path, *(f"You see {i}. You press <<J>>." for i in range(20)))
    held_out = replace(people, participants="test")

    def scored(name: str, source: DataArguments, **split: object) -> Path:
        write_json(run / "split.json", {"data": people.data, "eval_data": None, "split_seed": 3, "studies": {}} | split)
        return measure(named(model), source, ScoreArguments(str(tmp_path / name)))

    with pytest.raises(UserError, match="--split_seed 3, which held out other people"):
        scored("other", held_out)
    with pytest.raises(UserError, match=r"its held-out people: --data b\.jsonl"):
        scored("all", replace(held_out, data_seed=3), eval_data="b.jsonl")
    for name, source in (("same", replace(held_out, data_seed=3)), ("everybody", people)):
        assert (scored(name, source) / "scores.parquet").is_file()
    assert (scored("elsewhere", held_out, data="other.jsonl") / "scores.parquet").is_file()
