"""Names of pairs, families and CSV files into pairs of a base and a post-trained model."""

import csv
import difflib
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from centaurlab.catalog.tables import _rows
from centaurlab.runtime.errors import UserError


@dataclass(frozen=True)
class ModelPair:
    """Hub ids of a post-trained model and its base; ``size_b``: billions of parameters of the base."""

    post_trained: str
    base: str
    post_training: str
    family: str
    size_b: float

    @property
    def generation(self) -> float:
        """2.5 for ``qwen2.5``; NaN for a family whose name does not end in a number."""
        number = re.search(r"\d+(\.\d+)?$", self.family)
        return float(number[0]) if number else float("nan")


@cache
def model_pairs() -> tuple[ModelPair, ...]:
    """The 65 pairs that the paper compares."""
    return tuple(
        ModelPair(row["post_trained"], row["base"], row["post_training"], row["family"], float(row["size_b"]))
        for row in _rows("model_pairs")
    )


def pairs_of(family: str) -> tuple[ModelPair, ...]:
    """The pairs of a family, such as ``qwen2.5``; ``UserError`` for one that the catalog does not have."""
    families = sorted({pair.family for pair in model_pairs()})
    if family.lower() not in families:
        nearest = difflib.get_close_matches(family.lower(), families, n=1)
        hint = f"did you mean {nearest[0]!r}?" if nearest else f"there are: {', '.join(families)}"
        raise UserError(f"the catalog has no family {family!r}; {hint}")
    return tuple(pair for pair in model_pairs() if pair.family == family.lower())


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
