import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from centaurlab.errors import UserError
from centaurlab.sweeps import command_line, read_sweep

RUNNER = Path(__file__).parents[1] / "sweeps" / "run.py"
SWEEPS = sorted(RUNNER.parent.glob("*.yaml"))

TRIAL = """
import json, os, sys, time
from pathlib import Path
values = dict(arg.removeprefix("--").split("=") for arg in sys.argv[1:])
folder = Path(os.environ["SWEEP_RUNS"], os.environ["WANDB_RUN_ID"])
time.sleep(0.4)
loss = (float(values["rank"]) - 4) ** 2 + float(values["rate"])
with (folder / "metrics.jsonl").open("a") as file:
    file.write(json.dumps({"step": 1, "loss": loss}) + chr(10))
"""


def write_sweep(folder: Path, **changes: object) -> Path:
    (folder / "trial.py").write_text(TRIAL)
    sweep = {
        "name": "tiny",
        "method": "grid",
        "metric": {"name": "loss", "goal": "minimize"},
        "parameters": {"rank": {"values": [2, 4, 8, 16]}, "rate": {"values": [0.1, 0.5]}},
        "command": ["${env}", "${interpreter}", str(folder / "trial.py"), "${args}"],
    } | changes
    path = folder / "tiny.yaml"
    path.write_text(json.dumps(sweep))
    return path


def start(sweep: Path, runs: Path, *options: str) -> "subprocess.Popen[str]":
    command = [sys.executable, str(RUNNER), str(sweep), "--runs", str(runs), *options]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )


def finished(runs: Path) -> list[int]:
    """How often each of the trials ran to its end."""
    return [len(path.read_text().splitlines()) for path in sorted(runs.glob("tiny-*/metrics.jsonl"))]


def test_a_killed_grid_of_eight_trials_resumes_and_runs_none_twice(tmp_path: Path) -> None:
    sweep, runs = write_sweep(tmp_path), tmp_path / "runs"
    first = start(sweep, runs, "--workers", "2")
    deadline = time.monotonic() + 60
    while len(finished(runs)) < 3 and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    assert 3 <= len(finished(runs)) < 8

    second = start(sweep, runs, "--workers", "2")
    output, _ = second.communicate(timeout=120)
    assert second.returncode == 0, output
    assert len(finished(runs)) == 8
    assert sum(finished(runs)) <= 8 + 2  # a trial that had logged when its worker died may log again

    import optuna

    study = optuna.load_study(study_name="tiny", storage=f"sqlite:///{runs / 'tiny.db'}")
    complete = [t for t in study.trials if t.state == optuna.trial.TrialState.COMPLETE]
    assert sorted((t.params["rank"], t.params["rate"]) for t in complete) == [
        (rank, rate) for rank in (2, 4, 8, 16) for rate in (0.1, 0.5)
    ]
    assert "loss = 0.1" in output
    assert (runs / "tiny-importance.png").exists()
    assert (runs / "tiny-parallel.png").exists()


def test_a_failed_trial_is_named_and_the_others_finish(tmp_path: Path) -> None:
    sweep = write_sweep(tmp_path, parameters={"rank": {"values": [4, "none"]}, "rate": {"value": 0.5}})
    run = start(sweep, tmp_path / "runs")
    output, _ = run.communicate(timeout=60)
    assert run.returncode == 0
    assert "tiny-1: failed (exit code 1)" in output
    assert "best of 1: tiny-0" in output


def test_the_command_gets_the_values_as_wandb_would_give_them(tmp_path: Path) -> None:
    sweep = read_sweep(write_sweep(tmp_path))
    assert command_line(sweep, {"rank": 4, "rate": 0.5})[-2:] == ["--rank=4", "--rate=0.5"]


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_the_sweeps_of_the_project_are_valid(path: Path) -> None:
    assert read_sweep(path).metric.startswith("eval/nll")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "hill"}, "choose grid, random or bayes"),
        ({"parameters": {"rank": {"min": 1, "max": 4}}}, "a grid needs 'values' for 'rank'"),
        ({"method": "random", "parameters": {"rank": {"min": 1}}}, "needs 'value', 'values', or 'min' and 'max'"),
        ({"early_terminate": {"type": "envelope"}}, "only hyperband"),
    ],
)
def test_a_mistake_in_a_sweep_is_named(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_sweep(write_sweep(tmp_path, **changes))
