"""Finished runs into one page that can be shown: question, answer with its interval, figures, tables, commands.

The page is one file that loads nothing; figures are in it, everything that comes from data is escaped. Folders are
read, nothing is computed anew but intervals, and torch is not needed.
"""

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Literal
from urllib.parse import quote

import jinja2

from centaurlab import __version__
from centaurlab.errors import UserError
from centaurlab.report.content import ReportFigure, Section
from centaurlab.report.folders import find_runs
from centaurlab.report.jobs import sections
from centaurlab.report.markdown import markdown

Format = Literal["html", "markdown"]
_MEDIA = {"svg": "image/svg+xml", "png": "image/png"}


def write_report(folders: Sequence[Path], output: Path, format: Format) -> list[Section]:
    """Write the report on the runs in ``folders`` to ``output``; Markdown's figures go into a folder beside it.

    Raises ``UserError`` for what is no folder of a finished run, scores of different data, and a full disk.
    """
    made = sections(find_runs(folders))
    title = made[0].title if len(made) == 1 else "How well models predict people"
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        if format == "html":
            text = _page(title, made)
        else:
            text = markdown(title, made, _figure_files(made, output), __version__)
        temporary = output.with_name(f".{output.name}.tmp")
        temporary.write_text(text, encoding="utf-8", errors="replace")
        temporary.replace(output)
    except OSError as error:
        raise UserError(f"cannot write {output}: {error.strerror or error}; give another --output") from error
    return made


def _page(title: str, made: Sequence[Section]) -> str:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("centaurlab.report", ""),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["data_uri"] = _data_uri
    return environment.get_template("page.html.jinja").render(title=title, sections=made, version=__version__)


def _data_uri(figure: ReportFigure) -> str:
    return f"data:{_MEDIA[figure.kind]};base64,{base64.b64encode(figure.content).decode()}"


def _figure_files(made: Sequence[Section], output: Path) -> dict[int, str]:
    folder = output.with_name(f"{output.stem}-figures")
    folder.mkdir(exist_ok=True)
    files: dict[int, str] = {}
    for number, section in enumerate(made, start=1):
        for figure in section.figures:
            name = f"{number}-{figure.name}.{figure.kind}"
            (folder / name).write_bytes(figure.content)
            files[id(figure)] = quote(f"{folder.name}/{name}")
    return files
