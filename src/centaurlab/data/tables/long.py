"""A table with one row per person, as survey software writes it, into one row per person and question.

Of Qualtrics' three rows of heads the second holds the questions; they are kept, and no answers are made of them.
"""

import fnmatch
from collections.abc import Sequence
from dataclasses import replace

from centaurlab.data.tables.table import Row, TrialTable, nearest
from centaurlab.runtime.errors import UserError

ITEM, QUESTION, ANSWER = "item", "question", "answer"
"""Of each new row: the old column's name, the question where Qualtrics says it, and the cell."""

_IMPORT_ID = '{"ImportId"'


def without_heads(table: TrialTable) -> tuple[TrialTable, dict[str, str]]:
    """A table of Qualtrics without its second and third head, and the question of each column; others as they are."""
    if len(table.rows) < 2 or not all((cell or "").startswith(_IMPORT_ID) for cell in table.rows[1].cells.values()):
        return table, {}
    questions = {column: cell for column, cell in table.rows[0].cells.items() if cell}
    note = "rows 2 and 3 are Qualtrics' heads, the questions and ids of its columns"
    return replace(table, rows=table.rows[2:], notes=(*table.notes, note)), questions


def into_long(table: TrialTable, patterns: Sequence[str], questions: dict[str, str]) -> TrialTable:
    """A row per person and column that one of ``patterns`` names, in the order of the patterns.

    ``patterns`` are names of columns, or end in or hold ``*``. Raises ``UserError`` where one names no column.
    """
    chosen: dict[str, None] = {}
    for pattern in patterns:
        found = [pattern] if pattern in table.columns else fnmatch.filter(table.columns, pattern)
        if not found:
            raise UserError(f"--long {pattern}: no such column; {nearest(pattern, table.columns)}")
        chosen |= dict.fromkeys(found)
    kept = [column for column in table.columns if column not in chosen]
    new = (ITEM, QUESTION, ANSWER)
    if taken := sorted(set(kept) & set(new)):
        raise UserError(f"--long makes a column {taken[0]!r}, and there is one already; rename it")
    rows = [
        Row(
            {name: row.cells.get(name) for name in kept}
            | {ITEM: column, QUESTION: questions.get(column), ANSWER: row.cells.get(column)},
            f"{row.place}, column {column}",
        )
        for row in table.rows
        for column in chosen
    ]
    return replace(table, columns=(*kept, *new), rows=rows)
