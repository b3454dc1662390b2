"""The contract between scoring and statistics: the table with one row per response."""

import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from centaurlab.data.transcripts import SessionKey
from centaurlab.runtime.errors import UserError

# T: tokens of a session, R: its scored responses, N: their tokens, V: vocabulary, K: temperatures, O: options.
Ints = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]

TEMPERATURES = tuple(2 ** (step / 4) for step in range(-4, 9) if step)
"""Beside 1, from 0.5 to 4: the grid on which the NLL of each response is recorded."""

MAX_OPTIONS = 10
"""A session whose responses are single tokens, two to so many different ones, is a choice among these options."""


@dataclass(frozen=True)
class ResponseScores:
    """Scores of one session. NLLs and entropy in nats.

    ``nll_R`` sums over a response's tokens; ``nll_RK`` is the same at each of ``TEMPERATURES``;
    ``entropy_R`` is that of the next-token distribution at the response's first token;
    ``greedy_correct_R``: 1 or 0 whether the likeliest token was given, -1 for responses of several tokens.
    ``n_options_R``: size of the session's set of options (``MAX_OPTIONS``), 0 where it has none. ``option_nll_R`` and
    ``option_nll_RK``: negative log of the probability of all options together at temperature 1 and at each of
    ``TEMPERATURES``, NaN without options; never above the response's own NLL.
    """

    response_R: Ints
    n_tokens_R: Ints
    nll_R: Floats
    greedy_correct_R: npt.NDArray[np.int8]
    entropy_R: Floats
    nll_RK: Floats
    n_options_R: Ints
    option_nll_R: Floats
    option_nll_RK: Floats


_ROW_GROUP_ROWS, _ROW_GROUP_SESSIONS = 100_000, 10_000  # held in memory until they are written

SCORE_SCHEMA = pa.schema(
    [
        *((name, pa.dictionary(pa.int32(), pa.string())) for name in ("study", "experiment", "participant")),
        ("response", pa.int32()),
        ("n_tokens", pa.int32()),
        ("nll", pa.float32()),
        ("greedy_correct", pa.bool_()),
        ("entropy", pa.float32()),
        *((f"nll_t{t:.2f}", pa.float32()) for t in TEMPERATURES),
        ("n_options", pa.int32()),
        ("option_nll", pa.float32()),
        *((f"option_nll_t{t:.2f}", pa.float32()) for t in TEMPERATURES),
    ]
)
"""One row per response; NLLs and entropy in nats, NLLs summed over the response's tokens.

``n_options`` and -log of the probability of all options together are null where the session is no choice among a few
single tokens.
"""


def write_scores(path: Path, sessions: Iterable[tuple[SessionKey, ResponseScores]]) -> None:
    """Write ``scores.parquet`` atomically, in the order of ``sessions``; equal input gives equal bytes."""
    temporary = path.with_suffix(".tmp")
    with _disk_errors(path.parent):
        with pq.ParquetWriter(temporary, SCORE_SCHEMA) as writer:
            group: list[tuple[SessionKey, ResponseScores]] = []
            n_rows = 0
            for key, scores in sessions:
                group.append((key, scores))
                n_rows += len(scores.response_R)
                if n_rows >= _ROW_GROUP_ROWS or len(group) >= _ROW_GROUP_SESSIONS:
                    writer.write_batch(_record_batch(group))
                    group, n_rows = [], 0
            if group:
                writer.write_batch(_record_batch(group))
        _replace_durably(temporary, path)


def _replace_durably(temporary: Path, path: Path) -> None:
    """Rename a written file; after a power cut, ``path`` is the old file or the whole new one."""
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    temporary.replace(path)


def _record_batch(group: Sequence[tuple[SessionKey, ResponseScores]]) -> pa.RecordBatch:
    n_S = [len(scores.response_R) for _, scores in group]
    scores = ResponseScores(
        *(np.concatenate(column) for column in zip(*(vars(scores).values() for _, scores in group), strict=True))
    )
    no_options_R = scores.n_options_R == 0
    numbers = [
        pa.array(scores.response_R),
        pa.array(scores.n_tokens_R),
        pa.array(scores.nll_R),
        pa.array(scores.greedy_correct_R == 1, mask=scores.greedy_correct_R < 0),
        pa.array(scores.entropy_R),
        *(pa.array(column) for column in np.ascontiguousarray(scores.nll_RK.T)),
        pa.array(scores.n_options_R, mask=no_options_R),
        pa.array(scores.option_nll_R, mask=no_options_R),
        *(pa.array(column, mask=no_options_R) for column in np.ascontiguousarray(scores.option_nll_RK.T)),
    ]
    names = [_repeated(names_S, n_S) for names_S in zip(*(astuple(key) for key, _ in group), strict=True)]
    return pa.RecordBatch.from_arrays([*names, *numbers], schema=SCORE_SCHEMA)


def _repeated(names_S: Sequence[str], n_S: Sequence[int]) -> pa.DictionaryArray:
    """The name of each session, as often as it has responses."""
    codes = {name: code for code, name in enumerate(dict.fromkeys(names_S))}
    code_R = np.repeat(np.array([codes[name] for name in names_S], np.int32), n_S)
    return pa.DictionaryArray.from_arrays(pa.array(code_R), pa.array(list(codes)))


@contextmanager
def _disk_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, sqlite3.OperationalError) as error:
        raise UserError(
            f"cannot write to {folder}: {error}; free space or permissions, then give the same command again: "
            "what is scored is kept"
        ) from error
