"""Which models are compared with which: the catalog's pairs, or a table of one's own."""

import csv
from pathlib import Path

from centaurlab.catalog import ModelPair, model_pairs, pairs_of
from centaurlab.errors import UserError

_REQUIRED = ("post_trained", "base")
_OPTIONAL = ("post_training", "family", "size_b")


def named_pairs(named: str) -> tuple[ModelPair, ...]:
    """The pairs of a family of the catalog, all of them (``all``), or those of a ``*.csv`` file.

    The file has the catalog's columns ``post_trained`` and ``base``, and may have ``post_training``, ``family``
    (by which averages are taken) and ``size_b``. Raises ``UserError`` for a family that there is not and for a
    file that cannot be read so, with the line.
    """
    if named.endswith(".csv"):
        return _read_pairs(Path(named).expanduser())
    return model_pairs() if named.lower() == "all" else pairs_of(named)


def single_pair(base: str, post_trained: str) -> ModelPair:
    """A pair of which nothing else is known."""
    return ModelPair(post_trained, base, post_training="", family="", size_b=float("nan"))


def _read_pairs(path: Path) -> tuple[ModelPair, ...]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, skipinitialspace=True)
            rows = [(reader.line_num, row) for row in reader]
            columns = list(reader.fieldnames or ())
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"cannot read pairs from {path}: {error}") from error
    for column in _REQUIRED:
        if column not in columns:
            raise UserError(f"{path} has no column {column!r}; give it the columns {' and '.join(_REQUIRED)}")
    for column in columns:
        if column not in (*_REQUIRED, *_OPTIONAL):
            raise UserError(f"{path} has a column {column!r}; there may be {', '.join((*_REQUIRED, *_OPTIONAL))}")
    pairs: dict[tuple[str, str], ModelPair] = {}
    for line, row in rows:
        pair = _pair(row, f"{path}:{line}")
        if (pair.base, pair.post_trained) in pairs:
            raise UserError(f"{path}:{line}: this pair is listed before; delete one of the lines")
        pairs[pair.base, pair.post_trained] = pair
    if not pairs:
        raise UserError(f"{path} lists no pair; write one per line below the names of the columns")
    return tuple(pairs.values())


def _pair(row: dict[str, str | None], place: str) -> ModelPair:
    if None in row:
        raise UserError(f"{place}: more values than columns; put a name that holds a comma between quotes")
    value = {column: (row.get(column) or "").strip() for column in (*_REQUIRED, *_OPTIONAL)}
    for column in _REQUIRED:
        if not value[column]:
            raise UserError(f"{place}: no {column}; name a model or a folder of scores")
    try:
        size_b = float(value["size_b"] or "nan")
    except ValueError as error:
        raise UserError(f"{place}: size_b is {value['size_b']!r}; give billions of parameters, such as 0.6") from error
    return ModelPair(value["post_trained"], value["base"], value["post_training"], value["family"], size_b)
