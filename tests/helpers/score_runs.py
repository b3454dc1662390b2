"""``eval/score.py`` in processes of its own, as several test files start, kill and continue it."""

import json
import os
import random
import runpy
import socket
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from multiprocessing import get_context
from multiprocessing.context import ForkProcess
from pathlib import Path

import torch
from accelerate import PartialState

SCRIPT = Path(__file__).parents[2] / "eval" / "score.py"
INSTRUCTIONS = "You will be shown two slot machines, J and F, and win or lose points with each of them. " * 4


def free_port() -> int:
    with closing(socket.socket()) as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def text(person: int, n_trials: int = 5) -> str:
    draw = random.Random(person)
    trials = (f"You choose <<{draw.choice(['J', 'F', '-3', 'left'])}>> and win {i}. " for i in range(n_trials))
    return INSTRUCTIONS + f"You are person {person}. " + "".join(trials)


def write_sessions(path: Path, n: int, n_trials: int = 5) -> Path:
    rows = [
        {"text": text(person, n_trials), "study": f"study{person % 2}", "experiment": "exp1.csv", "participant": person}
        for person in range(n)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def command(model: Path, data: Path, output: Path, *more: str) -> list[str]:
    return [
        *(str(SCRIPT), "--model_name_or_path", str(model), "--data", str(data)),
        *("--output_dir", str(output), "--dtype", "float32", "--report_to", "none", *more),
    ]


def start(argv: list[str], log: Path = Path(os.devnull), prepare: Callable[[], None] = lambda: None) -> ForkProcess:
    """The script in a process of its own that has the imports of this one.

    ``log`` gets what it prints; ``prepare`` is called in it first, to put a fault in its way.
    """

    def run() -> None:
        PartialState._reset_state()  # that of this process, if a test before has scored in it
        torch.set_num_threads(1)
        sys.stdout = sys.stderr = log.open("w", buffering=1)
        os.dup2(sys.stdout.fileno(), 1)
        os.dup2(sys.stdout.fileno(), 2)
        sys.argv = argv
        prepare()
        runpy.run_path(str(SCRIPT), run_name="__main__")

    child = get_context("fork").Process(target=run, daemon=True)  # does not outlive the test
    child.start()
    return child


def ended(child: ForkProcess, seconds: float = 120) -> int | None:
    """The exit code of a child, or less than 0 for the signal that ended it; None where it does not end in time."""
    child.join(seconds)
    return child.exitcode


def table_bytes(folder: Path) -> bytes:
    return (folder / "scores.parquet").read_bytes()


def n_stored(folder: Path, process: int = 0) -> int:
    part = folder / "store" / f"process-{process}.sqlite"
    if not part.exists():
        return 0
    with closing(sqlite3.connect(part)) as store:
        found = store.execute("SELECT count(*) FROM sqlite_master WHERE name = 'results'").fetchone()[0]
        return int(store.execute("SELECT count(*) FROM results").fetchone()[0]) if found else 0


def run_json(folder: Path) -> dict:
    return json.loads((folder / "run.json").read_text())
