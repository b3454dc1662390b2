"""Trackers hold what the run folder holds, to the last digit; whatever happens to them, the run goes on."""

import json
import os
import resource
import signal
import socket
import struct
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from centaurlab.runs.folder import RunFolder, read_json
from centaurlab.runs.mirror import LARGE_FILE_BYTES
from centaurlab.runs.mlflow_run import connect
from centaurlab.runs.provenance import provenance
from centaurlab.runs.tracker import Tracker, TrackingArguments, track
from centaurlab.runtime.errors import IncompleteError, UserError
from centaurlab.training.resume import logged_until

NLL = 1.2345678901234567
CONFIG = {"model_name_or_path": "org/tiny-llama", "data": "starter", "hub_token": "hf_abcdefghijklmnop"}


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database without runs: creating its tables takes seconds, copying it none."""
    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    write_empty_store(path)
    return path


@pytest.fixture
def store(empty_store: Path, tmp_path: Path) -> str:
    (tmp_path / "mlflow.db").write_bytes(empty_store.read_bytes())
    return f"sqlite:///{tmp_path / 'mlflow.db'}"


def write_empty_store(path: Path) -> str:
    """Make the tables of an MLflow database; return its address."""
    connect(f"sqlite:///{path}").search_experiments()
    return f"sqlite:///{path}"


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
    (folder.path / "effects.csv").write_text(f"level,name,d\noverall,overall,{NLL!r}\nstudy,shelf,inf\n")
    (folder.path / "scores.parquet").write_bytes(b"rows")
    data = {"name": "starter", "fingerprint": "ab" * 32, "studies": {"shelf": {"nll": NLL}}}
    folder.write_json(
        "run.json",
        provenance() | {"job": "score", "data": data, "coverage": {"shelf": {"scored": 3}}, "nll_mean": NLL},
    )


def known_to(folder: RunFolder, tracker: str = "mlflow") -> dict[str, object]:
    known: dict[str, object] = read_json(folder.path / "tracking.json").get(tracker, {})
    return known


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def run_id(folder: RunFolder, tracker: str = "mlflow") -> str:
    return str(folder.read_json("tracking.json")[tracker]["run_id"])


def read_offline(folder: Path) -> list[object]:
    """The records of the one W&B offline run below ``folder``: LevelDB's log format after a header of 7 bytes."""
    from wandb.proto.wandb_internal_pb2 import Record

    (path,) = folder.rglob("*.wandb")
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
    with Tracker(folder, TrackingArguments(["mlflow"], group="pair"), CONFIG):
        folder.log({"nll/mean": NLL}, step=3)
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
    assert run.data.tags["mlflow.source.name"] == Path(sys.argv[0]).name
    assert run.inputs.dataset_inputs[0].dataset.name == "starter"
    assert {"scores.parquet", "effects.json", "studies.json", "config.json"} <= {
        file.path for file in client.list_artifacts(run_id(folder))
    }
    table = json.loads(Path(client.download_artifacts(run_id(folder), "effects.json")).read_text())
    assert table == {"columns": ["level", "name", "d"], "data": [["overall", "overall", NLL], ["study", "shelf", None]]}


def test_a_server_killed_in_the_middle_costs_one_warning_and_track_makes_up_for_it(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.address)
    folder = RunFolder(tmp_path / "run", "train")
    with Tracker(folder, TrackingArguments(), CONFIG, every_seconds=0.1):
        folder.log({"train/loss": 3.0}, 1)
        wait_until(lambda: known_to(folder).get("metric_lines") == 1)
        server.kill()
        folder.log({"train/loss": 2.0}, 2)
        folder.log({"train/loss": NLL}, 3)
        write_run(folder)
        started = time.monotonic()
    assert time.monotonic() - started < 30
    warnings = [line for line in capfd.readouterr().err.splitlines() if line.startswith("warning")]
    assert len(warnings) == 1
    assert warnings[0].endswith(f"centaurlab track {folder.path}")
    assert len((folder.path / "metrics.jsonl").read_text().splitlines()) == 3

    monkeypatch.setenv(
        "MLFLOW_TRACKING_URI", server.store
    )  # the server's database outlives it, its files are not there
    with pytest.raises(IncompleteError, match="not logged there: tables, figures and files"):
        track(folder.path, TrackingArguments())
    history = connect(server.store).get_metric_history(run_id(folder), "train/loss")
    assert [(point.step, point.value) for point in history] == [(1, 3.0), (2, 2.0), (3, NLL)]
    assert connect(server.store).get_run(run_id(folder)).info.status == "FINISHED"


