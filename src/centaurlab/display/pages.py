"""A report as one page that loads nothing, and as Markdown with the same text and tables and its figures beside it."""

import base64
from collections.abc import Mapping, Sequence

import jinja2

from centaurlab import __version__
from centaurlab.catalog.tables import study_domains
from centaurlab.display.markdown import escaped, fenced, table_lines
from centaurlab.display.section import Card, ReportFigure, Section
from centaurlab.runtime.names import shown


def markdown(title: str, sections: Sequence[Section], files: Mapping[int, str], version: str) -> str:
    """The whole document; ``files`` maps the ``id`` of each figure to the address of its file."""
    parts = [f"# {escaped(title)}"]
    for section in sections:
        parts += [f"## {escaped(section.title)}", f"*{escaped(section.question)}*"]
        parts += [f"> {escaped(answer)}" for answer in section.answers]
        parts += ["\n".join(f"- {escaped(_in_words(card))}" for card in section.cards)] if section.cards else []
        parts += [_figure(figure, files[id(figure)]) for figure in section.figures]
        parts += [escaped(paragraph) for paragraph in section.explanation]
        for table in section.tables:
            parts += [f"### {escaped(table.title)}", table_lines(table), *([escaped(table.note)] if table.note else [])]
        parts += ["### Commands that make it again", fenced("\n".join(section.commands))]
        facts = "\n".join(f"- {escaped(name)}: {escaped(value)}" for name, value in section.provenance)
        parts += ["### Where it comes from", facts]
    return "\n\n".join([*parts, f"Written by centaurlab {escaped(version)}."]) + "\n"


def _in_words(card: Card) -> str:
    return f"{card.label}: {card.value}" + (f" ({card.note})" if card.note else "")


def _figure(figure: ReportFigure, address: str) -> str:
    return f"![{escaped(figure.caption)}]({address})\n\n{escaped(figure.caption)}"


_SHOWN_ANSWERS = 3
"""What is said of a section before something is unfolded."""

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
    domains_of = study_domains()
    return environment.get_template("page.html.jinja").render(
        title=title,
        sections=made,
        shown_answers=_SHOWN_ANSWERS,
        version=__version__,
        domains_of={study: domains for study, domains in domains_of.items() if domains},
        known_domains=[_known_domains(section, domains_of) for section in made],
        links_of=[_links(number, section) for number, section in enumerate(made, start=1)],
    )


def _links(number: int, section: Section) -> dict[str, str]:
    """The first row about each study, or pair, by what a chart calls it; the mean is the first of the last rows."""
    links: dict[str, str] = {}
    for at, table in enumerate(section.tables, start=1):
        for row, cells in enumerate(table.rows, start=1):
            links.setdefault(cells[0].text, f"s{number}-t{at}-r{row}")
        if table.summary and table.columns[0] == "study":
            links.setdefault("mean over studies", f"s{number}-t{at}-f1")
    return links


def _known_domains(section: Section, domains_of: Mapping[str, tuple[str, ...]]) -> list[str]:
    """The domains of the studies that a section's charts show."""
    labels = [row.label for figure in section.figures if figure.chart for row in figure.chart.rows]
    return sorted({domain for label in labels for domain in domains_of.get(label, ())})


def _data_uri(figure: ReportFigure) -> str:
    return f"data:{_MEDIA[figure.kind]};base64,{base64.b64encode(figure.content).decode()}"
