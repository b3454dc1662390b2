"""A report as one page that loads nothing, and as Markdown with the same text and tables and its figures beside it."""

import base64
from collections.abc import Mapping, Sequence

import jinja2

from centaurlab import __version__
from centaurlab.display.markdown import escaped, fenced, table_lines
from centaurlab.display.section import ReportFigure, Section
from centaurlab.runtime.names import shown


def markdown(title: str, sections: Sequence[Section], files: Mapping[int, str], version: str) -> str:
    """The whole document; ``files`` maps the ``id`` of each figure to the address of its file."""
    parts = [f"# {escaped(title)}"]
    for section in sections:
        parts += [f"## {escaped(section.title)}", f"*{escaped(section.question)}*"]
        parts += [f"> {escaped(answer)}" for answer in section.answers]
        parts += [_figure(figure, files[id(figure)]) for figure in section.figures]
        parts += [escaped(paragraph) for paragraph in section.explanation]
        for table in section.tables:
            parts += [f"### {escaped(table.title)}", table_lines(table), *([escaped(table.note)] if table.note else [])]
        parts += ["### Commands that make it again", fenced("\n".join(section.commands))]
        facts = "\n".join(f"- {escaped(name)}: {escaped(value)}" for name, value in section.provenance)
        parts += ["### Where it comes from", facts]
    return "\n\n".join([*parts, f"Written by centaurlab {escaped(version)}."]) + "\n"


def _figure(figure: ReportFigure, address: str) -> str:
    return f"![{escaped(figure.caption)}]({address})\n\n{escaped(figure.caption)}"


_MEDIA = {"svg": "image/svg+xml", "png": "image/png"}


def page_environment() -> jinja2.Environment:
    """The templates of pages: everything that comes from data is escaped, its control characters are written out."""
    return jinja2.Environment(
        loader=jinja2.PackageLoader("centaurlab.display", ""),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        finalize=lambda value: shown(value) if type(value) is str else value,
    )


def _page(title: str, made: Sequence[Section]) -> str:
    environment = page_environment()
    environment.filters["data_uri"] = _data_uri
    return environment.get_template("page.html.jinja").render(title=title, sections=made, version=__version__)


def _data_uri(figure: ReportFigure) -> str:
    return f"data:{_MEDIA[figure.kind]};base64,{base64.b64encode(figure.content).decode()}"
