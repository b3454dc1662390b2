"""A page of a report as a browser reads it: tables, text, addresses and elements."""

from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path


@dataclass
class Table:
    """Cells of a table as text with the key that a browser sorts by, below a row of heads."""

    head: list[str] = field(default_factory=list)
    rows: list[list[tuple[str, str | None]]] = field(default_factory=list)

    def column(self, number: int) -> dict[str, str]:
        """Text of the first column to sort key of another."""
        return {row[0][0]: row[number][1] or "" for row in self.rows}


class Page(HTMLParser):
    """A parsed page: its tables with sort keys, text, addresses, elements, and what would run at an event."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tables: list[Table] = []
        self.text: list[str] = []
        self.addresses: list[tuple[str, str]] = []
        self.elements: list[str] = []
        self.handlers: list[str] = []
        self._cell: list[str] | None = None
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)

    def table(self, *head: str) -> Table:
        """The one table whose heads begin with ``head``."""
        (found,) = [table for table in self.tables if tuple(table.head[: len(head)]) == head]
        return found

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Begin an element."""
        self.elements.append(tag)
        values = dict(attrs)
        self.handlers += [name for name, _ in attrs if name.startswith("on")]
        self.addresses += [(n, v or "") for n, v in attrs if n in ("src", "href", "srcset", "action", "data", "poster")]
        if tag == "table":
            self.tables.append(Table())
        elif tag == "tr":
            self.tables[-1].rows.append([])
        elif tag in ("td", "th"):
            self._cell, self._key = [], values.get("data-value")

    def handle_endtag(self, tag: str) -> None:
        """End an element."""
        if tag in ("td", "th") and self._cell is not None:
            text = "".join(self._cell).strip()
            if tag == "th":
                self.tables[-1].head.append(text)
            else:
                self.tables[-1].rows[-1].append((text, self._key))
            self._cell = None
        elif tag == "thead":
            self.tables[-1].rows.clear()

    def handle_data(self, data: str) -> None:
        """Take text, where it is shown."""
        if self.elements and self.elements[-1] not in ("style", "script"):
            self.text.append(data)
        if self._cell is not None:
            self._cell.append(data)
