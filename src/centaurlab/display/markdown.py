"""Tables and text as Markdown, such that it shows them as they are: for reports and model cards."""

import re

from centaurlab.display.tables import Table
from centaurlab.runtime.names import shown

_SPECIAL = re.compile(r"([\\`*\[\]|~])|(?<![^\W_])_|_(?![^\W_])")


def escaped(text: str) -> str:
    """``text`` on one line, such that Markdown and the HTML in it show it as it is."""
    text = shown(" ".join(text.split())).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _SPECIAL.sub(r"\\\g<0>", text)


def table_lines(table: Table) -> str:
    """The rows of ``table``, without its title and note."""
    rows = [[cell.text for cell in row] for row in (*table.rows, *table.summary)]
    lines = [[escaped(text) for text in line] for line in (table.columns, *rows)]
    lines.insert(1, ["---:" if is_number else "---" for is_number in table.is_number])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def fenced(text: str) -> str:
    """``text`` as code, whatever runs of backticks it holds."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}\n{text}\n{fence}"
