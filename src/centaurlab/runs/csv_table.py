"""Tables as CSV files that a spreadsheet shows and never runs.

A name from data may begin with = + - or @, by which a spreadsheet knows a formula ("CSV injection", OWASP). Such a
cell is written with an apostrophe before it, which spreadsheets take for "this is text"; reading it here takes it away
again. Numbers stay numbers, and cells that are numbers as text stay as they are.
"""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from centaurlab.runs.integrity import check_file

if TYPE_CHECKING:
    import pandas as pd

_FORMULA = re.compile(r"'*[=+\-@\t\r\n＝＋－＠]")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(inf|nan)")


_NAMES = frozenset(
    {
        *("study", "experiment", "participant", "person", "item", "answer", "name", "model", "models", "base", "post"),
        *("post_trained", "group", "group_name", "family", "domain", "system", "row", "baseline", "condition"),
        *("method", "line", "effect", "axis", "training_study", "text", "example", "reads", "why", "contestant"),
    }
)
"""Columns whose cells are names, whatever these look like: NA, 007, 1e5."""


def write_csv(table: "pd.DataFrame", target: Path | TextIO) -> None:
    """Write ``table``, without its index, to a path or an open file; names in cells and columns are made inert."""
    _mapped(table, inert).to_csv(target, index=False)


def read_csv(path: Path) -> "pd.DataFrame":
    """The table that ``write_csv`` wrote, names as text and only empty cells as missing; pandas' errors are raised.

    ``UserError`` where it is not the one that the run beside it wrote.
    """
    import pandas as pd

    check_file(path)
    columns = set(pd.read_csv(path, nrows=0).columns)
    names = {name for name in columns & _NAMES if f"{name}_low" not in columns}  # a model's value has an interval
    table = pd.read_csv(path, dtype=dict.fromkeys(names, str), keep_default_na=False, na_values=[""])
    return _mapped(table, _original)


def inert(cell: object) -> object:
    """A text that a spreadsheet would take for a formula with an apostrophe before it; all else as it is.

    Examples
    --------
    >>> inert("=SUM(A1)"), inert("-0.5"), inert(-0.5), inert("plain")
    ("'=SUM(A1)", '-0.5', -0.5, 'plain')
    """
    if isinstance(cell, str) and _FORMULA.match(cell) and not _NUMBER.fullmatch(cell):
        return f"'{cell}"
    return cell


def _original(cell: object) -> object:
    return cell[1:] if isinstance(cell, str) and cell[:1] == "'" and _FORMULA.match(cell) else cell


def _mapped(table: "pd.DataFrame", function: Any) -> "pd.DataFrame":
    texts = [i for i, kind in enumerate(table.dtypes) if kind.kind not in "biufcmM"]
    changed = {i: table.iloc[:, i].map(function, na_action="ignore") for i in texts}
    if any(not changed[i].equals(table.iloc[:, i]) for i in texts):
        table = table.copy()
        for i, column in changed.items():
            table.isetitem(i, column.array)
    return table.rename(columns=function)
