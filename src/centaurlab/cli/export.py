"""The command that writes scores in another program's format."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from centaurlab.jobs.command import Command
from centaurlab.results.inspect_log import write_inspect_log
from centaurlab.results.run import read_run
from centaurlab.runtime.errors import UserError
from centaurlab.runtime.terminal import say

DESCRIPTION = """Write the scores of a run in another program's format.

examples:
  centaurlab export runs/gemma --format inspect
  centaurlab export runs/gemma --output logs/gemma.eval
  inspect view --log-dir logs

inspect: a log of inspect_ai, which need not be installed; a sample per session, with every response's numbers.
"""


@dataclass
class ExportArguments:
    """What is written, and how."""

    run_dir: str = field(metadata={"positional": True, "metavar": "RUN", "help": "folder of 'centaurlab score'"})
    format: Literal["inspect"] = field(default="inspect", metadata={"help": "inspect: a log of inspect_ai"})
    output: str | None = field(default=None, metadata={"help": "the file (default: RUN/inspect.eval)"})


def run(asked: ExportArguments) -> None:
    """Write the file."""
    found = read_run(Path(asked.run_dir))
    path = Path(asked.output) if asked.output else found.folder / "inspect.eval"
    if path.suffix != ".eval":
        raise UserError(f"--output is {path}; inspect reads a log by its ending: give a file NAME.eval")
    if not path.parent.is_dir():
        raise UserError(f"{path.parent} is no folder; make it first, or give another --output")
    say(f"{write_inspect_log(found, path):,} sessions: {path}")


COMMAND = Command(DESCRIPTION, (ExportArguments,), run)
