"""A table of cells as HTML for a notebook, which brings its own style."""

from collections.abc import Sequence
from html import escape

from centaurlab.display.tables import Cell, Table


def table_html(table: Table) -> str:
    """Title, table and note; names are escaped, numbers aligned to the right, summary rows set in bold."""
    head = "".join(f"<th{_aligned(is_number)}>{escape(name)}</th>" for name, is_number in _columns(table))
    body = "".join(_row(row, table) for row in table.rows)
    foot = "".join(f'<tr style="font-weight: bold">{_cells(row, table)}</tr>' for row in table.summary)
    note = f"<p><small>{escape(table.note)}</small></p>" if table.note else ""
    return (
        f"<p>{escape(table.title)}</p><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody>"
        f"<tfoot>{foot}</tfoot></table>{note}"
    )


def _columns(table: Table) -> Sequence[tuple[str, bool]]:
    return list(zip(table.columns, table.is_number, strict=True))


def _row(row: Sequence[Cell], table: Table) -> str:
    return f"<tr>{_cells(row, table)}</tr>"


def _cells(row: Sequence[Cell], table: Table) -> str:
    cells = zip(row, table.is_number, strict=True)
    return "".join(f"<td{_aligned(is_number)}>{escape(cell.text)}</td>" for cell, is_number in cells)


def _aligned(is_number: bool) -> str:
    return f' style="text-align: {"right" if is_number else "left"}"'
