"""Finished runs into one page that can be shown: question, answer with its interval, figures, tables, commands.

The page is one file that loads nothing; figures are in it, everything that comes from data is escaped. Folders are
read, nothing is computed anew but intervals, and torch is not needed.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from centaurlab import __version__
from centaurlab.analyses import ANALYSES, find_analysis
from centaurlab.analyses.finished import Run, any_section, find_runs
from centaurlab.analyses.scores import scores_section
from centaurlab.analyses.training import post_training_section, training_section
from centaurlab.display.pages import _page, markdown
from centaurlab.display.section import Section
from centaurlab.runtime.disk import write_together
from centaurlab.runtime.errors import UserError

Format = Literal["html", "markdown"]


def write_report(folders: Sequence[Path], output: Path, format: Format) -> list[Section]:
    """Write the report on the runs in ``folders`` to ``output``; Markdown's figures go into a folder beside it.

    Raises ``UserError`` for what is no folder of a finished run, scores of different data, and a full disk.
    """
    made = sections(find_runs(folders))
    title = made[0].title if len(made) == 1 else "How well models predict people"
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        files: list[tuple[Path, bytes]] = []
        links: dict[int, str] = {}
        if format == "html":
            text = _page(title, made)
        else:
            folder = output.with_name(f"{output.stem}-figures")
            folder.mkdir(exist_ok=True)
            for number, section in enumerate(made, start=1):
                for figure in section.figures:
                    name = f"{number}-{figure.name}.{figure.kind}"
                    files.append((folder / name, figure.content))
                    links[id(figure)] = quote(f"{folder.name}/{name}")
            text = markdown(title, made, links, __version__)
        write_together([*files, (output, text.encode("utf-8", errors="replace"))])
    except OSError as error:
        raise UserError(f"cannot write {output}: {error.strerror or error}; give another --output") from error
    return made


def sections(runs: Sequence[Run]) -> list[Section]:
    """A section for each run, but one for all score runs, which must be of the same data and protocol."""
    scored = [run for run in runs if run.job == "score"]
    others = [_section(run) for run in runs if run.job != "score"]
    is_compared = any(run.job == "misalignment" for run in runs)
    return [scores_section(scored, is_compared), *others] if scored else others


_TRAININGS = {"train": training_section, "posttrain": post_training_section}


def _section(run: Run) -> Section:
    if run.job in _TRAININGS:
        return _TRAININGS[run.job](run)
    return find_analysis(run.job).section(run) if run.job in ANALYSES else any_section(run)
