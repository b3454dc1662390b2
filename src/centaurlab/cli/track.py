"""The command that mirrors the folders of runs to the trackers afterwards."""

from dataclasses import dataclass, field
from pathlib import Path

from centaurlab.jobs.command import Command
from centaurlab.runs.addresses import say_where
from centaurlab.runs.tracker import TrackingArguments, track
from centaurlab.runtime.errors import IncompleteError, UserError

DESCRIPTION = """Log the folders of runs to the trackers: what they do not have yet.

examples:
  centaurlab track runs/gemma --report_to wandb
  centaurlab track runs/sweeps/lora-1a2b3c-*/
"""


@dataclass
class TrackArguments:
    """Which runs."""

    run_dirs: list[str] = field(metadata={"positional": True, "metavar": "RUN", "help": "folders of runs"})


def run(asked: TrackArguments, tracking: TrackingArguments) -> None:
    """Mirror the runs, now; of several, one that fails is named at the end."""
    failures: list[str] = []
    for folder in map(Path, asked.run_dirs):
        try:
            track(folder, tracking)
            say_where(folder, tracking)
        except UserError as error:
            if len(asked.run_dirs) == 1:
                raise
            failures.append(str(error))
    if failures:
        raise IncompleteError("; ".join(failures))


COMMAND = Command(DESCRIPTION, (TrackArguments, TrackingArguments), run)
