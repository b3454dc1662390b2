import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from centaurlab.errors import UserError
from centaurlab.mlflow_run import connect
from centaurlab.runs import RunFolder, provenance
from centaurlab.tracking import Tracker, TrackingArguments, track

NLL = 1.2345678901234567
CONFIG = {"model_name_or_path": "org/tiny-llama", "data": "starter", "hub_token": "hf_abcdefghijklmnop"}


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "offline")
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "WANDB_API_KEY", "WANDB_RUN_GROUP"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database without runs: creating its tables takes seconds, copying it none."""
    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    connect(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def store(empty_store: Path, tmp_path: Path) -> str:
    (tmp_path / "mlflow.db").write_bytes(empty_store.read_bytes())
    return f"sqlite:///{tmp_path / 'mlflow.db'}"


class Server:
    def __init__(self, folder: Path, store: str) -> None:
        self.store = store
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.address = f"http://127.0.0.1:{port}"
        command = [sys.executable, "-m", "mlflow", "server", "--port", str(port), "--workers", "1"]
        command += ["--backend-store-uri", store, "--artifacts-destination", str(folder / "served")]
        self.process = subprocess.Popen(
            command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                urllib.request.urlopen(f"{self.address}/health", timeout=1)
                return
            except OSError:
                time.sleep(0.2)
        raise TimeoutError("mlflow server did not start")

    def kill(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Iterator[Server]:
    """One server, which takes half a minute to start; the last test that uses it kills it."""
    folder = tmp_path_factory.mktemp("server")
    (folder / "mlflow.db").write_bytes(empty_store.read_bytes())
    running = Server(folder, f"sqlite:///{folder / 'mlflow.db'}")
    yield running
    running.kill()


def write_run(folder: RunFolder) -> None:
    folder.write_json("config.json", CONFIG)
    (folder.path / "effects.csv").write_text(f"level,name,d\noverall,overall,{NLL!r}\n")
    (folder.path / "scores.parquet").write_bytes(b"rows")
    data = {"name": "starter", "fingerprint": "ab" * 32, "studies": {"shelf": {"nll": NLL}}}
    folder.write_json(
        "run.json",
        provenance() | {"job": "score", "data": data, "coverage": {"shelf": {"scored": 3}}, "nll_mean": NLL},
    )


def run_id(folder: RunFolder, tracker: str = "mlflow") -> str:
    return str(folder.read_json("tracking.json")[tracker]["run_id"])


def read_offline(folder: Path) -> list[object]:
    """The records of a W&B offline run: LevelDB's log format after a header of 7 bytes."""
    from wandb.proto.wandb_internal_pb2 import Record

    (path,) = folder.glob("wandb/offline-run-*/*.wandb")
    size = -1
    while path.stat().st_size > size:  # W&B's own process still writes
        size = path.stat().st_size
        time.sleep(1.5)
    content, at, parts, records = path.read_bytes(), 7, b"", []
    while at + 7 <= len(content):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
            continue
        _, length, kind = struct.unpack("<IHB", content[at : at + 7])
        parts += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):
            records.append(Record.FromString(parts))
            parts = b""
    return records


def test_a_server_holds_what_the_files_hold(server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.address)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "humans")
    folder = RunFolder(tmp_path / "run", "score")
    with Tracker(folder, TrackingArguments(["mlflow"], group="pair"), CONFIG) as tracker:
        tracker.log({"nll/mean": NLL}, step=3)
        write_run(folder)
    client = connect(server.address)
    run = client.get_run(run_id(folder))
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "score tiny-llama on starter"
    assert client.get_experiment(run.info.experiment_id).name == "humans"
    assert run.data.metrics["nll/mean"] == folder.read_json("run.json")["nll_mean"] == NLL
    assert client.get_metric_history(run_id(folder), "nll/mean")[0].step == 3
    assert run.data.params["data.fingerprint"] == "ab" * 32
    assert "hub_token" not in run.data.params
    assert run.data.tags["group"] == "pair"
    assert run.inputs.dataset_inputs[0].dataset.name == "starter"
    assert {"scores.parquet", "effects.json", "studies.json", "config.json"} <= {
        file.path for file in client.list_artifacts(run_id(folder))
    }
    table = json.loads(Path(client.download_artifacts(run_id(folder), "effects.json")).read_text())
    assert table["data"] == [["overall", "overall", pytest.approx(NLL, rel=1e-14)]]


