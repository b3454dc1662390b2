"""Files and folders as experiment software writes them into one table of trials, every cell as the text that is there.

A folder is one file per person, what JATOS exports, or a Psych-DS data set (``dataset_description.json``,
``data/*_data.csv``), whose file names say ``subject-01``.
"""

import csv
import io
import json
import re
import zipfile
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from centaurlab.data.files import MAX_RATIO, RATIO_APPLIES_FROM_BYTES
from centaurlab.data.tables.jspsych import read_json_trials
from centaurlab.data.tables.table import Row, TrialTable, stacked, unused
from centaurlab.runtime.errors import UserError, one_line

if TYPE_CHECKING:
    import pyarrow as pa

FILE = "file"
"""The column that says from which file of a folder a row is, if the files have none so called."""
PERSON = "person"
"""The column that says whose a row is, where files do not: of JATOS's folders and of lists in several files."""

_PSYCH_DS = "dataset_description.json"
_JATOS_RUN = re.compile(r"(.*/)?study[_-]result_[^/]*")
_KEYWORD = re.compile(r"([a-zA-Z]+)-([a-zA-Z0-9.]+)")
_BYTES = re.compile(r"binary\w*\b(?!:)")  # in what pyarrow calls a type; with a colon it is a field's name
_MAX_CELL = 1 << 26
_FIRST_ROWS = 100
_SELDOM = {".txt", ".jsonl"}
"""Endings of other files as well; they count where nothing else is there."""


def read_trials(path: Path) -> TrialTable:
    """The table of trials at ``path``, in the order of the files and their rows.

    Raises ``UserError`` where there is none, or one cannot be read, naming file and line.
    """
    if not path.exists():
        raise UserError(f"no such file or folder: {path}")
    if path.is_file():
        return _read_file(path)
    if (path / _PSYCH_DS).is_file():
        files = sorted((path / "data").rglob("*_data.csv"))
        if not files:
            raise UserError(f"{path} is a Psych-DS folder without data/…_data.csv")
        return stacked([_with_columns(_read_file(file), dict(_KEYWORD.findall(file.stem))) for file in files])
    files, notes = _files_of(path)
    tables = [_read_file(file) for file in files]
    for table in tables[1:]:
        if not set(table.columns) & set(tables[0].columns):
            raise UserError(f"{table.files[0]} and {tables[0].files[0]} have no column in common; convert them apart")
    whole = stacked(tables)
    names = [file.relative_to(path).with_suffix("").as_posix() for file in files]
    new = {unused(FILE, whole.columns): [name for name, table in zip(names, tables, strict=True) for _ in table.rows]}
    whose = [person for name, table in zip(names, tables, strict=True) for person in _people(name, table)]
    if whose not in new.values():
        new[unused(PERSON, whole.columns)] = whose
    rows = [
        Row(row.cells | dict(zip(new, values, strict=True)), row.place)
        for row, *values in zip(whole.rows, *new.values(), strict=True)
    ]
    return replace(whole, columns=(*whole.columns, *new), rows=rows, notes=(*notes, *whole.notes), person=list(new)[-1])


def _people(name: str, table: TrialTable) -> list[str]:
    """Whose the rows of a file are: of one JATOS run with all its components, of each of its lists, or of the file."""
    if of_run := _JATOS_RUN.search(name):
        return [of_run[0]] * len(table.rows)
    lists = [row.cells[table.person] for row in table.rows] if table.person else []
    return [f"{name}/{one}" for one in lists] if len(set(lists)) > 1 else [name] * len(table.rows)


def _files_of(folder: Path) -> tuple[list[Path], tuple[str, ...]]:
    """The tables in a folder, all of one kind, and what was passed over; JATOS's ``data.txt`` lie in folders of it."""
    names = [one for one in sorted(folder.iterdir()) if one.is_file() and not one.name.startswith(".")]
    kinds = sorted({one.suffix.lower() for one in names} & set(READERS) - _SELDOM)
    if len(kinds) > 1:
        raise UserError(
            f"{folder} holds tables of several kinds ({', '.join(kinds)}); put those of trials into a folder"
        )
    files = [one for one in names if one.suffix.lower() in (kinds or _SELDOM)] or sorted(
        folder.rglob("data.txt"), key=_by_number
    )
    if not files:
        raise UserError(f"{folder} holds no table of trials; they are read from {', '.join(READERS)}")
    passed = [one.name for one in names if one not in files]
    return files, (f"passed over in {folder}: {', '.join(passed)}",) if passed else ()


