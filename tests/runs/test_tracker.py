"""Trackers hold what the run folder holds, to the last digit; whatever happens to them, the run goes on."""

import math
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from centaurlab.runs.folder import RunFolder, job_of
from centaurlab.runs.mlflow_store import connect
from centaurlab.runs.tracker import Tracker, TrackingArguments, track
from centaurlab.runtime.errors import IncompleteError, UserError
from centaurlab.training.resume import logged_until
from helpers.tracked_runs import CONFIG, NLL, known_to, run_id, write_run
from helpers.waiting import wait_until


def test_a_crash_is_marked_failed_and_the_next_start_continues_the_same_run(store: str, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run", "train")

    def crash() -> None:
        with Tracker(folder, TrackingArguments(), CONFIG):
            folder.log({"train/loss": 2.0}, 1)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        crash()
    crashed = run_id(folder)
    assert connect(store).get_run(crashed).info.status == "FAILED"
    with Tracker(folder, TrackingArguments(), CONFIG | {"data": "other"}):
        folder.log({"train/loss": NLL}, 2)
        write_run(folder)
    assert run_id(folder) == crashed
    assert connect(store).get_run(crashed).info.status == "FINISHED"
    assert [p.value for p in connect(store).get_metric_history(crashed, "train/loss")] == [2.0, NLL]


def test_lines_that_a_resumed_run_writes_again_are_sent_again(store: str, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run", "train")
    with Tracker(folder, TrackingArguments(), CONFIG):
        for step in (1, 2, 3):
            folder.log({"train/loss": 10.0 + step}, step)
    logged_until(folder.path / "metrics.jsonl", 1)  # as from a checkpoint at step 1
    with Tracker(folder, TrackingArguments(), CONFIG):
        for step in (2, 3):
            folder.log({"train/loss": 20.0 + step, "eval/nll": math.nan if step == 3 else 0.5}, step)
        write_run(folder)
    history = connect(store).get_metric_history(run_id(folder), "train/loss")
    assert {(point.step, point.value) for point in history} == {(1, 11), (2, 12), (3, 13), (2, 22), (3, 23)}
    metrics = connect(store).get_run(run_id(folder)).data.metrics
    assert metrics["train/loss"] == 23
    assert math.isnan(metrics["eval/nll"]), "not the last one that is a number"


def test_a_run_that_lacks_sessions_is_marked_failed_until_they_are_there(store: str, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run", "score")
    with Tracker(folder, TrackingArguments(), CONFIG):
        write_run(folder)
        complete = folder.read_json("run.json")
        folder.write_json("run.json", complete | {"failed_sessions": ["participant '3'"]})
    assert connect(store).get_run(run_id(folder)).info.status == "FAILED"
    track(folder.path, TrackingArguments())
    assert connect(store).get_run(run_id(folder)).info.status == "FAILED"
    folder.write_json("run.json", complete)
    track(folder.path, TrackingArguments())
    assert connect(store).get_run(run_id(folder)).info.status == "FINISHED"


def start_run_that_waits(tmp_path: Path) -> "tuple[subprocess.Popen[str], int]":
    """A tracked run that has begun in its store, and the process that mirrors it."""
    script = (
        "import time; from pathlib import Path\n"
        "from centaurlab.runs.folder import RunFolder; from centaurlab.runs.tracker import Tracker, TrackingArguments\n"
        "with Tracker(RunFolder(Path('ended'), 'train'), TrackingArguments(), {}) as tracker:\n"
        "    print(tracker._process.pid, flush=True); time.sleep(60)\n"
    )
    run = subprocess.Popen([sys.executable, "-c", script], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    assert run.stdout is not None
    mirror = int(run.stdout.readline())
    wait_until(lambda: (tmp_path / "ended" / "tracking.json").exists())
    return run, mirror


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_run_that_is_killed_is_marked_failed(store: str, tmp_path: Path, number: int) -> None:
    run, _ = start_run_that_waits(tmp_path)
    killed = run_id(RunFolder(tmp_path / "ended", "train"))
    assert connect(store).get_run(killed).info.status == "RUNNING"
    run.send_signal(number)
    run.communicate()
    wait_until(lambda: connect(store).get_run(killed).info.status == "FAILED")


def test_a_run_whose_machine_died_is_marked_failed_when_another_starts(store: str, tmp_path: Path) -> None:
    run, mirror = start_run_that_waits(tmp_path)
    os.kill(mirror, signal.SIGKILL)
    run.kill()
    run.communicate()
    killed = run_id(RunFolder(tmp_path / "ended", "train"))
    assert connect(store).get_run(killed).info.status == "RUNNING"
    living = RunFolder(tmp_path / "living", "train")
    with Tracker(living, TrackingArguments(), CONFIG):
        wait_until(lambda: "run_id" in known_to(living))
        assert connect(store).get_run(killed).info.status == "FAILED"
        with Tracker(RunFolder(tmp_path / "third", "train"), TrackingArguments(), CONFIG):
            pass
        assert connect(store).get_run(run_id(living)).info.status == "RUNNING"


def test_a_killed_run_that_is_tracked_later_is_marked_failed(store: str, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run", "train")
    folder.write_json("config.json", CONFIG)  # and no run.json
    folder.log({"train/loss": 2.0}, 1)
    track(folder.path, TrackingArguments())
    assert connect(store).get_run(run_id(folder)).info.status == "FAILED"


def test_a_tracker_that_fails_by_hand_is_an_error_and_the_other_has_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    folder = RunFolder(tmp_path / "run", "score")
    write_run(folder)
    with pytest.raises(IncompleteError, match=r"MLflow failed .*; not logged there: the run.* same command") as failure:
        track(folder.path, TrackingArguments(["all"]))
    assert failure.value.exit_code == 1
    assert "centaurlab track" not in str(failure.value) + capfd.readouterr().err, "that was the command"
    assert known_to(folder, "wandb")
    assert not known_to(folder, "mlflow")


def test_a_living_run_is_not_tracked_by_hand(store: str, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run", "train")
    folder.write_json("config.json", CONFIG)
    with (
        Tracker(folder, TrackingArguments(), CONFIG),
        pytest.raises(UserError, match="is still being tracked"),
    ):
        track(folder.path, TrackingArguments())
    with folder.lock(), pytest.raises(UserError, match="another run is writing to"):  # one that is not tracked
        track(folder.path, TrackingArguments())


def test_a_run_that_was_killed_is_tracked_and_goes_on(store: str, tmp_path: Path) -> None:
    """Also one of an older version, which noted no job."""
    for version in ("now", "older"):
        folder = RunFolder(tmp_path / version, "train")
        with folder.lock():
            folder.write_json("config.json", CONFIG)
        if version == "older":
            (folder.path / ".job").unlink()
        track(folder.path, TrackingArguments())
        with folder.lock():
            assert job_of(folder.path) == "train"


def test_a_run_whose_store_is_gone_is_logged_anew_and_whole(
    store: str, empty_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = RunFolder(tmp_path / "run", "score")
    with Tracker(folder, TrackingArguments(), CONFIG):
        folder.log({"nll/mean": NLL})
        write_run(folder)
    first = run_id(folder)
    (tmp_path / "other.db").write_bytes(empty_store.read_bytes())
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'other.db'}")
    track(folder.path, TrackingArguments())
    assert run_id(folder) != first
    assert connect(f"sqlite:///{tmp_path / 'other.db'}").get_run(run_id(folder)).data.metrics == {"nll/mean": NLL}


def test_a_store_on_a_full_disk_costs_one_warning(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = RunFolder(tmp_path / "run", "train")
    limit = (tmp_path / "mlflow.db").stat().st_size
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, unlimited[1]))  # no file of a new process grows beyond it
    tracker = Tracker(folder, TrackingArguments(), CONFIG)
    tracker.__enter__()
    resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
    for step in range(5):
        folder.log({f"metric/{i}": 1.0 for i in range(1000)}, step)
    write_run(folder)
    tracker.__exit__(None, None, None)
    assert [line[:23] for line in capfd.readouterr().err.splitlines()] == ["warning: MLflow failed "]


def test_only_the_main_process_tracks_and_none_means_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = RunFolder(tmp_path / "run", "score")
    with Tracker(folder, TrackingArguments(["none"]), CONFIG):
        pass
    monkeypatch.setenv("RANK", "1")
    with Tracker(folder, TrackingArguments(["all"]), CONFIG):
        pass
    assert not (folder.path / "tracking.json").exists()


def test_an_unknown_tracker_and_a_folder_without_a_run_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="choose from mlflow, wandb, all, none"):
        TrackingArguments(["mlfow"])
    assert TrackingArguments("mlflow wandb").trackers == ["mlflow", "wandb"]  # type: ignore[arg-type]  # from YAML
    with pytest.raises(UserError, match="is not a run's folder"):
        track(tmp_path, TrackingArguments())
