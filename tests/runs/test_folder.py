"""A run's folder is whole or absent, held by one run at a time, and keeps no secrets."""

import json
import math
import os
import re
import signal
from pathlib import Path

import pytest

from centaurlab.runs.folder import RunFolder, read_metrics
from centaurlab.runtime.errors import UserError
from helpers.paths import PACKAGE


def test_json_comes_back_and_what_json_cannot_say_becomes_null(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "a" / "run", "score")
    folder.write_json("run.json", {"nll": math.nan, "list": [1.5, math.inf], "path": Path("x"), "name": "é"})
    assert folder.read_json("run.json") == {"nll": None, "list": [1.5, None], "path": "x", "name": "é"}
    assert [path.name for path in folder.path.iterdir()] == ["run.json"]


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, "score")
    folder.write_json("run.json", {"a": 1})

    class Unprintable:
        def __str__(self) -> str:
            raise RuntimeError

    with pytest.raises(RuntimeError):
        folder.write_json("run.json", {"a": Unprintable()})
    assert folder.read_json("run.json") == {"a": 1}


def test_every_job_writes_its_record_with_the_digests_of_its_files() -> None:
    """By ``finish``; or a table of its folder could change unseen."""
    sources = [path for path in PACKAGE.rglob("*.py") if path.name != "folder.py"]
    assert not [path for path in sources if re.search(r'write_json\((RECORD|"run\.json")', path.read_text())]


def test_a_missing_file_is_a_user_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no run\.json"):
        RunFolder(tmp_path, "score").read_json("run.json")


def test_metrics_are_appended_a_line_each(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, "train")
    folder.log({"loss": 2.0}, step=1)
    folder.log({"loss": math.nan})
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [(line.get("step"), line["loss"]) for line in lines] == [(1, 2.0), (None, None)]
    assert lines[0]["time"] <= lines[1]["time"]


def test_a_second_holder_is_refused_until_the_first_is_gone(tmp_path: Path) -> None:
    receiver, sender = os.pipe()
    if (child := os.fork()) == 0:
        with RunFolder(tmp_path, "score").lock():
            os.write(sender, b"held")
            signal.pause()
    assert os.read(receiver, 4) == b"held"
    with pytest.raises(UserError, match="another run"), RunFolder(tmp_path, "score").lock():
        pass
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with RunFolder(tmp_path, "score").lock():
        pass


def test_a_folder_that_cannot_be_made_is_a_user_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="--output_dir"):
        RunFolder(tmp_path / "file" / "run", "score")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_is_a_user_error(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, "score")
    folder.log({"loss": 2.0})
    (tmp_path / "metrics.jsonl").unlink()
    (tmp_path / "metrics.jsonl").symlink_to("/dev/full")  # reading it would never end
    with pytest.raises(UserError, match="No space left"):
        folder.log({"loss": 1.0})


def test_a_torn_line_of_metrics_hides_neither_those_before_nor_those_after(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run", "train")
    folder.log({"train/loss": 2.0}, 1)
    with (folder.path / "metrics.jsonl").open("a") as file:
        file.write('{"time": 1.0, "st')
    folder.log({"train/loss": 1.0}, 2)
    assert [(step, values) for _, step, values in read_metrics(folder.path)] == [
        (1, {"train/loss": 2.0}),
        (2, {"train/loss": 1.0}),
    ]


@pytest.mark.parametrize(
    ("name", "content", "job"),
    [
        ("config.json", '{"model_type": "llama"}', "score"),
        ("config.json", "{}", "train"),
        ("adapter_config.json", '{"peft_type": "LORA"}', "simulate"),
        ("README.md", "mine", "train"),
    ],
)
def test_what_no_run_wrote_is_not_overwritten(name: str, content: str, job: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=f"{name} is no run's"), RunFolder(tmp_path, job).lock():
        pass
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(name, content)]


def test_a_run_that_has_not_ended_is_continued_by_its_own_job_alone(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, "simulate")
    with folder.lock():  # nothing has begun
        pass
    folder = RunFolder(tmp_path, "train")
    with folder.lock():
        folder.write_json("config.json", {"steps": 10})
    with pytest.raises(UserError, match="holds a run of train, not of score"), RunFolder(tmp_path, "score").lock():
        pass
    (tmp_path / "README.md").write_text("its own card")
    with folder.lock():
        pass


def test_a_finished_run_is_not_overwritten_by_one_of_another_job(tmp_path: Path) -> None:
    score = RunFolder(tmp_path / "run", "score")
    score.write_json("run.json", {"job": "score"})
    with score.lock():  # the same job goes on
        pass
    with pytest.raises(UserError, match="holds a run of score, not of diagnosis; give another --output_dir"):
        RunFolder(tmp_path / "run", "diagnosis").lock().__enter__()
