"""A sweep file runs as W&B would run it, each slot to its end once, whatever is killed meanwhile."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from centaurlab.runtime.errors import UserError
from centaurlab.sweeps.file import read_sweep
from centaurlab.sweeps.local import command_line, n_trials, open_study

RUNNER = Path(__file__).parents[2] / "sweeps" / "run.py"
SWEEPS = sorted(RUNNER.parent.glob("*.yaml"))

TRIAL = """
import json, os, sys, time
from pathlib import Path
values = dict(arg.removeprefix("--").split("=") for arg in sys.argv[1:])
folder = Path(os.environ["SWEEP_RUNS"], os.environ["WANDB_RUN_ID"])
(folder / "pid").write_text(str(os.getpid()))
time.sleep(float(os.environ.get("TRIAL_SECONDS", 0.3)))
with (folder / "metrics.jsonl").open("a") as file:
    for step in range(1, int(os.environ.get("TRIAL_STEPS", 1)) + 1):
        loss = (float(values["rank"]) - 4) ** 2 + float(values["rate"])
        print(json.dumps({"step": 10 * step, "loss": loss}), file=file, flush=True)
        time.sleep(0.2 if loss < 10 else 3)
(folder / "run.json").write_text("{}")
"""


def write_sweep(folder: Path, **changes: object) -> Path:
    (folder / "trial.py").write_text(TRIAL)
    sweep = {
        "name": "tiny",
        "method": "grid",
        "metric": {"name": "loss", "goal": "minimize"},
        "parameters": {"rank": {"values": [2, 3, 4, 6]}, "rate": {"values": [0.1, 0.5]}},
        "command": ["${env}", "${interpreter}", str(folder / "trial.py"), "${args}"],
    } | changes
    path = folder / "tiny.yaml"
    path.write_text(json.dumps(sweep))
    return path


def start(sweep: Path, *options: str, **environment: str) -> "subprocess.Popen[str]":
    command = [sys.executable, str(RUNNER), str(sweep), "--runs", str(sweep.parent / "runs"), *options]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | environment,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background job ignores it
    )


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def sleeping(folder: Path) -> list[int]:
    """Processes of the trials that have begun and logged nothing yet."""
    begun = [path for path in folder.glob("runs/tiny-*/pid") if not (path.parent / "metrics.jsonl").exists()]
    return [int(path.read_text()) for path in begun if path.read_text()]


def is_alive(pid_file: Path) -> bool:
    return Path("/proc", pid_file.read_text(), "exe").exists()  # not of a zombie


def finished(folder: Path) -> list[int]:
    """How often each of the trials ran to its end."""
    return [len(path.read_text().splitlines()) for path in sorted(folder.glob("runs/tiny-*/metrics.jsonl"))]


def trials(folder: Path) -> list[optuna.trial.FrozenTrial]:
    return optuna.load_study(study_name="tiny", storage=f"sqlite:///{folder / 'runs' / 'tiny.db'}").trials


def test_a_killed_grid_of_eight_trials_resumes_and_runs_none_twice(tmp_path: Path) -> None:
    sweep = write_sweep(tmp_path)
    first = start(sweep, "--workers", "2", TRIAL_SECONDS="1")
    wait_until(lambda: len(finished(tmp_path)) >= 3 and len(sleeping(tmp_path)) == 2)
    first.kill()  # the trials outlive their runner; one of them is killed too
    os.kill(sleeping(tmp_path)[0], signal.SIGKILL)
    first.communicate()

    second = start(sweep, "--workers", "2")
    output, _ = second.communicate(timeout=120)
    assert second.returncode == 0, output
    assert finished(tmp_path) == [1] * 8
    complete = [t for t in trials(tmp_path) if t.state == TrialState.COMPLETE]
    assert sorted((t.params["rank"], t.params["rate"]) for t in complete) == [
        (rank, rate) for rank in (2, 3, 4, 6) for rate in (0.1, 0.5)
    ]
    assert "best of 8" in output
    assert "loss = 0.1" in output
    for kind in ("importance", "parallel"):
        assert list(tmp_path.glob(f"runs/tiny-*-{kind}.png"))

    third = start(sweep, "--workers", "2")
    third.communicate(timeout=120)
    assert finished(tmp_path) == [1] * 8


def test_a_failed_trial_is_named_and_tried_again_with_its_values_by_the_next_run(tmp_path: Path) -> None:
    flag = tmp_path / "repaired"
    command = ["sh", "-c", f'test -e {flag} && exec "$@"', "sh", sys.executable, str(tmp_path / "trial.py"), "${args}"]
    rank_and_rate = {"rank": {"min": 1, "max": 5}, "rate": {"min": 0.0, "max": 1.0}}
    sweep = write_sweep(tmp_path, method="random", parameters=rank_and_rate, command=command)
    run = start(sweep, "--count", "1")
    output, _ = run.communicate(timeout=60)
    assert run.returncode == 2
    assert "failed (exit code 1)" in output
    assert "no trial of tiny finished" in output
    flag.touch()
    run = start(sweep, "--count", "1")
    output, _ = run.communicate(timeout=60)
    assert run.returncode == 0, output
    failed, complete = trials(tmp_path)
    assert (failed.state, complete.state) == (TrialState.FAIL, TrialState.COMPLETE)
    assert failed.params == complete.params


def test_a_sweep_of_which_some_trials_failed_shows_its_best_and_exits_with_1(tmp_path: Path) -> None:
    breaks = 'case "$*" in *rank=6*) exit 3;; esac; exec "$@"'
    command = ["sh", "-c", breaks, "sh", sys.executable, str(tmp_path / "trial.py"), "${args}"]
    sweep = write_sweep(tmp_path, parameters={"rank": {"values": [4, 6]}, "rate": {"value": 0.5}}, command=command)
    for options, code in (((), 1), (("--count", "1"), 0)):  # the one that failed is beyond the count
        run = start(sweep, *options)
        output, _ = run.communicate(timeout=60)
        assert run.returncode == code, output
        assert "best of 1" in output
        assert ("error: 1 of 2 trials of tiny failed" in output) == ("tries them again" in output) == bool(code)


def test_a_hopeless_trial_is_pruned_with_all_that_its_launcher_started(tmp_path: Path) -> None:
    launcher = ["sh", "-c", '"$@" & wait', "sh", sys.executable, str(tmp_path / "trial.py"), "${args}"]
    sweep = write_sweep(
        tmp_path,
        parameters={"rank": {"values": [4, 16]}, "rate": {"value": 0.5}},
        early_terminate={"type": "hyperband", "max_iter": 4, "s": 2, "eta": 2},
        command=launcher,
    )
    output, _ = start(sweep, TRIAL_STEPS="4").communicate(timeout=60)
    assert "pruned after" in output
    assert [trial.state for trial in trials(tmp_path)] == [TrialState.COMPLETE, TrialState.PRUNED]
    assert list(trials(tmp_path)[0].intermediate_values) == [1, 2, 3, 4]
    assert not any(is_alive(path) for path in tmp_path.glob("runs/tiny-*/pid"))


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_sweep_stops_its_trials(tmp_path: Path, number: int, code: int) -> None:
    run = start(write_sweep(tmp_path), TRIAL_SECONDS="50")
    wait_until(lambda: any(path.read_text() for path in tmp_path.glob("runs/tiny-*/pid")))
    run.send_signal(number)
    run.communicate(timeout=30)
    assert run.returncode == code
    assert not any(is_alive(path) for path in tmp_path.glob("runs/tiny-*/pid"))


def test_a_sweep_that_changed_under_its_name_is_refused(tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path / 'tiny.db'}"
    first = open_study(read_sweep(write_sweep(tmp_path)), storage, tmp_path)
    assert open_study(read_sweep(write_sweep(tmp_path)), storage, tmp_path).user_attrs == first.user_attrs
    with pytest.raises(UserError, match="has begun with other parameters"):
        open_study(read_sweep(write_sweep(tmp_path, parameters={"rank": {"value": 1}})), storage, tmp_path)


def test_the_command_is_the_one_that_wandbs_agent_would_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOST", "here")
    pieces = [
        "${env}",
        "A=1",
        "${interpreter}",
        "x-${envvar:HOST}",
        "${args_no_hyphens}",
        "$0 ${shell:-y} z",
        "${args}",
    ]
    sweep = read_sweep(write_sweep(tmp_path, command=pieces))
    assert command_line(sweep, {"rank": 4, "rate": None}) == [
        *("/usr/bin/env", "A=1", sys.executable, "x-here", "rank=4", "rate=None", "$0 ${shell:-y} z"),
        *("--rank=4", "--rate=None"),
    ]


def test_a_sweep_without_a_command_runs_its_program(tmp_path: Path) -> None:
    path = write_sweep(tmp_path)
    content = json.loads(path.read_text())
    del content["command"]
    path.write_text(json.dumps(content | {"program": "train.py"}))
    assert command_line(read_sweep(path), {"rank": 4}) == ["/usr/bin/env", sys.executable, "train.py", "--rank=4"]


@pytest.mark.parametrize(
    ("goal", "maximize"), [({}, False), ({"goal": "minimize"}, False), ({"goal": "maximize"}, True)]
)
def test_the_goal_is_to_minimize_unless_it_is_to_maximize(tmp_path: Path, goal: dict[str, str], maximize: bool) -> None:
    assert read_sweep(write_sweep(tmp_path, metric={"name": "loss"} | goal)).maximize is maximize


def test_the_number_of_trials_is_the_count_the_cap_or_the_grid(tmp_path: Path) -> None:
    assert n_trials(read_sweep(write_sweep(tmp_path)), None) == 8
    assert n_trials(read_sweep(write_sweep(tmp_path)), 20) == 8
    assert n_trials(read_sweep(write_sweep(tmp_path, run_cap=3)), None) == 3
    assert n_trials(read_sweep(write_sweep(tmp_path, method="random", run_cap=3)), 9) == 9
    with pytest.raises(UserError, match="give --count"):
        n_trials(read_sweep(write_sweep(tmp_path, method="random")), None)


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_the_sweeps_of_the_project_are_valid(path: Path) -> None:
    sweep = read_sweep(path)
    assert sweep.metric in ("eval/nll", "effect/d/novel")
    assert command_line(sweep, {name: 1 for name in sweep.parameters})[:3] == ["/usr/bin/env", "sh", "-c"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "hill"}, "choose grid, random or bayes"),
        ({"parameters": {"rank": {"min": 1, "max": 4}}}, "a grid needs 'values' for 'rank'"),
        ({"method": "random", "parameters": {"rank": {"min": 1}}}, "needs 'value', 'values', or 'min' and 'max'"),
        ({"method": "random", "parameters": {"rate": {"min": "1e-5", "max": 1}}}, "text to YAML"),
        ({"early_terminate": {"type": "envelope"}}, "only hyperband"),
        ({"early_terminate": {"type": "hyperband"}}, "'max_iter' and 's'"),
        ({"early_terminate": {"type": "hyperband", "min_iter": 0}}, "'min_iter' must be a whole number, at least 1"),
        ({"early_terminate": {"type": "hyperband", "min_iter": 1, "eta": "3"}}, "'eta' must be a whole number"),
        ({"early_terminate": [1]}, "early_terminate must hold 'name: value' lines"),
        ({"metric": "loss"}, "metric must hold 'name: value' lines"),
        ({"metric": {"goal": "minimize"}}, "metric lacks a 'name'"),
        ({"metric": {"name": "loss", "goal": "maximise"}}, "tiny.yaml: goal of .* 'maximise'; choose minimize or max"),
        ({"metric": {"name": "loss", "goal": ["maximize"]}}, "goal of the metric is a list; choose"),
        ({"parameters": ["rank"]}, "parameters must hold"),
        ({"parameters": {"rank": 3}}, "parameter 'rank' must hold"),
        ({"parameters": {"rank": {"values": 3}}}, "'rank' needs a list of texts"),
        ({"parameters": {"rank": {"values": []}}}, "'rank' needs a list of texts"),
        ({"parameters": {"rank": {"value": [1]}}}, "'rank' needs a list of texts"),
        ({"method": "random", "parameters": {"rate": {"min": True, "max": 1}}}, "must be numbers"),
        ({"method": "random", "parameters": {"rate": {"min": 3, "max": 1}}}, "no values between"),
        (
            {"method": "random", "parameters": {"rate": {"min": 0, "max": 1, "distribution": "log_uniform_values"}}},
            "no values between",
        ),
        ({"method": ["grid"]}, "method is a list; choose"),
        ({"run_cap": 0}, "'run_cap' must be a whole number, at least 1"),
        ({"command": "python x.py"}, "command must be a list of words"),
        ({"name": ["a"]}, "name is a list, not text"),
    ],
)
def test_a_mistake_in_a_sweep_is_named(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_sweep(write_sweep(tmp_path, **changes))
