"""A report as Markdown: the same text and tables as the page; its figures are files beside it."""

import base64
import re
from collections.abc import Mapping, Sequence

import jinja2

from centaurlab import __version__
from centaurlab.display.section import ReportFigure, Section
from centaurlab.display.tables import ReportTable

_SPECIAL = re.compile(r"([\\`*\[\]|~])|(?<![^\W_])_|_(?![^\W_])")


def markdown(title: str, sections: Sequence[Section], files: Mapping[int, str], version: str) -> str:
    """The whole document; ``files`` maps the ``id`` of each figure to the address of its file."""
    parts = [f"# {escaped(title)}"]
    for section in sections:
        parts += [f"## {escaped(section.title)}", f"*{escaped(section.question)}*"]
        parts += [f"> {escaped(answer)}" for answer in section.answers]
        parts += [_figure(figure, files[id(figure)]) for figure in section.figures]
        parts += [escaped(paragraph) for paragraph in section.explanation]
        for table in section.tables:
            parts += [f"### {escaped(table.title)}", _table(table), *([escaped(table.note)] if table.note else [])]
        parts += ["### Commands that make it again", _fenced("\n".join(section.commands))]
        facts = "\n".join(f"- {escaped(name)}: {escaped(value)}" for name, value in section.provenance)
        parts += ["### Where it comes from", facts]
    return "\n\n".join([*parts, f"Written by centaurlab {escaped(version)}."]) + "\n"


def escaped(text: str) -> str:
    """``text`` on one line, such that Markdown and the HTML in it show it as it is."""
    text = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _SPECIAL.sub(r"\\\g<0>", text)


def _figure(figure: ReportFigure, address: str) -> str:
    return f"![{escaped(figure.caption)}]({address})\n\n{escaped(figure.caption)}"


def _table(table: ReportTable) -> str:
    rows = [[cell.text for cell in row] for row in (*table.rows, *table.summary)]
    lines = [[escaped(text) for text in line] for line in (table.columns, *rows)]
    lines.insert(1, ["---:" if is_number else "---" for is_number in table.is_number])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _fenced(text: str) -> str:
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}\n{text}\n{fence}"


_MEDIA = {"svg": "image/svg+xml", "png": "image/png"}


def _page(title: str, made: Sequence[Section]) -> str:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("centaurlab.display", ""),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["data_uri"] = _data_uri
    return environment.get_template("page.html.jinja").render(title=title, sections=made, version=__version__)


def _data_uri(figure: ReportFigure) -> str:
    return f"data:{_MEDIA[figure.kind]};base64,{base64.b64encode(figure.content).decode()}"
