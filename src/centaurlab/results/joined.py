"""Two tables of scores into the same responses scored twice.

Both models are compared on complete cases: a response counts when both tables hold it, under the same study,
experiment, participant and number. What does not join (most often cut by the shorter of two context windows) is
counted.
"""

import hashlib
import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from centaurlab.data.transcripts import SessionKey
from centaurlab.results.table import ITEM, N_OPTIONS, N_TOKENS, NLL, PERSON, RESPONSE, SESSION, read_batches
from centaurlab.runs.integrity import RECORD, read_json
from centaurlab.runtime.errors import UserError
from centaurlab.runtime.terminal import say

_KINDS = (N_TOKENS, N_OPTIONS, ITEM)
_OF_OTHERS = 1 << 62
"""Columns that tables of other programs may lack: answers then count as single tokens without options."""

_DOUBTED = 20
"""Fewer responses are not doubted, nor are NLLs of guessing, which are the same in a session: logs of whole numbers."""

_NONE = 0xFFFFFFFF
"""Number of no response, above that of any."""


@dataclass(frozen=True)
class _Sessions:
    """Numbers of sessions, in order of first appearance, and the people of those who have several."""

    number: dict[SessionKey, int] = field(default_factory=dict)
    person: dict[SessionKey, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ResponseDetails:
    """What tells R responses apart, and what kind of answers they are.

    ``session_R``: which of the ``sessions`` each is of; ``response_R``: its number there. ``is_long_R``: several tokens
    for one of the models at least. ``n_options_R``: how many options there were, 0 where that is not known.
    ``item_R``: a number for what was asked, the same for everybody; 0 where nothing recurs.
    """

    sessions: Sequence[SessionKey]
    session_R: npt.NDArray[np.int64]
    response_R: npt.NDArray[np.int64]
    is_long_R: npt.NDArray[np.bool_]
    n_options_R: npt.NDArray[np.int64]
    item_R: npt.NDArray[np.int64]

    def chosen(self, rows: npt.NDArray[np.intp]) -> "ResponseDetails":
        """Those of some of the responses."""
        numbers = (self.session_R[rows], self.response_R[rows])
        kinds = (self.n_options_R[rows], self.item_R[rows])
        return ResponseDetails(self.sessions, *numbers, self.is_long_R[rows], *kinds)


@dataclass(frozen=True)
class StudyScores:
    """One study's responses as scored by two models, R of them, in nats.

    ``participant_R`` is a number for each person, the same in whatever two folders.
    ``unmatched_base`` and ``unmatched_post`` count the responses that only one folder holds, and ``first_unmatched`` is
    the lowest number that one of these has in a session that both hold in part; None where there are none.
    """

    study: str
    participant_R: npt.NDArray[np.int64]
    nll_base_R: npt.NDArray[np.float32]
    nll_post_R: npt.NDArray[np.float32]
    unmatched_base: int = 0
    unmatched_post: int = 0
    details: ResponseDetails | None = None
    first_unmatched: int | None = None

    def responses(self) -> set[tuple[SessionKey, int]]:
        """Session and number of each response."""
        if self.details is None:
            return set()
        session_R, response_R = self.details.session_R.tolist(), self.details.response_R.tolist()
        return {(self.details.sessions[s], number) for s, number in zip(session_R, response_R, strict=True)}

    def chosen(self, rows: npt.NDArray[np.intp], name: str) -> "StudyScores":
        """Some of the responses, under another name; what is unmatched is not counted again."""
        details = self.details.chosen(rows) if self.details else None
        nlls = (self.nll_base_R[rows], self.nll_post_R[rows])
        return StudyScores(name, self.participant_R[rows], *nlls, details=details)


@dataclass(frozen=True)
class _Responses:
    """A table's responses, sorted: ``key_R`` is session number times 2**32 plus response number."""

    key_R: npt.NDArray[np.int64]
    nll_R: npt.NDArray[np.float32]
    n_tokens_R: npt.NDArray[np.int64]
    n_options_R: npt.NDArray[np.int64]
    item_R: npt.NDArray[np.int64]


def join_scores(base: Path, post: Path) -> list[StudyScores]:
    """Join the tables of two runs' folders, without regard to their ``run.json`` (``check_same`` looks at these).

    Parameters
    ----------
    base, post
        Folders with a ``scores.parquet`` each, which are read piece by piece.

    Returns
    -------
    list of StudyScores
        The responses that are in both, by study in alphabetical order; a study that does not join at all is there
        with no response, and what it lacks is counted.

    Raises
    ------
    UserError
        Where a table is damaged, holds a response twice or an NLL that is no number, and where the two have no response
        in common.
    """
    first, second = (read_batches(folder, [NLL], _KINDS) for folder in (base, post))
    of_others = [str(folder) for folder in (base, post) if "centaurlab" not in read_json(folder / RECORD)]
    return _join(first, second, (str(base), str(post)), of_others)


def join_tables(base: pa.Table, post: pa.Table, names: tuple[str, str] = ("base", "post")) -> list[StudyScores]:
    """Join two tables as ``read_scores`` gives them; ``names`` stand for them in errors.

    Everything else is as in ``join_scores``.
    """
    columns = [*SESSION, RESPONSE, NLL]
    first, second = (
        table.select([*columns, *(name for name in (*_KINDS, PERSON) if name in table.column_names)]).to_batches()
        for table in (base, post)
    )
    return _join(first, second, names, names)


def _join(
    base: Iterable[pa.RecordBatch], post: Iterable[pa.RecordBatch], names: tuple[str, str], of_others: Collection[str]
) -> list[StudyScores]:
    """``of_others``: the names of tables that another program may have written."""
    sessions = _Sessions()
    first, second = _sorted(base, sessions, names[0]), _sorted(post, sessions, names[1])
    _check_numbering(first.key_R, second.key_R, names)
    for scores, name in zip((first, second), names, strict=True):
        if name in of_others:
            _doubt(scores, name)
    in_first, in_second = _matching(first.key_R, second.key_R)
    if not len(in_first):
        raise UserError(f"{names[0]} and {names[1]} have no response in common; score the same data with both models")
    session_R = first.key_R[in_first] >> 32
    studies = sorted({key.study for key in sessions.number})
    numbers = {study: number for number, study in enumerate(studies)}
    study_of = np.array([numbers[key.study] for key in sessions.number])
    participant_of = np.array([_participant_number(key, sessions.person.get(key)) for key in sessions.number])
    alone = [np.delete(scores.key_R, matched) for scores, matched in ((first, in_first), (second, in_second))]
    unmatched = [np.bincount(study_of[key_R >> 32], minlength=len(studies)) for key_R in alone]
    first_unmatched = np.full(len(studies), _NONE)
    for key_R in alone:
        cut_R = key_R[np.isin(key_R >> 32, session_R)]
        np.minimum.at(first_unmatched, study_of[cut_R >> 32], cut_R & _NONE)
    is_long_R = (first.n_tokens_R[in_first] > 1) | (second.n_tokens_R[in_second] > 1)
    response_R = first.key_R[in_first] & _NONE
    n_options_R = np.maximum(first.n_options_R[in_first], second.n_options_R[in_second])
    item_R = np.maximum(first.item_R[in_first], second.item_R[in_second])
    details = ResponseDetails(list(sessions.number), session_R, response_R, is_long_R, n_options_R, item_R)
    study_R = study_of[session_R]
    order = np.argsort(study_R, kind="stable")
    bounds = np.searchsorted(study_R, np.arange(len(studies) + 1), sorter=order)
    return [
        StudyScores(
            study=study,
            participant_R=participant_of[session_R[rows]],
            nll_base_R=first.nll_R[in_first[rows]],
            nll_post_R=second.nll_R[in_second[rows]],
            unmatched_base=int(unmatched[0][number]),
            unmatched_post=int(unmatched[1][number]),
            details=details.chosen(rows),
            first_unmatched=int(first_unmatched[number]) if first_unmatched[number] < _NONE else None,
        )
        for number, study in enumerate(studies)
        for rows in [order[bounds[number] : bounds[number + 1]]]
    ]


class CommonResponses:
    """The responses that all of several folders of scores hold, in ``n`` rows; ``left_out`` are those some lack.

    Models side by side are compared on these: a shorter context window leaves other responses, not only fewer.
    """

    def __init__(self, folders: Iterable[Path]) -> None:
        self._sessions = _Sessions()
        tables = [np.unique(np.concatenate(self._keys(read_batches(folder, [])))) for folder in dict.fromkeys(folders)]
        self._common = self._seen = tables[0]
        for key_R in tables[1:]:
            self._common = np.intersect1d(self._common, key_R, assume_unique=True)
            self._seen = np.union1d(self._seen, key_R)
        if not len(self._common):
            raise UserError("no response was scored by every model; raise --max_length, or leave out who reads least")

    @property
    def n(self) -> int:
        """How many there are."""
        return len(self._common)

    @property
    def left_out(self) -> int:
        """How many some of the tables lack."""
        return len(self._seen) - len(self._common)

    @property
    def note(self) -> str:
        """What is left out, in words; or nothing."""
        over = f"models side by side are over the {self.n:,} responses that all of them scored"
        return f"{over}; {self.left_out:,} that some did not are left out" if self.left_out else ""

    def of_table(self, table: pa.Table) -> pa.Table:
        """The rows of one of the tables that all have."""
        if not self.left_out:
            return table
        return table.filter(pa.array(np.isin(np.concatenate(self._keys(table.to_batches())), self._common)))

    def of_study(self, scores: StudyScores) -> StudyScores:
        """The responses of a comparison that all have; what is unmatched is not counted again."""
        if not self.left_out or scores.details is None:
            return scores
        own = [self._sessions.number.get(session, -1) for session in scores.details.sessions]
        key_R = (np.array(own, np.int64)[scores.details.session_R] << 32) + scores.details.response_R
        return scores.chosen(np.flatnonzero(np.isin(key_R, self._common)), scores.study)

    def _keys(self, batches: Iterable[pa.RecordBatch]) -> list[npt.NDArray[np.int64]]:
        keys = [
            (_number_sessions(batch, self._sessions) << 32) + batch.column(RESPONSE).to_numpy() for batch in batches
        ]
        return [np.empty(0, np.int64), *keys]


def _sorted(batches: Iterable[pa.RecordBatch], sessions: _Sessions, name: str) -> _Responses:
    """The responses of a table's pieces; sessions not yet in ``sessions`` are numbered there."""
    keys, nlls = [np.empty(0, np.int64)], [np.empty(0, np.float32)]
    kinds: tuple[list[npt.NDArray[np.int64]], ...] = tuple([np.empty(0, np.int64)] for _ in _KINDS)
    for batch in batches:
        response_R = batch.column(RESPONSE).to_numpy().astype(np.int64)
        keys.append((_number_sessions(batch, sessions) << 32) + response_R)
        nlls.append(batch.column(NLL).to_numpy())
        for kind, found in zip(_KINDS, kinds, strict=True):
            found.append(_numbers(batch, kind))
    key_R, nll_R = np.concatenate(keys), np.concatenate(nlls)
    n_tokens_R, n_options_R, item_R = (np.concatenate(found) for found in kinds)
    steps = np.diff(key_R)
    if (steps <= 0).any():
        order = np.argsort(key_R, kind="stable")
        key_R, nll_R = key_R[order], nll_R[order]
        n_tokens_R, n_options_R, item_R = n_tokens_R[order], n_options_R[order], item_R[order]
        steps = np.diff(key_R)
    if not steps.all():
        where = int(key_R[np.argmin(steps)])
        raise UserError(
            f"{name} holds response {where & _NONE} of {list(sessions.number)[where >> 32]} more than once; "
            "delete its table and give its 'centaurlab score' command again"
        )
    return _Responses(key_R, nll_R, n_tokens_R, n_options_R, item_R)


def _numbers(batch: pa.RecordBatch, name: str) -> npt.NDArray[np.int64]:
    """(R,) a column of whole numbers; 0 for null, and nothing else of items, and for a column that is not there."""
    if name not in batch.schema.names:
        return np.zeros(len(batch), np.int64)
    column = batch.column(name)
    number_R = np.asarray(column.fill_null(0).to_numpy(zero_copy_only=False), np.int64)
    if name == ITEM:  # another program may number items from 0, and below
        is_known_R = column.is_valid().to_numpy(zero_copy_only=False)
        number_R = np.where(is_known_R & (number_R <= 0), _OF_OTHERS - number_R, number_R)
    return number_R


def _matching(
    first_R: npt.NDArray[np.int64], second_R: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Positions of what two sorted lists of distinct keys have in common; mostly they are the same list."""
    if np.array_equal(first_R, second_R):
        return np.arange(len(first_R)), np.arange(len(first_R))
    _, in_first, in_second = np.intersect1d(first_R, second_R, assume_unique=True, return_indices=True)
    return in_first, in_second


def _check_numbering(first_R: npt.NDArray[np.int64], second_R: npt.NDArray[np.int64], names: tuple[str, str]) -> None:
    """Refuse tables of which one numbers the responses of every session so many higher than the other.

    They would be compared as they are, each response with its neighbour.
    """
    ends = []
    for key_R in (first_R, second_R):
        session_S, start_S, n_S = np.unique(key_R >> 32, return_index=True, return_counts=True)
        ends.append((session_S, np.stack([key_R[start_S], key_R[start_S + n_S - 1], n_S])))
    (one_S, one_3S), (other_S, other_3S) = ends
    _, in_one, in_other = np.intersect1d(one_S, other_S, assume_unique=True, return_indices=True)
    apart_3S = other_3S[:, in_other] - one_3S[:, in_one]
    shifts = set(apart_3S[:2].ravel().tolist())
    if len(in_one) and len(shifts) == 1 and shifts != {0} and not apart_3S[2].any():
        (shift,) = shifts
        raise UserError(
            f"{names[1]} numbers the responses of every session {abs(shift)} {'higher' if shift > 0 else 'lower'} than "
            f"{names[0]}; number them alike, from 0"
        )


def _doubt(scores: _Responses, name: str) -> None:
    """Say what looks as if it were no NLL of each response: probabilities, or sums over a session."""
    nll_R, session_R = scores.nll_R.astype(np.float64), scores.key_R >> 32
    if len(nll_R) < _DOUBTED:
        return
    different_U, is_same_R = np.unique(nll_R), np.diff(session_R) == 0
    step_R = np.diff(nll_R)[is_same_R]
    seems = ""
    if nll_R.max() <= 1 and len(different_U) >= _DOUBTED / 2:
        seems = "none of its NLLs is above 1; if these are probabilities, write -log of each"
    elif 0.5 < is_same_R.mean() < 1 and (step_R > 0).all():
        seems = "its NLLs rise in every session from each response to the next; if these are sums, write each one's own"
    elif (
        0.5 < is_same_R.mean() < 1
        and not step_R.any()
        and (np.abs(np.exp(np.minimum(different_U, 30)) % 1 - 0.5) < 0.49).any()
    ):
        seems = (
            "its NLLs are the same throughout every session; if these are sums of a session, write each response's own"
        )
    if seems:
        say(f"note: of {name}, {seems}", is_error=True)


def _participant_number(key: SessionKey, person: str | None) -> int:
    """64 bits of a digest: two people of a study share them once in 10 billion studies of 100,000."""
    name = json.dumps([key.study, key.experiment, key.participant] if person is None else [key.study, person])
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], signed=True)


def _number_sessions(batch: pa.RecordBatch, sessions: _Sessions) -> npt.NDArray[np.int64]:
    """(R,) number of each row's session."""
    columns = [batch.column(name) for name in SESSION]
    code_R = np.zeros(len(batch), np.int64)
    for column in columns:
        code_R = code_R * len(column.dictionary) + column.indices.to_numpy()
    _, rows, inverse_R = np.unique(code_R, return_index=True, return_inverse=True)
    order = np.argsort(rows)
    names = [column.dictionary.take(column.indices.take(pa.array(rows[order]))).to_pylist() for column in columns]
    number = np.empty(len(rows), np.int64)
    keys = [SessionKey(*key) for key in zip(*names, strict=True)]
    number[order] = [sessions.number.setdefault(key, len(sessions.number)) for key in keys]
    if PERSON in batch.schema.names:
        people = batch.column(PERSON).take(pa.array(rows[order])).to_pylist()
        sessions.person.update((key, person) for key, person in zip(keys, people, strict=True) if person is not None)
    return number[inverse_R]
