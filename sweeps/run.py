"""Run a W&B sweep file on this machine, without a server.

examples:
  python sweeps/run.py sweeps/lora.yaml --count 12 --workers 2
  python sweeps/run.py sweeps/lora.yaml --count 20 --storage postgresql://host/sweeps    # pip install psycopg2-binary

The same command again continues. Several nodes share a sweep by a --storage that all of them reach, and a shared
--runs folder. Each trial's command finds its id in WANDB_RUN_ID, and writes to $SWEEP_RUNS/$WANDB_RUN_ID; it is
tracked in MLflow, or in what REPORT_TO names. Exit code 1: some trials failed, the others are done.
"""

import argparse
import signal
import sys
from pathlib import Path

from centaurlab.runtime.errors import UserError, exit_on_user_error
from centaurlab.sweeps.file import read_sweep
from centaurlab.sweeps.local import finish, run_sweep


def main() -> None:
    """Run the trials, and show what came out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sweep", type=Path, help="sweep file, as for 'wandb sweep'")
    parser.add_argument("--count", type=int, help="trials in all (default: run_cap, or for a grid every combination)")
    parser.add_argument("--workers", type=int, default=1, help="trials at a time on this machine")
    parser.add_argument("--storage", help="database of the study (default: sqlite in --runs)")
    parser.add_argument("--runs", type=Path, default=Path("runs/sweeps"), help="folder for the trials' run folders")
    args = parser.parse_args()
    if args.workers < 1 or (args.count is not None and args.count < 1):
        raise UserError("--workers and --count must be at least 1")
    sweep = read_sweep(args.sweep)
    runs = args.runs.resolve()
    runs.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # stop the trials too
    storage = args.storage or f"sqlite:///{runs / f'{sweep.name}.db'}"
    finish(sweep, run_sweep(sweep, storage, runs, args.count, args.workers), runs, args.count)


if __name__ == "__main__":
    exit_on_user_error(main)
