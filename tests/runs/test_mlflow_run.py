"""An MLflow server or database holds what the run folder holds, to the last digit, and may end before the run."""

import json
import sys
import time
from pathlib import Path

import pytest
from mlflow.utils.validation import _validate_metric_name

from centaurlab.runs.folder import RunFolder
from centaurlab.runs.mirror import LARGE_FILE_BYTES
from centaurlab.runs.mlflow_run import legal
from centaurlab.runs.mlflow_store import connect
from centaurlab.runs.tracker import Tracker, TrackingArguments, track
from centaurlab.runtime.errors import IncompleteError
from helpers.tracked_runs import CONFIG, NLL, known_to, run_id, write_run
from helpers.trackers import MlflowServer, read_offline
from helpers.waiting import wait_until


def test_a_server_holds_what_the_files_hold(
    server: MlflowServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
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


def test_metrics_of_strangers_names_are_taken_by_mlflow_and_stay_apart() -> None:
    studies = [
        "a+b",
        "a=b",
        "a|b",
        "a\\b",
        "x" * 3000,
        "x" * 2999,
        "<b>",
        '"><img>',
        "$x$",
        "\u202eb",
        "\u200b",
        "\U0001f600",
        "é",
    ]
    names = [legal(f"nll/{study}") for study in studies]
    for name in names:
        _validate_metric_name(name)
    assert len(set(names)) == len(studies)
    assert legal("nll/guenther2020 TS-1.0: a") == "nll/guenther2020 TS-1.0: a"


def test_a_server_killed_in_the_middle_costs_one_warning_and_track_makes_up_for_it(
    server: MlflowServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
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

    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.store)  # outlives the server; its files are not there
    with pytest.raises(IncompleteError, match="not logged there: tables, figures and files"):
        track(folder.path, TrackingArguments())
    history = connect(server.store).get_metric_history(run_id(folder), "train/loss")
    assert [(point.step, point.value) for point in history] == [(1, 3.0), (2, 2.0), (3, NLL)]
    assert connect(server.store).get_run(run_id(folder)).info.status == "FINISHED"


def test_the_default_store_is_a_database_beside_the_artifacts_even_next_to_old_mlruns(
    store: str, tmp_path: Path
) -> None:
    (tmp_path / "mlruns" / "0").mkdir(parents=True)
    folder = RunFolder(tmp_path / "run", "score")
    with Tracker(folder, TrackingArguments(), CONFIG):
        write_run(folder)
    assert connect(store).get_run(run_id(folder)).info.status == "FINISHED"
    assert list((tmp_path / "mlartifacts").rglob("scores.parquet"))


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
        for entry in record.request.log_artifact.artifact.manifest.contents or record.artifact.manifest.contents
    ]
    assert {entry.ref for entry in entries if entry.path == "model.safetensors"} == {uri}