def _by_number(path: Path) -> list[tuple[int, str]]:
    """JATOS counts its folders: the tenth comes after the second."""
    return [(int(digits or 0), text) for text, digits in re.findall(r"(\D*)(\d*)", path.as_posix())]


def _read_file(path: Path) -> TrialTable:
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise UserError(f"{path}: unknown extension; tables of trials are read from {', '.join(READERS)}")
    try:
        table = reader(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from error
    if not table.rows:
        raise UserError(f"{path} holds no row")
    return replace(table, files=(path,))


def _with_columns(table: TrialTable, known: dict[str, str]) -> TrialTable:
    """The table with what the name of its file says, where it has no such column."""
    new = {name: value for name, value in known.items() if name not in table.columns}
    rows = [Row({**row.cells, **new}, row.place) for row in table.rows]
    return TrialTable((*table.columns, *new), rows, table.files, table.notes)


def _read_delimited(path: Path) -> TrialTable:
    text = _decoded(path).replace("\n\ufeff", "\n")  # where files are put one after the other
    csv.field_size_limit(_MAX_CELL)
    first = text.partition("\n")[0]
    usual = "\t" if path.suffix.lower() == ".tsv" else ","
    known = [one for one in (usual, ";", "\t") if one in first]
    delimiter = max(known, key=lambda one: _n_columns(text, one), default=usual)
    said = {";": "semicolons", "\t": "tabs", ",": "commas"}[delimiter]
    notes = () if delimiter == usual else (f"{path.name} is read with {said} between its columns",)
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    head: list[str] = []
    columns: list[str] = []
    rows: list[Row] = []
    start = 1
    try:
        for cells in lines:
            place, start = f"{path}:{start}", lines.line_num + 1
            if not cells:
                continue
            if not columns:
                head, columns = cells, _named(cells, place)
            elif len(cells) > 1 and cells == head:
                raise UserError(
                    f"{place}: the table's head stands here again, as where files were put one after the other; take "
                    "such lines out, or give the files in a folder"
                )
            elif len(cells) != len(columns):
                raise UserError(
                    f"{place}: {len(cells)} cells under {len(columns)} columns; quote cells that hold a {delimiter!r}"
                )
            else:
                rows.append(Row(dict(zip(columns, cells, strict=True)), place))
    except csv.Error as error:
        raise UserError(f"{path}:{lines.line_num}: {error}; save the table anew as CSV (UTF-8)") from error
    return TrialTable(tuple(columns), rows, notes=notes)


def _n_columns(text: str, delimiter: str) -> int:
    """How many columns head and first rows agree on; 0 where they do not."""
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        found = {len(cells) for cells in islice(lines, _FIRST_ROWS) if cells}
    except csv.Error:
        return 0
    return found.pop() if len(found) == 1 else 0


def _decoded(path: Path) -> str:
    content = path.read_bytes()
    is_utf16 = content[:2] in (b"\xff\xfe", b"\xfe\xff")  # as Qualtrics writes .tsv
    try:
        text = content.decode("utf-16" if is_utf16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UserError(f"{path}:{line}: not UTF-8; save the table as CSV (UTF-8)") from error
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise UserError(f"{path}:{line}: holds a zero byte; save the table anew as CSV (UTF-8)")
    return text


def _named(cells: list[str], place: str) -> list[str]:
    """The names of columns; one without a name, which R writes for row numbers, is ``rownames``."""
    names = [name.strip() for name in cells]
    if names[0] == "" and "rownames" not in names:
        names[0] = "rownames"
    for number, name in enumerate(names):
        if not name:
            raise UserError(f"{place}: column {number + 1} has no name; give it one")
        if name in names[:number]:
            raise UserError(f"{place}: two columns are called {name!r}; name them apart")
    return names


def _read_workbook(path: Path) -> TrialTable:
    try:
        import openpyxl  # an extra, which few need
    except ImportError:
        raise UserError(
            f'{path}: Excel files need the package openpyxl; run: pip install "centaurlab[excel]", or save it as CSV'
        ) from None
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
        if unpacked > max(RATIO_APPLIES_FROM_BYTES, MAX_RATIO * path.stat().st_size):
            raise UserError(f"{path}: refused: it unpacks to more than {MAX_RATIO} times its size")
        # Formulas as they stand, and what they came to when the file was last saved.
        books = [openpyxl.load_workbook(path, data_only=values) for values in (False, True)]
    except UserError:
        raise
    # openpyxl passes on whatever zipfile and its own reader of XML raise.
    except Exception as error:
        raise UserError(f"{path}: is not a readable Excel file ({one_line(error)}); save it as CSV") from error
    sheets = [sheet for sheet in books[0].worksheets if sheet.max_row > 1 or sheet["A1"].value is not None]
    if len(sheets) != 1:
        names = ", ".join(repr(sheet.title) for sheet in sheets)
        raise UserError(f"{path}: holds {len(sheets)} sheets with cells ({names}); save the one with trials as CSV")
    values = books[1][sheets[0].title]
    columns: list[str] = []
    rows: list[Row] = []
    for number, (cells, known) in enumerate(zip(sheets[0].iter_rows(), values.iter_rows(), strict=True), start=1):
        place = f"{path}: row {number}"
        for cell, value in zip(cells, known, strict=True):
            if cell.data_type == "f" and value.value is None:
                raise UserError(
                    f"{path}: cell {cell.coordinate} is a formula without a value; open and save it in "
                    "Excel, or save the sheet as CSV"
                )
            if value.data_type == "e":
                raise UserError(f"{path}: cell {cell.coordinate} is the error {value.value}")
        texts = [_text(cell.value) for cell in known]
        if not any(texts):
            continue
        if not columns:
            while texts and not texts[-1]:
                texts.pop()
            columns = _named([text or "" for text in texts], place)
        elif any(texts[len(columns) :]):
            raise UserError(f"{place}: a cell stands beyond the last named column")
        else:
            rows.append(Row(dict(zip(columns, texts, strict=False)), place))
    return TrialTable(tuple(columns), rows)


def _read_parquet(path: Path) -> TrialTable:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
        table = table.rename_columns(_named(table.column_names, str(path)))
        raw = [column.name for column in table.schema if _BYTES.search(str(column.type))]
        columns = {name: _as_written(table[name]).to_pylist() for name in table.column_names if name not in raw}
    except (pa.ArrowException, ValueError, OverflowError) as error:
        raise UserError(f"{path} is not a readable parquet file ({one_line(error)})") from error
    notes = (f"{path.name}: left out {', '.join(raw)}: bytes, and no text",) if raw else ()
    return replace(table_of(columns, str(path)), notes=notes)


def _as_written(column: "pa.ChunkedArray") -> "pa.ChunkedArray":
    """A column; 32-bit floats as the 64-bit ones that are written alike, where 0.1 was 0.10000000149011612."""
    import pyarrow as pa

    return column.cast(pa.string()).cast(pa.float64()) if pa.types.is_float32(column.type) else column


def table_of(columns: dict[str, list[object]], name: str) -> TrialTable:
    """Columns of values as a table of texts; a column of floats that are all whole numbers is one of whole numbers."""
    texts = {column: _texts(values) for column, values in columns.items()}
    cells = zip(*texts.values(), strict=True)
    rows = [Row(dict(zip(texts, row, strict=True)), f"{name}: row {i}") for i, row in enumerate(cells, start=1)]
    return TrialTable(tuple(texts), rows)


def _texts(values: list[object]) -> list[str | None]:
    known = [None if value is None or value != value else value for value in values]
    floats = [value for value in known if value is not None]
    if floats and all(isinstance(value, float) and value.is_integer() for value in floats):
        known = [None if value is None else int(value) for value in known]  # type: ignore[call-overload]
    return [_text(value) for value in known]


def _text(value: object) -> str | None:
    """A value as text: booleans ``true`` and ``false``, times in ISO 8601, lists and objects as JSON."""
    if value is None or type(value) is str:
        return value
    if type(value) is int:
        return str(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    isoformat: Callable[[], str] | None = getattr(value, "isoformat", None)
    if isoformat is not None:
        return isoformat()
    if isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False, default=_text)
    return repr(value) if isinstance(value, float) else str(value)


READERS: dict[str, Callable[[Path], TrialTable]] = {
    ".csv": _read_delimited,
    ".tsv": _read_delimited,
    ".xlsx": _read_workbook,
    ".parquet": _read_parquet,
    ".json": read_json_trials,
    ".jsonl": read_json_trials,
    ".txt": read_json_trials,
}
"""What is read, by the ending of a file's name; ``.txt`` is what JATOS writes."""
