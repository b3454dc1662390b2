"""Run a W&B sweep file on this machine, without a server.

examples:
  python sweeps/run.py sweeps/lora.yaml --workers 2
  python sweeps/run.py sweeps/lora.yaml --count 20 --storage postgresql://host/sweeps

The same command again continues. Several nodes share a sweep by a --storage that all of them reach, and a shared
--runs folder. Each trial's command finds its id in WANDB_RUN_ID, and writes to $SWEEP_RUNS/$WANDB_RUN_ID.
"""

import argparse
import subprocess
import sys
from pathlib import Path

from centaurlab.errors import UserError, exit_on_user_error
from centaurlab.sweeps import finish, open_study, queue_trials, read_sweep, work


def main() -> None:
    """Queue the trials, start the workers, and show what came out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sweep", type=Path, help="sweep file, as for 'wandb sweep'")
    parser.add_argument("--count", type=int, help="trials in all (default for a grid: every combination)")
    parser.add_argument("--workers", type=int, default=1, help="trials at a time on this machine")
    parser.add_argument("--storage", help="database of the study (default: sqlite in --runs)")
    parser.add_argument("--runs", type=Path, default=Path("runs/sweeps"), help="folder for the trials' run folders")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.workers < 1 or (args.count is not None and args.count < 1):
        raise UserError("--workers and --count must be at least 1")
    sweep = read_sweep(args.sweep)
    args.runs.mkdir(parents=True, exist_ok=True)
    storage = args.storage or f"sqlite:///{(args.runs / f'{sweep.name}.db').resolve()}"
    study = open_study(sweep, storage)
    if args.worker:
        work(sweep, study, args.runs.resolve())
        return
    queue_trials(sweep, study, args.count)
    command = [sys.executable, __file__, str(args.sweep), "--runs", str(args.runs), "--storage", storage, "--worker"]
    workers = [subprocess.Popen(command) for _ in range(args.workers)]
    try:
        for worker in workers:
            worker.wait()
    finally:
        for worker in workers:
            worker.terminate()
    finish(sweep, study, args.runs)


if __name__ == "__main__":
    exit_on_user_error(main)
