"""Two folders of scores into the same responses scored twice.

Both models are compared on complete cases: a response counts when both folders hold it, under the same study,
experiment, participant and number. Folders of different data or protocols are refused; what does not join (most
often cut by the shorter of two context windows) is counted.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from centaurlab.data.transcripts import SessionKey
from centaurlab.runtime.errors import UserError

_KEY = ("study", "experiment", "participant")

Sessions = dict[SessionKey, int]
"""Numbers of sessions, in order of first appearance."""


@dataclass(frozen=True)
class StudyScores:
    """One study's responses as scored by two models, R of them, in nats.

    ``participant_R`` is a number for each (study, experiment, participant), the same in whatever two folders.
    ``unmatched_base`` and ``unmatched_post`` count the responses that only one folder holds.
    """

    study: str
    participant_R: npt.NDArray[np.int64]
    nll_base_R: npt.NDArray[np.float32]
    nll_post_R: npt.NDArray[np.float32]
    unmatched_base: int = 0
    unmatched_post: int = 0


@dataclass(frozen=True)
class _Scores:
    """A folder's responses, sorted: ``key_R`` is session number times 2**32 plus response number."""

    key_R: npt.NDArray[np.int64]
    nll_R: npt.NDArray[np.float32]


def join_scores(base: Path, post: Path) -> list[StudyScores]:
    """The responses that are in both folders, by study in alphabetical order, without regard to ``run.json``."""
    sessions: Sessions = {}
    first, second = _read_scores(base, sessions), _read_scores(post, sessions)
    in_first, in_second = _matching(first.key_R, second.key_R)
    if not len(in_first):
        raise UserError(f"{base} and {post} have no response in common; score the same data with both models")
    session_R = first.key_R[in_first] >> 32
    names = sorted({key.study for key in sessions})
    numbers = {name: number for number, name in enumerate(names)}
    study_of = np.array([numbers[key.study] for key in sessions])
    participant_of = np.array([_participant_number(key) for key in sessions])
    unmatched = [
        np.bincount(study_of[np.delete(scores.key_R, matched) >> 32], minlength=len(names))
        for scores, matched in ((first, in_first), (second, in_second))
    ]
    study_R = study_of[session_R]
    order = np.argsort(study_R, kind="stable")
    bounds = np.searchsorted(study_R, np.arange(len(names) + 1), sorter=order)
    return [
        StudyScores(
            study=name,
            participant_R=participant_of[session_R[rows]],
            nll_base_R=first.nll_R[in_first[rows]],
            nll_post_R=second.nll_R[in_second[rows]],
            unmatched_base=int(unmatched[0][number]),
            unmatched_post=int(unmatched[1][number]),
        )
        for number, name in enumerate(names)
        for rows in [order[bounds[number] : bounds[number + 1]]]
    ]


def _read_scores(folder: Path, sessions: Sessions) -> _Scores:
    """A folder's NLLs, read in pieces; sessions not yet in ``sessions`` are numbered there."""
    path = folder / "scores.parquet"
    keys, nlls = [], []
    try:
        with pq.ParquetFile(path, read_dictionary=list(_KEY)) as file:
            for batch in file.iter_batches(1 << 20, columns=[*_KEY, "response", "nll"]):
                session_R = _number_sessions(batch, sessions)
                response_R = batch.column("response").to_numpy().astype(np.int64)
                nll_R = batch.column("nll").to_numpy(zero_copy_only=False).astype(np.float32, copy=False)
                _check_finite(folder, nll_R, session_R, response_R, sessions)
                keys.append((session_R << 32) + response_R)
                nlls.append(nll_R)
    except (pa.ArrowException, KeyError, OSError) as error:
        raise UserError(f"{path} is damaged ({error}); delete it and give the eval/score.py command again") from error
    key_R, nll_R = np.concatenate([np.empty(0, np.int64), *keys]), np.concatenate([np.empty(0, np.float32), *nlls])
    steps = np.diff(key_R)
    if (steps <= 0).any():
        order = np.argsort(key_R, kind="stable")
        key_R, nll_R = key_R[order], nll_R[order]
        steps = np.diff(key_R)
    if not steps.all():
        where = int(key_R[np.argmin(steps)])
        raise UserError(
            f"{path} holds response {where & 0xFFFFFFFF} of {list(sessions)[where >> 32]} more than once; "
            "delete it and give the eval/score.py command again"
        )
    return _Scores(key_R, nll_R)


def _matching(
    first_R: npt.NDArray[np.int64], second_R: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Positions of what two sorted lists of distinct keys have in common; mostly they are the same list."""
    if np.array_equal(first_R, second_R):
        return np.arange(len(first_R)), np.arange(len(first_R))
    _, in_first, in_second = np.intersect1d(first_R, second_R, assume_unique=True, return_indices=True)
    return in_first, in_second


def _participant_number(key: SessionKey) -> int:
    """64 bits of a digest: two participants of a study share them once in 10 billion studies of 100,000."""
    name = json.dumps([key.study, key.experiment, key.participant])
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], signed=True)


def _number_sessions(batch: pa.RecordBatch, sessions: Sessions) -> npt.NDArray[np.int64]:
    columns = [batch.column(name) for name in _KEY]
    code_R = np.zeros(len(batch), np.int64)
    for column in columns:
        code_R = code_R * len(column.dictionary) + column.indices.to_numpy()
    _, rows, inverse_R = np.unique(code_R, return_index=True, return_inverse=True)
    order = np.argsort(rows)
    names = [column.dictionary.take(column.indices.take(pa.array(rows[order]))).to_pylist() for column in columns]
    number = np.empty(len(rows), np.int64)
    number[order] = [sessions.setdefault(SessionKey(*key), len(sessions)) for key in zip(*names, strict=True)]
    return number[inverse_R]


def _check_finite(
    folder: Path,
    nll_R: npt.NDArray[np.float32],
    session_R: npt.NDArray[np.int64],
    response_R: npt.NDArray[np.int64],
    sessions: Sessions,
) -> None:
    is_bad_R = ~np.isfinite(nll_R)
    if is_bad_R.any():
        row = int(np.argmax(is_bad_R))
        raise UserError(
            f"{folder}: the NLL of response {response_R[row]} of {list(sessions)[session_R[row]]} is {nll_R[row]}; "
            "score again, with --dtype float32 where the model overflows"
        )
