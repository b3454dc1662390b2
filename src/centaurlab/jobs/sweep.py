"""The command that runs a W&B sweep file on this machine."""

import signal
import sys
from dataclasses import dataclass, field
from pathlib import Path

from centaurlab.jobs.command import Command
from centaurlab.runtime.arguments import found_recipe
from centaurlab.runtime.errors import UserError

DESCRIPTION = """Run a W&B sweep file on this machine, without a server.

examples:
  centaurlab sweep recipes/sweeps/lora.yaml --count 12 --workers 2
  centaurlab sweep recipes/sweeps/lora.yaml --count 20 --storage postgresql://host/sweeps

The same command again continues. Several nodes share a sweep by a --storage that all of them reach (pip install
psycopg2-binary), and a shared --runs folder. Each trial's command finds its id in WANDB_RUN_ID, and writes to
$SWEEP_RUNS/$WANDB_RUN_ID; it is tracked in MLflow, or in what REPORT_TO names. Exit code 1: some trials failed, the
others are done.
"""


@dataclass
class SweepArguments:
    """Which sweep, and how much of it."""

    sweep: str = field(
        metadata={"positional": True, "metavar": "SWEEP", "help": "file as for 'wandb sweep', or of the package"}
    )
    count: int | None = field(
        default=None, metadata={"help": "trials in all (default: run_cap, or for a grid every combination)"}
    )
    workers: int = field(default=1, metadata={"help": "trials at a time on this machine"})
    storage: str | None = field(default=None, metadata={"help": "database of the study (default: sqlite in --runs)"})
    runs: str = field(default="runs/sweeps", metadata={"help": "folder for the trials' run folders"})

    def __post_init__(self) -> None:
        if self.workers < 1 or (self.count is not None and self.count < 1):
            raise UserError("--workers and --count must be at least 1")


def run(asked: SweepArguments) -> None:
    """Run the trials, and show what came out."""
    # Here and not above: they import what --help does without.
    from centaurlab.sweeps.file import read_sweep
    from centaurlab.sweeps.local import finish, local_storage, run_sweep

    sweep = read_sweep(found_recipe(Path(asked.sweep)))
    runs = Path(asked.runs).resolve()
    runs.mkdir(parents=True, exist_ok=True)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))  # stop the trials too
    storage = asked.storage or local_storage(runs / f"{sweep.name}.db")
    finish(sweep, run_sweep(sweep, storage, runs, asked.count, asked.workers), runs, asked.count)


COMMAND = Command(DESCRIPTION, (SweepArguments,), run)
