"""Tables of cells onto a terminal, at any width without losing a character.

Titles and long names are wrapped first. Columns that still do not fit follow below, beside those again that
tell the rows apart; only where a terminal is too narrow for a single one are intervals wrapped between their bounds.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from centaurlab.display.tables import Table
from centaurlab.runtime import terminal
from centaurlab.stats.words import INTERVAL

_GAP = 3  # between columns
_NAME = 24  # at least so much of a name before it is wrapped
_LEAST_NAME = 12  # where there is less room


@dataclass(frozen=True)
class _Width:
    """Of a column: ``widest`` wraps nothing, ``good`` titles and long names, ``least`` intervals and names, too."""

    least: int
    good: int
    widest: int


def show(*shown: Table | str) -> None:
    """Print tables and sentences on standard output, in this order."""
    for one in shown:
        if isinstance(one, str):
            terminal.say(one)
        else:
            print_table(one)


def print_table(table: Table, console: Console | None = None) -> None:
    """Print ``table`` on standard output or ``console``, with its title above and its note below."""
    console = console or terminal.console()
    widths = [_width(table, column) for column in range(len(table.columns))]
    for number, columns in enumerate(_blocks(table, widths, console.width)):
        console.print(_printed(table, columns, [widths[column] for column in columns], console.width, not number))
        console.print()
    if table.note:
        console.print(Text(table.note), soft_wrap=True)


def _width(table: Table, column: int) -> _Width:
    texts = [row[column].text for row in (*table.rows, *table.summary)]
    title = max((cell_len(word) for word in table.columns[column].split()), default=0)
    cells = max(map(cell_len, texts), default=0)
    widest = max(cells, cell_len(table.columns[column]))
    if table.is_number[column]:
        word = max((cell_len(word) for text in texts for word in text.split()), default=0)
        return _Width(max(word, title), max(cells, title), widest)
    return _Width(min(widest, max(_LEAST_NAME, title)), min(widest, max(_NAME, title)), widest)


def _blocks(table: Table, widths: Sequence[_Width], width: int) -> Iterator[list[int]]:
    """Columns that fit beside each other in ``width``; every block begins with the names of the rows."""
    names = _names(table, widths, width)
    block = list(names)
    used = sum(widths[one].good for one in names) + _GAP * (len(names) - 1)
    column = len(names)
    begun = used
    while column < len(widths):
        has_interval = column + 1 < len(widths) and table.columns[column + 1] == INTERVAL
        together = [column, column + 1] if has_interval else [column]
        needed = sum(_GAP + widths[one].good for one in together)
        if used + needed > width and len(block) > len(names):
            yield block
            block, used = list(names), begun
        block += together
        used += needed
        column += len(together)
    yield block


def _names(table: Table, widths: Sequence[_Width], width: int) -> list[int]:
    """The first columns that tell the rows apart, where these are text and leave half of ``width``; else the first."""
    for n in range(1, len(widths)):
        if table.is_number[n - 1] or sum(_GAP + of.good for of in widths[:n]) > width / 2:
            break
        if len({tuple(cell.text for cell in row[:n]) for row in table.rows}) == len(table.rows):
            return list(range(n))
    return [0]


def _printed(table: Table, columns: Sequence[int], widths: Sequence[_Width], width: int, with_title: bool) -> RichTable:
    available = width - _GAP * (len(columns) - 1)
    fitted = [of.widest for of in widths]
    for enough in ([of.good for of in widths], [of.least for of in widths]):
        while sum(fitted) > available and fitted != enough:
            fitted[max((i for i in range(len(fitted)) if fitted[i] > enough[i]), key=fitted.__getitem__)] -= 1
    printed = RichTable(
        title=Text(table.title) if with_title and table.title else None,
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        show_header=any(table.columns),
        title_justify="left",
        title_style="bold",
        width=min(sum(fitted), max(available, len(columns))) + _GAP * (len(columns) - 1),
    )
    for column, fit in zip(columns, fitted, strict=True):
        justify = "right" if table.is_number[column] else "left"
        printed.add_column(Text(table.columns[column]), justify=justify, width=fit, overflow="fold")  # type: ignore[arg-type]
    for row in table.rows:
        printed.add_row(*(Text(row[column].text) for column in columns))
    if table.summary:
        printed.add_section()
    for row in table.summary:
        printed.add_row(*(Text(row[column].text, "bold") for column in columns))
    return printed
