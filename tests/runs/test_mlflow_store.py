"""A store in SQLite comes into being whole whoever comes first, and one that cannot be used is named with a remedy."""

import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from centaurlab.runs.folder import RunFolder
from centaurlab.runs.mlflow_store import connect
from centaurlab.runs.tracker import Tracker, TrackingArguments, track
from centaurlab.runtime.errors import UserError
from helpers.sweeps import start_sweep, write_sweep
from helpers.tracked_runs import CONFIG, known_to, run_id, write_run
from helpers.waiting import wait_until

TRACKED = """
import sys
from pathlib import Path
from centaurlab.runs.folder import RunFolder
from centaurlab.runs.tracker import Tracker, TrackingArguments
folder = RunFolder(Path(sys.argv[1]), "score")
with Tracker(folder, TrackingArguments(), {}):
    folder.log({"loss": 1.0}, 1)
    folder.write_json("run.json", {"job": "score"})
"""


def start(script: str, *arguments: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-c", script, *arguments], stderr=subprocess.PIPE)


def test_runs_that_are_first_together_are_all_in_the_store(tmp_path: Path) -> None:
    runs = [start(TRACKED, f"run-{number}") for number in range(2)]
    assert [run.communicate()[1] for run in runs] == [b""] * 2
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as store:
        assert store.execute("select status from runs").fetchall() == [("FINISHED",)] * 2
        assert store.execute("select count(*) from experiments where name = 'centaurlab'").fetchone() == (1,)


def test_a_store_whose_making_was_killed_is_made_again(tmp_path: Path) -> None:
    script = "from centaurlab.runs.mlflow_store import connect; connect('sqlite:///mlflow.db')"
    maker = start(script)
    wait_until(lambda: any(path.stat().st_size for path in tmp_path.glob(".mlflow.db.new")), every=0.02)
    maker.send_signal(signal.SIGKILL)
    maker.communicate()
    assert not (tmp_path / "mlflow.db").exists()
    assert connect(f"sqlite:///{tmp_path / 'mlflow.db'}").search_experiments()


@pytest.mark.filterwarnings("ignore:Unnamed CHECK constraint")  # of the migrations that fail
@pytest.mark.parametrize("damage", ["torn", "half made", "of another release"])
def test_a_store_that_cannot_be_used_is_named_with_its_remedy(store: str, tmp_path: Path, damage: str) -> None:
    path = tmp_path / "mlflow.db"
    if damage == "torn":
        path.write_bytes(path.read_bytes()[:50_000])
    else:
        with closing(sqlite3.connect(path)) as database:
            database.execute("update alembic_version set version_num = '451aebb31d03'")
            if damage == "half made":
                database.execute("drop table params")
            database.commit()
    remedy = "mlflow db upgrade sqlite:" if damage == "of another release" else f"mv {path} {path}.broken"
    with pytest.raises(UserError, match=remedy):
        connect(store)


def test_a_store_that_cannot_be_written_is_said_at_the_start_and_costs_no_wait(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'file' / 'mlflow.db'}")
    folder = RunFolder(tmp_path / "run", "score")
    started = time.monotonic()
    with Tracker(folder, TrackingArguments(), CONFIG):
        assert "warning: MLflow failed (cannot write to the store" in capfd.readouterr().err
        write_run(folder)
    assert time.monotonic() - started < 2
    assert capfd.readouterr().err == ""
    assert not known_to(folder)

    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    track(folder.path, TrackingArguments())
    assert connect(store).get_run(run_id(folder)).info.status == "FINISHED"
    assert not folder.read_json("tracking.json")["untracked"]


def test_a_sweep_says_at_its_end_what_is_not_tracked(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "tracked.py").write_text(TRACKED)
    run = 'exec "$0" tracked.py "$SWEEP_RUNS/$WANDB_RUN_ID"'
    sweep = write_sweep(
        tmp_path, parameters={"rank": {"values": [2, 4]}}, command=["${env}", "sh", "-c", run, "${interpreter}"]
    )
    output, _ = start_sweep(sweep, MLFLOW_TRACKING_URI=f"sqlite:///{tmp_path / 'file' / 'mlflow.db'}").communicate()
    assert "warning: 2 of 2 trials are not wholly tracked (MLflow failed (cannot write to the store" in output
    assert f"centaurlab track {tmp_path / 'runs' / 'tiny-'}" in output
    assert "best of 2" in output
