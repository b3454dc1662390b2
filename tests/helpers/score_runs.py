"""``eval/score.py`` in processes of its own, as several test files start, kill and continue it."""

import os
import runpy
import sqlite3
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import closing
from multiprocessing import get_context
from multiprocessing.context import ForkProcess
from pathlib import Path

import torch
from accelerate import PartialState
from tqdm import tqdm

from helpers.commands import UNTRACKED
from helpers.paths import EVAL
from helpers.servers import free_port

SCRIPT = EVAL / "score.py"


def options(model: Path, data: Path, output: Path, *more: str) -> list[str]:
    """What a run is told, in float32 and tracked nowhere."""
    return [
        *("--model_name_or_path", str(model), "--data", str(data), "--output_dir", str(output)),
        *("--dtype", "float32", *UNTRACKED, *more),
    ]


def command(model: Path, data: Path, output: Path, *more: str) -> list[str]:
    """The script with its ``options``."""
    return [str(SCRIPT), *options(model, data, output, *more)]


def start(argv: list[str], log: Path = Path(os.devnull), prepare: Callable[[], None] = lambda: None) -> ForkProcess:
    """The script in a process of its own that has the imports of this one.

    ``log`` gets what it prints; ``prepare`` is called in it first, to put a fault in its way.
    """

    def run() -> None:
        tqdm.set_lock(threading.RLock())  # its own is one of all forks: a killed one would keep it for good
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


def start_group(
    argv: list[str], logs: Path, n_processes: int, prepare: Mapping[int, Callable[[], None]]
) -> list[ForkProcess]:
    """As many processes of one group without a launcher; ``prepare`` is called first in those that it names."""
    group = {"WORLD_SIZE": str(n_processes), "LOCAL_WORLD_SIZE": str(n_processes)}
    group |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}

    def joining(rank: int) -> Callable[[], None]:
        def join() -> None:
            os.environ |= group | {"RANK": str(rank), "LOCAL_RANK": str(rank)}
            prepare.get(rank, lambda: None)()

        return join

    return [start(argv, logs / f"rank-{rank}", joining(rank)) for rank in range(n_processes)]


def ended(child: ForkProcess, seconds: float = 120) -> int | None:
    """The exit code of a child, or less than 0 for the signal that ended it; None where it does not end in time."""
    child.join(seconds)
    return child.exitcode


def table_bytes(folder: Path) -> bytes:
    """The table of scores as it lies in a run's folder."""
    return (folder / "scores.parquet").read_bytes()


def n_stored(folder: Path, process: int = 0) -> int:
    """How many sessions a process has stored so far."""
    part = folder / "store" / f"process-{process}.sqlite"
    if not part.exists():
        return 0
    with closing(sqlite3.connect(part)) as store:
        found = store.execute("SELECT count(*) FROM sqlite_master WHERE name = 'results'").fetchone()[0]
        return int(store.execute("SELECT count(*) FROM results").fetchone()[0]) if found else 0
