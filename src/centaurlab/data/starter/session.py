"""What a starter session is, and the one source of chance in it: hashes of study, participant and item.

No random number generator is involved, so that letters and orders cannot change with a library's version.
"""

import hashlib
import json
import math
import string
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby

import pandas as pd

Row = dict[str, object]


@dataclass(frozen=True)
class Session:
    """One person's transcript; ``metadata`` (age, gender, ...) never enters the text."""

    participant: str
    text: str
    metadata: Mapping[str, object] = field(default_factory=dict)


def shuffled(items: Sequence[str], *seed: str) -> list[str]:
    """``items`` in an order that only they and ``seed`` (study, participant, purpose) determine."""
    return sorted(items, key=lambda item: hashlib.sha256(json.dumps([*seed, item]).encode("ascii")).digest())


def assign_letters(options: Sequence[str], study: str, participant: str) -> dict[str, str]:
    """A capital letter for each option, drawn per participant; the result is ordered by chance as well."""
    letters = shuffled(string.ascii_uppercase, study, participant, "letters")
    return dict(zip(shuffled(options, study, participant, "options"), letters, strict=False))


def known(**metadata: object) -> dict[str, object]:
    """The metadata that are not missing, whole numbers as integers."""
    return {name: _plain(value) for name, value in metadata.items() if not _is_missing(value)}


def rows(frame: pd.DataFrame) -> list[Row]:
    """The rows of a data frame as dictionaries of plain Python values."""
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]


def rows_by(frame: pd.DataFrame, column: str) -> Iterator[tuple[str, list[Row]]]:
    """The rows of each participant (the values of ``column``, sorted), in the order of the data."""
    for identity, group in groupby(rows(frame.sort_values(column, kind="stable")), key=lambda row: row[column]):
        yield str(identity), list(group)


def _is_missing(value: object) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _plain(value: object) -> object:
    return int(value) if isinstance(value, float) and value.is_integer() else value