def test_a_server_killed_in_the_middle_costs_one_warning_and_track_makes_up_for_it(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.address)
    monkeypatch.setattr("centaurlab.tracking.SEND_EVERY_SECONDS", 0.0)
    folder = RunFolder(tmp_path / "run", "train")
    started = time.monotonic()
    with Tracker(folder, TrackingArguments(), CONFIG) as tracker:
        tracker.log({"train/loss": 3.0}, 1)
        server.kill()
        tracker.log({"train/loss": 2.0}, 2)
        tracker.log({"train/loss": NLL}, 3)
        write_run(folder)
    assert time.monotonic() - started < 60
    warnings = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning")]
    assert len(warnings) == 1
    assert f"centaurlab track {folder.path}" in warnings[0]
    assert len((folder.path / "metrics.jsonl").read_text().splitlines()) == 3

    known = folder.read_json("tracking.json")
    folder.write_json("tracking.json", known | {"mlflow": known["mlflow"] | {"address": server.store}})
    track(folder.path, TrackingArguments())
    history = connect(server.store).get_metric_history(run_id(folder), "train/loss")
    assert [(point.step, point.value) for point in history] == [(1, 3.0), (2, 2.0), (3, NLL)]


def test_an_offline_wandb_run_holds_the_same_numbers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = RunFolder(tmp_path / "run", "score")
    with Tracker(folder, TrackingArguments(["wandb"], group="pair"), CONFIG) as tracker:
        tracker.log({"nll/mean": NLL}, step=3)
        write_run(folder)
    assert "wandb sync" in capsys.readouterr().err
    records = read_offline(tmp_path)
    history = {
        "/".join(item.nested_key) or item.key: json.loads(item.value_json)
        for record in records
        for item in record.history.item  # type: ignore[attr-defined]
    }
    assert history["nll/mean"] == NLL
    assert history["step"] == 3
    assert any(name.startswith("tables/effects") for name in history)
    config = {
        item.key or "/".join(item.nested_key): json.loads(item.value_json)
        for record in records
        for update in (record.config, record.run.config)  # type: ignore[attr-defined]
        for item in update.update
    }
    assert config["data.fingerprint"] == "ab" * 32
    assert config["model_name_or_path"] == CONFIG["model_name_or_path"]
    (run,) = {(r.run.run_id, r.run.run_group, r.run.job_type) for r in records if r.run.run_id}  # type: ignore[attr-defined]
    assert run == (run_id(folder, "wandb"), "pair", "score")
    assert all(b"hf_abcdef" not in path.read_bytes() for path in tmp_path.rglob("*.wandb"))


def test_the_default_store_is_a_database_beside_the_artifacts_even_next_to_old_mlruns(
    store: str, tmp_path: Path
) -> None:
    (tmp_path / "mlruns" / "0").mkdir(parents=True)
    folder = RunFolder(tmp_path / "run", "score")
    with Tracker(folder, TrackingArguments(), CONFIG):
        write_run(folder)
    assert connect(store).get_run(run_id(folder)).info.status == "FINISHED"
    assert list((tmp_path / "mlartifacts").rglob("scores.parquet"))


def test_a_crash_is_marked_failed_and_the_next_start_continues_the_same_run(store: str, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run", "train")

    def crash() -> None:
        with Tracker(folder, TrackingArguments(), CONFIG) as tracker:
            tracker.log({"train/loss": 2.0}, 1)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        crash()
    crashed = run_id(folder)
    assert connect(store).get_run(crashed).info.status == "FAILED"
    with Tracker(folder, TrackingArguments(), CONFIG | {"data": "other"}) as tracker:
        tracker.log({"train/loss": NLL}, 2)
        write_run(folder)
    assert run_id(folder) == crashed
    assert connect(store).get_run(crashed).info.status == "FINISHED"
    assert [p.value for p in connect(store).get_metric_history(crashed, "train/loss")] == [2.0, NLL]


def test_a_killed_run_is_marked_failed_when_another_starts(store: str, tmp_path: Path) -> None:
    script = (
        "import os, signal; from pathlib import Path\n"
        "from centaurlab.runs import RunFolder; from centaurlab.tracking import Tracker, TrackingArguments\n"
        "Tracker(RunFolder(Path('killed'), 'train'), TrackingArguments(), {}).__enter__()\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=False)
    killed = run_id(RunFolder(tmp_path / "killed", "train"))
    assert connect(store).get_run(killed).info.status == "RUNNING"
    with Tracker(RunFolder(tmp_path / "living", "train"), TrackingArguments(), CONFIG):
        assert connect(store).get_run(killed).info.status == "FAILED"
        with Tracker(RunFolder(tmp_path / "third", "train"), TrackingArguments(), CONFIG):
            living = run_id(RunFolder(tmp_path / "living", "train"))
            assert connect(store).get_run(living).info.status == "RUNNING"


def test_an_evaluation_names_the_run_that_trained_its_adapter(store: str, tmp_path: Path) -> None:
    training, scoring = RunFolder(tmp_path / "centaur", "train"), RunFolder(tmp_path / "scores", "score")
    with Tracker(training, TrackingArguments(), CONFIG):
        pass
    with Tracker(scoring, TrackingArguments(), CONFIG | {"adapter_name_or_path": str(training.path)}):
        pass
    tags = connect(store).get_run(run_id(scoring)).data.tags
    assert tags["training_run.mlflow"] == run_id(training)


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
    with pytest.raises(UserError, match="is not a run's folder"):
        track(tmp_path, TrackingArguments())
