"""The command that mirrors a run's folder to the trackers afterwards."""

from dataclasses import dataclass, field
from pathlib import Path

from centaurlab.jobs.command import Command
from centaurlab.runs.tracker import TrackingArguments, track

DESCRIPTION = """Log a run's folder to the trackers: what they do not have yet.

example:
  centaurlab track runs/gemma --report_to wandb
"""


@dataclass
class TrackArguments:
    """Which run."""

    run_dir: str = field(metadata={"positional": True, "metavar": "RUN", "help": "the folder of a run"})


def run(asked: TrackArguments, tracking: TrackingArguments) -> None:
    """Mirror the run, now."""
    track(Path(asked.run_dir), tracking)


COMMAND = Command(DESCRIPTION, (TrackArguments, TrackingArguments), run)
