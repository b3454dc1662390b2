"""A clock that goes back, by hours and between two runs: nothing is computed again, and trackers show the latest."""

import json
import os
import time
from pathlib import Path

import pytest
from mlflow import MlflowClient

from helpers.json_files import read_json, run_json
from helpers.score_runs import command, ended, start, table_bytes
from helpers.transcripts import write_bandits

pytestmark = pytest.mark.usefixtures("offline")


def backwards(hours: float) -> None:
    """The clock of this process is wrong, and goes back a second at every look."""
    real, looks = time.time, iter(range(1_000_000))
    time.time = lambda: real() - 3600 * hours - 2 * next(looks)


def test_a_run_is_continued_under_an_earlier_clock(
    tmp_path: Path, tiny_llama_dir: Path, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    data, run = write_bandits(tmp_path / "data.jsonl", 8), tmp_path / "run"

    def scored(folder: Path, hours: float, *more: str) -> None:
        argv = command(tiny_llama_dir, data, folder, *more)
        assert ended(start(argv, tmp_path / "log", lambda: backwards(hours))) == 0, (tmp_path / "log").read_text()

    scored(tmp_path / "whole", -3)
    scored(run, 0, "--max_participants", "2", "--report_to", "mlflow")
    tomorrow = time.time() + 86_400
    for path in run.rglob("*"):
        os.utime(path, (tomorrow, tomorrow))
    scored(run, 5, "--report_to", "mlflow")
    assert table_bytes(run) == table_bytes(tmp_path / "whole")
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["coverage/scored"] for line in lines] == [20, 40]
    assert lines[0]["time"] < lines[1]["time"]
    run_id = read_json(run / "tracking.json")["mlflow"]["run_id"]
    tracked = MlflowClient(store).get_run(run_id)
    assert tracked.info.status == "FINISHED"
    assert tracked.data.metrics["coverage/scored"] == 40
    assert tracked.data.metrics["nll/mean"] == pytest.approx(run_json(run)["nll_mean"])

    scored(run, 24)
    assert run_json(run)["speed"]["tokens_computed_now"] == 0
    assert min(run_json(run)["speed"][name] for name in ("wall_seconds", "scoring_seconds")) >= 0
