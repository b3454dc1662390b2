"""What jsPsych and JATOS write as JSON into a table of trials: numbers as they are written, nested values by dots.

A file is a list of trials, a list of such lists (one per session), or JATOS's text with one of either per line.
"""

import json
from collections.abc import Iterator
from pathlib import Path

from centaurlab.data.tables.table import Row, TrialTable, unused
from centaurlab.runtime.errors import UserError

SESSION = "session"
"""The column that numbers the lists of a file, if the trials have none so called: JATOS writes one per session."""


class _Number(str):
    """A number as it is written: 0.10 stays 0.10."""


_DECODER = json.JSONDecoder(parse_float=_Number, parse_int=_Number)


def read_json_trials(path: Path) -> TrialTable:
    """The trials of a file in their order; ``UserError`` names the line that is none."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 (byte {error.start + 1}); save it as UTF-8") from error
    rows: list[tuple[dict[str, str | None], str, int]] = []
    columns: dict[str, None] = {}
    sessions = 0
    for value, place in _values(text, path):
        # A line that is one trial continues the session of the lines before it.
        lists = value if isinstance(value, list) and value and all(isinstance(one, list) for one in value) else [value]
        for trials in lists:
            sessions += isinstance(trials, list) or not sessions
            for number, trial in enumerate(trials if isinstance(trials, list) else [trials], start=1):
                here = f"{place}, trial {number}" if isinstance(trials, list) else place
                if not isinstance(trial, dict):
                    raise UserError(f"{here}: {str(trial)[:40]!r} is no trial; a trial is an object, {{…}}")
                cells = dict(_flat(trial))
                columns |= dict.fromkeys(cells)
                rows.append((cells, here, sessions))
    column = unused(SESSION, columns)
    numbered = [Row({column: str(session), **cells}, here) for cells, here, session in rows]
    return TrialTable((*columns, column), numbered, person=column)


def _values(text: str, path: Path) -> Iterator[tuple[object, str]]:
    """The JSON values of a file, which may follow each other, with the line where each begins."""
    position = 0
    while True:
        while position < len(text) and text[position] in " \t\r\n":
            position += 1
        if position == len(text):
            return
        place = f"{path}:{text.count(chr(10), 0, position) + 1}"
        try:
            value, position = _DECODER.raw_decode(text, position)
        except json.JSONDecodeError as error:
            raise UserError(f"{path}:{error.lineno}: invalid JSON ({error.msg}, column {error.colno})") from error
        except RecursionError as error:
            raise UserError(f"{place}: the JSON is nested too deeply") from error
        yield value, place


def _flat(trial: dict[str, object], before: str = "") -> Iterator[tuple[str, str | None]]:
    """Cells of a trial; of an object within it each entry is a column, ``response.Q0``; a list stays JSON."""
    for name, value in trial.items():
        column = before + name
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{column}.")
        elif isinstance(value, str) or value is None:
            yield column, value
        elif isinstance(value, bool):
            yield column, "true" if value else "false"
        else:
            yield column, _written(value)


def _written(value: object) -> str:
    """A list or object as JSON, its numbers as they were written."""
    if isinstance(value, _Number):
        return str(value)
    if isinstance(value, list):
        return f"[{', '.join(map(_written, value))}]"
    if isinstance(value, dict):
        entries = (f"{json.dumps(name, ensure_ascii=False)}: {_written(one)}" for name, one in value.items())
        return f"{{{', '.join(entries)}}}"
    return json.dumps(value, ensure_ascii=False)
