"""The command that holds simulated behaviour against people's; it needs no model."""

from dataclasses import asdict
from pathlib import Path

from centaurlab.analyses.analysis import WRITTEN
from centaurlab.analyses.fidelity import ANALYSIS, FidelityArguments, find_fidelity
from centaurlab.display.terminal import show
from centaurlab.jobs.command import Command
from centaurlab.jobs.job import write_files
from centaurlab.runs.addresses import say_where
from centaurlab.runs.folder import RunFolder
from centaurlab.runs.provenance import provenance
from centaurlab.runs.tracker import Tracker, TrackingArguments
from centaurlab.stats.arguments import EstimateArguments


def run(asked: FidelityArguments, estimates: EstimateArguments, tracking: TrackingArguments) -> None:
    """Compare, write tables, figures and ``run.json``, and print the verdicts."""
    folder = RunFolder(Path(asked.output_dir), ANALYSIS.name)
    folder.check_job()
    finding = find_fidelity(asked, estimates)
    config = asdict(asked) | asdict(estimates)
    with folder.lock():
        folder.write_json("config.json", config)
        with Tracker(folder, tracking, config):
            written = write_files(folder, finding)
            about = {"job": folder.job, "data": asked.people, "simulated": asked.simulated, WRITTEN: written}
            folder.finish(provenance() | about | dict(finding.record))
    show(*finding.shown, f"fidelity: {folder.path / 'fidelity.csv'}")
    say_where(folder.path, tracking)


COMMAND = Command(ANALYSIS.description, (FidelityArguments, EstimateArguments, TrackingArguments), run)
