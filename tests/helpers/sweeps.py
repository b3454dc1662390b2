"""Sweep files run on this machine, in a process of their own."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import optuna

from helpers.paths import SWEEPS

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
(folder / "run.json").write_text('{"job": "trial"}')
"""
"""Of a sweep: logs so many losses, all equal, and takes its time."""


def write_sweep(folder: Path, **changes: object) -> Path:
    """Write a sweep file of eight trials in a grid, or with ``changes``, beside the program that it runs."""
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


def start_sweep(sweep: Path, *options: str, **environment: str) -> "subprocess.Popen[str]":
    """Start ``sweeps/run.py`` with its runs beside the sweep file."""
    return subprocess.Popen(
        [sys.executable, str(SWEEPS / "run.py"), str(sweep), "--runs", str(sweep.parent / "runs"), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | environment,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background job ignores it
    )


def trials(folder: Path, name: str = "tiny") -> list[optuna.trial.FrozenTrial]:
    """The trials of a sweep whose file lies in ``folder``."""
    return optuna.load_study(study_name=name, storage=f"sqlite:///{folder / 'runs' / f'{name}.db'}").trials
