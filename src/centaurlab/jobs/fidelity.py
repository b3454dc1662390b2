"""Commands about what models did when they acted; they need no model."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from centaurlab.analyses.analysis import Analysis, Finding
from centaurlab.analyses.fidelity import ANALYSIS, find_fidelity
from centaurlab.display.terminal import show
from centaurlab.jobs.command import Command
from centaurlab.jobs.job import write_files
from centaurlab.runs.addresses import say_where
from centaurlab.runs.folder import WRITTEN, RunFolder
from centaurlab.runs.provenance import provenance
from centaurlab.runs.tracker import Tracker, TrackingArguments
from centaurlab.stats.arguments import EstimateArguments


def of_simulated(analysis: Analysis[Any], find: Callable[[Any, EstimateArguments], Finding]) -> Command:
    """The command of an analysis of simulated sessions: compare, write, and print the verdicts."""

    def run(asked: Any, estimates: EstimateArguments, tracking: TrackingArguments) -> None:
        folder = RunFolder(Path(asked.output_dir), analysis.name)
        folder.check_job()
        finding = find(asked, estimates)
        config = asdict(asked) | asdict(estimates)
        with folder.lock():
            folder.write_json("config.json", config)
            with Tracker(folder, tracking, config):
                written = write_files(folder, finding)
                about = {"job": folder.job, "data": asked.people, "simulated": asked.simulated, WRITTEN: written}
                folder.finish(provenance() | about | dict(finding.record))
        show(*finding.shown, f"{analysis.name}: {folder.path / next(iter(finding.tables))}")
        say_where(folder.path, tracking)

    return Command(analysis.description, (analysis.arguments, EstimateArguments, TrackingArguments), run)


COMMAND = of_simulated(ANALYSIS, find_fidelity)
