"""A disk that is full, one that cannot be written, one that changes bytes: one sentence, and nothing wrong is kept."""

import random
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from centaurlab.results.joined import join_scores
from centaurlab.results.run import read_run
from centaurlab.runs.folder import RunFolder
from centaurlab.runtime.errors import UserError
from centaurlab.training.centaur import train
from centaurlab.training.options import CentaurArguments
from helpers.commands import error_in
from helpers.json_files import run_json
from helpers.score_runs import command, ended, n_stored, start, table_bytes
from helpers.trainings import start_centaur
from helpers.transcripts import write_bandits

pytestmark = pytest.mark.usefixtures("offline")

DISK_BYTES = 512 << 10


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """The mount point of a file system of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("nothing can be mounted here")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def set_read_only(disk: Path, read_only: bool) -> None:
    subprocess.run(["mount", "-o", f"remount,{'ro' if read_only else 'rw'}", str(disk)], check=True)


def fill(disk: Path, left_bytes: int) -> Path:
    """A file that leaves ``left_bytes`` of the disk free."""
    ballast = disk / "ballast"
    ballast.write_bytes(bytes(DISK_BYTES - left_bytes))
    return ballast


def test_a_disk_that_fills_up_stops_the_run_and_what_is_scored_is_kept(
    tmp_path: Path, tiny_llama_dir: Path, disk: Path
) -> None:
    data, run, log = write_bandits(tmp_path / "data.jsonl", 40, n_trials=20), disk / "run", tmp_path / "log"
    argv = command(tiny_llama_dir, data, run)
    assert ended(start(command(tiny_llama_dir, data, tmp_path / "whole"))) == 0

    ballast = fill(disk, 96 << 10)
    assert ended(start(argv, log)) == 2
    assert "full" in error_in(log.read_text())
    assert "free space" in error_in(log.read_text())
    assert "what is scored is kept" in error_in(log.read_text())
    assert not (run / "scores.parquet").exists()
    kept = n_stored(run)
    assert 0 < kept < 40
    ballast.unlink()
    assert ended(start(argv)) == 0
    assert table_bytes(run) == table_bytes(tmp_path / "whole")
    assert run_json(run)["speed"]["tokens_computed_now"] < run_json(tmp_path / "whole")["speed"]["tokens_computed_now"]


def test_a_disk_that_is_full_from_the_start_is_one_sentence(tmp_path: Path, tiny_llama_dir: Path, disk: Path) -> None:
    data, log = write_bandits(tmp_path / "data.jsonl", 2), tmp_path / "log"
    fill(disk, 0)
    assert ended(start(command(tiny_llama_dir, data, disk / "run"), log)) == 2
    assert f"cannot write to {disk / 'run'}" in error_in(log.read_text())


def test_a_table_that_no_longer_fits_leaves_the_last_one(tmp_path: Path, tiny_llama_dir: Path, disk: Path) -> None:
    data, run, log = write_bandits(tmp_path / "data.jsonl", 12), disk / "run", tmp_path / "log"
    assert ended(start(command(tiny_llama_dir, data, run, "--max_participants", "3"))) == 0
    before = table_bytes(run)
    folder, ballast = RunFolder(run, "score"), disk / "ballast"
    assert ended(start(command(tiny_llama_dir, data, tmp_path / "whole"))) == 0
    for part in (tmp_path / "whole" / "store").glob("*.sqlite"):  # all is scored, but not yet written as a table
        (run / "store" / part.name).write_bytes(part.read_bytes())
    used = sum(path.stat().st_blocks * 512 for path in disk.rglob("*") if path.is_file())
    ballast.write_bytes(bytes(DISK_BYTES - used - (12 << 10)))
    assert ended(start(command(tiny_llama_dir, data, run), log)) == 2
    assert "No space left" in error_in(log.read_text())
    assert table_bytes(run) == before
    assert len(folder.read_json("run.json")["coverage"]) == 2
    ballast.unlink()
    assert ended(start(command(tiny_llama_dir, data, run))) == 0
    assert table_bytes(run) == table_bytes(tmp_path / "whole")
    assert run_json(run)["speed"]["tokens_computed_now"] == 0


@pytest.mark.parametrize("there", ["nothing", "a finished run"])
def test_a_folder_that_cannot_be_written_is_refused_and_can_be_read(
    there: str, tmp_path: Path, tiny_llama_dir: Path, disk: Path
) -> None:
    data, run, log = write_bandits(tmp_path / "data.jsonl", 3), disk / "run", tmp_path / "log"
    if there == "a finished run":
        assert ended(start(command(tiny_llama_dir, data, run))) == 0
    set_read_only(disk, True)
    assert ended(start(command(tiny_llama_dir, data, run), log)) == 2
    assert error_in(log.read_text()).startswith(f"error: cannot write to {run}: ")
    if there == "a finished run":
        studies = join_scores(read_run(run).folder, run)
        assert sum(len(study.nll_base_R) for study in studies) == 15
    set_read_only(disk, False)
    assert ended(start(command(tiny_llama_dir, data, run))) == 0


@pytest.mark.parametrize("damage", ["a byte of a result", "a page", "the end"])
def test_a_store_that_a_disk_changed_is_said_and_scored_again(
    damage: str, tmp_path: Path, tiny_llama_dir: Path
) -> None:
    n_sessions = 60
    data, run, log = write_bandits(tmp_path / "data.jsonl", n_sessions), tmp_path / "run", tmp_path / "log"
    argv = command(tiny_llama_dir, data, run)
    assert ended(start(argv)) == 0
    expected, part = table_bytes(run), run / "store" / "process-0.sqlite"
    content = bytearray(part.read_bytes())
    page = len(content) // 2 // 4096 * 4096
    if damage == "a byte of a result":
        with closing(sqlite3.connect(part)) as store:
            (scores,) = store.execute("SELECT scores FROM results").fetchone()
        content[content.index(scores) + len(scores) // 2] ^= 1
    elif damage == "a page":
        content[page : page + 4096] = random.Random(0).randbytes(4096)
    else:
        del content[len(content) * 9 // 10 :]
    part.write_bytes(content)
    (run / "scores.parquet").write_bytes(b"not a table")

    assert ended(start(argv, log)) == 0
    (note,) = (row for row in log.read_text().splitlines() if row.startswith("note: "))
    assert f"{part} is damaged" in note
    assert "its sessions are scored again" in note
    assert run_json(run)["speed"]["tokens_computed_now"] > 0
    assert n_stored(run) == n_sessions
    assert table_bytes(run) == expected
    assert (part.with_suffix(".damaged")).exists()

    assert ended(start(argv, log)) == 0
    assert "note: " not in log.read_text()
    assert run_json(run)["speed"]["tokens_computed_now"] == 0


def test_a_disk_that_fills_up_in_training_is_one_sentence_and_training_goes_on_from_its_checkpoint(
    tmp_path: Path, tiny_llama_dir: Path, disk: Path
) -> None:
    data = write_bandits(tmp_path / "data.jsonl", 12, n_trials=10)
    arguments = CentaurArguments(data=str(data))
    begun = start_centaur(tiny_llama_dir, disk / "run", arguments, save_steps=1, save_total_limit=1)
    ballast = fill(disk, 60 << 10)
    with pytest.raises(
        UserError, match=r"cannot write to .*: the disk or your quota is full, or .*; free space, then give the same"
    ):
        train(begun)
    ballast.unlink()
    train(start_centaur(tiny_llama_dir, disk / "run", arguments, save_steps=4))
    assert run_json(disk / "run")["steps"] == 4