def test_an_offline_wandb_run_holds_the_same_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = RunFolder(tmp_path / "run", "score")
    monkeypatch.setenv("WANDB_PROJECT", "humans")
    monkeypatch.setenv("WANDB_ENTITY", "a-lab")
    with Tracker(folder, TrackingArguments(["wandb"], group="pair"), CONFIG):
        folder.log({"nll/mean": NLL}, step=3)
        write_run(folder)
    assert "wandb sync" in capfd.readouterr().err
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
    assert {(r.run.entity, r.run.project) for r in records if r.run.run_id} == {("a-lab", "humans")}  # type: ignore[attr-defined]
    (table,) = (path for path in tmp_path.glob("wandb/offline-run-*/files/media/table/tables/effects_*.table.json"))
    assert json.loads(table.read_text())["data"][0] == ["overall", "overall", NLL]
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
            folder.log({"train/loss": 20.0 + step}, step)
        write_run(folder)
    history = connect(store).get_metric_history(run_id(folder), "train/loss")
    assert {(point.step, point.value) for point in history} == {(1, 11), (2, 12), (3, 13), (2, 22), (3, 23)}
    assert connect(store).get_run(run_id(folder)).data.metrics["train/loss"] == 23


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


def test_wandb_without_a_key_never_asks_and_no_key_is_written_anywhere(tmp_path: Path) -> None:
    script = """
from pathlib import Path
from centaurlab.runs.folder import RunFolder
from centaurlab.runs.provenance import provenance
from centaurlab.runs.tracker import Tracker, TrackingArguments
folder = RunFolder(Path("run"), "score")
with Tracker(folder, TrackingArguments(["all"]), {"data": "starter"}):
    folder.write_json("run.json", provenance() | {"job": "score"})
"""
    password, token = "s3same", "hf_" + "aB3" * 9
    environment = os.environ | {
        "WANDB_MODE": "online",
        "NETRC": os.devnull,
        "MLFLOW_TRACKING_URI": f"http://someone:{password}@127.0.0.1:9",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    }
    receiver, sender = os.openpty()
    done = subprocess.run(
        [sys.executable, "-c", script, f"--hub_token={token}"],
        cwd=tmp_path,
        env=environment,
        stdin=sender,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    os.close(receiver)
    os.close(sender)
    assert done.returncode == 0, done.stderr
    assert "wandb sync" in done.stderr
    assert "warning: MLflow failed" in done.stderr
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    for secret in (password, token):
        assert secret not in done.stdout + done.stderr
        assert secret.encode() not in written


def test_an_unreachable_wandb_costs_one_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setenv("WANDB_API_KEY", "0123456789" * 4)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    folder = RunFolder(tmp_path / "run", "score")
    started = time.monotonic()
    with Tracker(folder, TrackingArguments(["wandb"]), CONFIG):
        folder.log({"nll/mean": NLL})
        write_run(folder)
    assert time.monotonic() - started < 60
    warnings = [line for line in capfd.readouterr().err.splitlines() if line.startswith("warning")]
    assert len(warnings) == 1
    assert warnings[0].startswith("warning: W&B failed")
    assert warnings[0].endswith(f"centaurlab track {folder.path} --report_to wandb")
    assert len((folder.path / "metrics.jsonl").read_text().splitlines()) == 1


def test_a_comparison_names_its_runs_which_join_its_group_and_so_does_the_training_behind_them(
    store: str, tmp_path: Path
) -> None:
    def tracked(name: str, job: str, config: dict[str, object], *group: str) -> RunFolder:
        folder = RunFolder(tmp_path / name, job)
        arguments = TrackingArguments(["mlflow"])
        with Tracker(folder, arguments.grouped(*group) if group else arguments, config):
            folder.write_json("config.json", config)
            folder.write_json("run.json", {"job": job})
        return folder

    def group(folder: RunFolder) -> str | None:
        return connect(store).get_run(run_id(folder)).data.tags.get("group")

    training = tracked("centaur", "train", {"model": {"model_name_or_path": "org/tiny"}})
    (training.path / "checkpoint-8").mkdir()
    base = tracked("base", "score", {"model_name_or_path": "org/tiny"})
    post = tracked("post", "score", {"model_name_or_path": str(training.path / "checkpoint-8")})
    tags = connect(store).get_run(run_id(post)).data.tags
    assert tags["training_run.mlflow"] == run_id(training)
    assert group(base) is None

    compared = {"base": str(base.path), "post": str(post.path)}
    first = tracked("effect", "misalignment", compared, "runs/effect", str(base.path))
    tags = connect(store).get_run(run_id(first)).data.tags
    assert (tags["base_run.mlflow"], tags["post_run.mlflow"]) == (run_id(base), run_id(post))
    assert [group(run) for run in (first, base, post, training)] == ["effect"] * 4
    frontier = {"base": "org/tiny", "models": [f"sft={training.path}", f"half={post.path}"]}
    second = tracked("frontier", "frontier", frontier, "runs/frontier", str(base.path))
    tags = connect(store).get_run(run_id(second)).data.tags
    assert tags["post_run.mlflow"] == f"{run_id(training)} {run_id(post)}"
    assert group(second) == "effect"  # that of the base model that both are held against


def test_in_wandb_too_a_run_joins_the_group_of_a_comparison_and_parts_of_a_trial_are_runs_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, value in (("RUN_ID", "trial-7"), ("NAME", "trial 7"), ("SWEEP_ID", "sweep")):
        monkeypatch.setenv(f"WANDB_{variable}", value)
    base, effect = RunFolder(tmp_path / "base", "score"), RunFolder(tmp_path / "effect", "misalignment")
    arguments = TrackingArguments(["wandb"])
    with Tracker(base, arguments.part("no persona"), CONFIG):
        write_run(base)
    config = {"base": str(base.path)}
    with Tracker(effect, arguments.grouped("effect"), config):
        effect.write_json("run.json", {"job": "misalignment"})
    runs = [
        (r.run.run_id, r.run.display_name, r.run.sweep_id, r.run.run_group)  # type: ignore[attr-defined]
        for path in sorted(tmp_path.glob("wandb/offline-run-*"), key=lambda path: path.stat().st_mtime)
        for r in read_offline(path)
        if r.run.run_id  # type: ignore[attr-defined]
    ]
    known = run_id(base, "wandb")
    assert known != "trial-7"
    name = "score tiny-llama on starter, no persona"
    assert list(dict.fromkeys(runs)) == [
        (known, name, "", ""),
        ("trial-7", "trial 7", "sweep", "effect"),
        (known, name, "", "effect"),
    ]


def test_large_files_are_logged_by_reference(store: str, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run", "train")
    with Tracker(folder, TrackingArguments(["all"]), CONFIG):
        write_run(folder)
        with (folder.path / "model.safetensors").open("wb") as file:
            file.truncate(LARGE_FILE_BYTES + 1)
    artifacts = {file.path for file in connect(store).list_artifacts(run_id(folder))}
    assert "model.safetensors" not in artifacts
    (references,) = tmp_path.glob(f"mlartifacts/{run_id(folder)}/artifacts/references.json")
    uri = (folder.path / "model.safetensors").as_uri()
    assert json.loads(references.read_text()) == {"model.safetensors": {"uri": uri, "bytes": LARGE_FILE_BYTES + 1}}
    entries = [
        entry
        for record in read_offline(tmp_path)
        for entry in record.request.log_artifact.artifact.manifest.contents or record.artifact.manifest.contents  # type: ignore[attr-defined]
    ]
    assert {entry.ref for entry in entries if entry.path == "model.safetensors"} == {uri}


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
