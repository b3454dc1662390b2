"""An offline W&B run holds the same numbers, in its group; no key is asked for, and none is written anywhere."""

import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path
from unittest.mock import MagicMock

import pytest

from centaurlab.runs import wandb_run
from centaurlab.runs.folder import RunFolder, read_metrics
from centaurlab.runs.tracker import Tracker, TrackingArguments, track
from helpers.tracked_runs import CONFIG, NLL, known_to, run_id, write_run
from helpers.trackers import logged_offline, read_offline


def test_an_offline_wandb_run_holds_the_same_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = RunFolder(tmp_path / "run", "score")
    monkeypatch.setenv("WANDB_PROJECT", "humans")
    monkeypatch.setenv("WANDB_ENTITY", "a-lab")
    settings = {"learning_rate": 0.0005, "packing": False, "studies": ["shelf", "bandit"]}
    with Tracker(folder, TrackingArguments(["wandb"], group="pair"), CONFIG | settings):
        folder.log({"nll/mean": NLL}, step=3)
        write_run(folder)
    assert "wandb sync" in capfd.readouterr().err
    records = read_offline(tmp_path)
    history = logged_offline(records)
    assert history["nll/mean"] == NLL
    assert history["step"] == 3
    assert any(name.startswith("tables/effects") for name in history)
    config = {
        item.key or "/".join(item.nested_key): json.loads(item.value_json)
        for record in records
        for update in (record.config, record.run.config)
        for item in update.update
    }
    assert config["data.fingerprint"] == "ab" * 32
    assert config["model_name_or_path"] == CONFIG["model_name_or_path"]
    settings = [config[name] for name in ("learning_rate", "packing", "studies")]
    assert settings == [0.0005, False, ["shelf", "bandit"]], "as numbers and lists, which W&B can filter and plot by"
    (run,) = {(r.run.run_id, r.run.run_group, r.run.job_type) for r in records if r.run.run_id}
    assert run == (run_id(folder, "wandb"), "pair", "score")
    assert {(r.run.entity, r.run.project) for r in records if r.run.run_id} == {("a-lab", "humans")}
    (table,) = (path for path in tmp_path.glob("wandb/offline-run-*/files/media/table/tables/effects_*.table.json"))
    assert json.loads(table.read_text())["data"][0] == ["overall", "overall", NLL]
    assert all(b"hf_abcdef" not in path.read_bytes() for path in tmp_path.rglob("*.wandb"))


def test_the_lowest_and_highest_of_a_curve_are_of_all_its_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = MagicMock(resumed=True, offline=False, summary={}, tags=())
    monkeypatch.setattr(wandb_run, "_init", lambda **_: run)
    folder = RunFolder(tmp_path, "train")
    for nll in (1.2, 0.4, 0.6, math.nan, 0.7):
        folder.log({"eval/nll": nll, "eval/nll/broken": math.nan, "nll/mean": nll})
    resumed = wandb_run.WandbRun(tmp_path, {}, "a run", {"job_type": "train"})
    resumed.metrics(read_metrics(tmp_path)[2:])
    resumed.end(failed=False)
    assert run.summary == {"eval/nll.min": 0.4, "eval/nll.max": 1.2}


def test_of_a_disabled_wandb_nothing_is_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = RunFolder(tmp_path / "run", "score")
    monkeypatch.setenv("WANDB_MODE", "disabled")
    with Tracker(folder, TrackingArguments(["wandb"]), CONFIG):
        write_run(folder)
    assert not (folder.path / "tracking.json").exists()
    monkeypatch.setenv("WANDB_MODE", "offline")
    track(folder.path, TrackingArguments(["wandb"]))
    assert known_to(folder, "wandb")["entity"] != "dummy"


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
        (r.run.run_id, r.run.display_name, r.run.sweep_id, r.run.run_group)
        for path in sorted(tmp_path.glob("wandb/offline-run-*"), key=lambda path: path.stat().st_mtime)
        for r in read_offline(path)
        if r.run.run_id
    ]
    known = run_id(base, "wandb")
    assert known != "trial-7"
    name = "score tiny-llama on starter, no persona"
    assert list(dict.fromkeys(runs)) == [
        (known, name, "", ""),
        ("trial-7", "trial 7", "sweep", "effect"),
        (known, name, "", "effect"),
    ]
