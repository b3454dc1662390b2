"""A set of byte strings, each with a number, that lies in a temporary file: it may be larger than memory should be.

A data set of a million sessions has a million keys, and a driver that remembers them all grows with the data.
"""

import sqlite3
from collections.abc import Iterator

_CACHE_KIB = 4_096


class DiskIndex:
    """Items are added once; iterating gives them in the order of their bytes. The file goes with the object."""

    def __init__(self) -> None:
        self._database = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        for pragma in ("journal_mode = OFF", "synchronous = OFF", f"cache_size = -{_CACHE_KIB}"):
            self._database.execute(f"PRAGMA {pragma}")
        self._database.execute("CREATE TABLE items (item BLOB PRIMARY KEY, number INTEGER) WITHOUT ROWID")
        self._database.execute("BEGIN")

    def add(self, item: bytes, number: int = 0) -> bool:
        """Whether ``item`` is new; one that is there keeps its number."""
        added = self._database.execute("INSERT OR IGNORE INTO items VALUES (?, ?)", (item, number))
        return added.rowcount == 1

    def number(self, item: bytes) -> int | None:
        """The number that ``item`` was added with, None where it was not."""
        found = self._database.execute("SELECT number FROM items WHERE item = ?", (item,)).fetchone()
        return None if found is None else int(found[0])

    def __contains__(self, item: bytes) -> bool:
        return self.number(item) is not None

    def __iter__(self) -> Iterator[bytes]:
        for (item,) in self._database.execute("SELECT item FROM items ORDER BY item"):
            yield item

    def __del__(self) -> None:
        self._database.close()
