"""The command that makes a page of finished runs."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from centaurlab.jobs.command import Command
from centaurlab.runtime.terminal import say

DESCRIPTION = """Write a page on finished runs: question, answer with its interval, figures, tables, commands.

examples:
  centaurlab report runs/effect
  centaurlab report runs/effect runs/centaur runs/generalisation --output results.html
  centaurlab report runs/effect --output results.md --format markdown
"""


@dataclass
class ReportArguments:
    """Which runs, and where the page goes."""

    folders: list[str] = field(metadata={"positional": True, "metavar": "RUN", "help": "folders of finished runs"})
    output: str | None = field(default=None, metadata={"help": "the file (default: report.html or report.md)"})
    format: Literal["html", "markdown"] = field(
        default="html", metadata={"help": "html: one file with everything; or markdown, with its figures beside it"}
    )


def run(asked: ReportArguments) -> None:
    """Write the page, and print its answers."""
    from centaurlab.display.terminal import show
    from centaurlab.reporting import write_report  # here: it imports matplotlib, and --help answers without it

    path = Path(asked.output or ("report.html" if asked.format == "html" else "report.md"))
    for section in write_report(list(map(Path, asked.folders)), path, asked.format):
        show(section.title, *(f"  {answer}" for answer in section.answers))
    say(f"report: {path}")


COMMAND = Command(DESCRIPTION, (ReportArguments,), run)
