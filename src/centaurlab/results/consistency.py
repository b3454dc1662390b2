"""A table of scores held against itself and against its run's record, where no digest proves that it is the run's.

Older versions wrote no digests. What a flipped bit makes of their tables still shows: as a study whose mean or number
of responses is not the one recorded, as a probability above one, as options together less likely than the one chosen,
as NLLs that no change of temperature gives, or as a session that comes twice.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

# R: rows of a batch, K: temperatures, 1 among them.
Floats = npt.NDArray[np.float64]

_ROUNDING = 1e-3
"""How far float32 logarithms may lie beyond what they can be: in nats, and relative to what they are."""

_OF_MEAN = 1e-11
"""How far a mean in double precision depends on the order of its terms, relative to itself."""


class ContradictionError(ValueError):
    """A table holds what cannot be, or what its run's record denies."""


@dataclass(frozen=True)
class Meaning:
    """What the columns of a table are called; ``nll_at``: NLLs at other temperatures."""

    session: Sequence[str]
    response: str
    nll: str
    n_tokens: str
    correct: str
    entropy: str
    option_nll: str
    nll_at: Mapping[float, str]

    def names(self) -> Iterator[str]:
        """All of them."""
        yield from (*self.session, self.response, self.nll, self.n_tokens, self.correct, self.entropy)
        yield from (self.option_nll, *self.nll_at.values())


class Consistency:
    """Batches of a table are added in their order; what they say in sum is compared with ``run.json`` at the end.

    Columns that a table lacks are not looked at. ``record`` is the content of ``run.json``.
    """

    def __init__(self, meaning: Meaning, record: Mapping[str, Any]) -> None:
        self._meaning = meaning
        self._studies = _parts(record.get("data"), "studies")
        self._coverage = _parts(record, "coverage")
        self._sums: dict[str, Floats] = defaultdict(lambda: np.zeros(4))
        self._ended: set[tuple[str, ...]] = set()
        self._last: tuple[tuple[str, ...], int] | None = None

    def add(self, batch: pa.RecordBatch) -> None:
        """Count a batch in; ``ContradictionError`` where it holds what cannot be."""
        names, meaning = set(batch.schema.names), self._meaning
        nll_R = _floats(batch, meaning.nll)
        bounds = [(meaning.nll, 0.0), (meaning.n_tokens, 1.0), (meaning.entropy, 0.0)]
        for name, least in bounds:
            if name in names and (_floats(batch, name) < least - _ROUNDING).any():
                raise ContradictionError(f"its column {name} holds a number below {least:g}")
        above_R = nll_R * (1 + _ROUNDING) + _ROUNDING
        if meaning.option_nll in names and (_floats(batch, meaning.option_nll) > above_R).any():
            raise ContradictionError("it holds options that together are less likely than the one that was chosen")
        if meaning.nll_at and names.issuperset(meaning.nll_at.values()):
            self._check_temperatures(batch, nll_R)
        if len(batch):
            self._check_order(batch)
        is_single_R, is_correct_R = np.zeros((2, len(batch)))
        if meaning.correct in names:
            correct_R = _floats(batch, meaning.correct)
            is_single_R, is_correct_R = np.isfinite(correct_R), correct_R == 1
        column = batch.column(meaning.session[0])
        code_R = column.indices.to_numpy()
        for code, study in enumerate(column.dictionary.to_pylist()):
            here_R = code_R == code
            sums = [here_R.sum(), nll_R[here_R].sum(), is_single_R[here_R].sum(), is_correct_R[here_R].sum()]
            if here_R.any():
                self._sums[study] += sums

    def check(self) -> None:
        """Compare with the record; ``ContradictionError`` where that says something else."""
        if unknown := sorted(self._sums.keys() - self._studies.keys()):
            raise ContradictionError(f"it holds responses of {unknown[0]!r}, and run.json knows no such study")
        for study, about in self._studies.items():
            n, nll_sum, n_single, n_correct = self._sums[study]
            recorded = self._coverage.get(study, {}).get("scored")
            if recorded is not None and recorded != n:
                raise ContradictionError(f"it holds {n:.0f} responses of {study}, of which run.json says {recorded}")
            for what, total, count in (("nll", nll_sum, n), ("accuracy", n_correct, n_single)):
                recorded = about.get(what)
                if recorded is not None and count and not _is_mean(total / count, recorded):
                    raise ContradictionError(
                        f"the mean of its column {what} in {study} is {total / count:.9g}, and run.json says "
                        f"{recorded:.9g}"
                    )

    def _check_temperatures(self, batch: pa.RecordBatch, nll_R: Floats) -> None:
        """A log-partition function is convex in the inverse of the temperature, and so is the NLL of a response."""
        by_inverse = {1.0: nll_R} | {1 / t: _floats(batch, name) for t, name in self._meaning.nll_at.items()}
        inverses = sorted(by_inverse)
        for low, at, high in zip(inverses, inverses[1:], inverses[2:], strict=False):
            weight = (high - at) / (high - low)
            chord_R = weight * by_inverse[low] + (1 - weight) * by_inverse[high]
            if (by_inverse[at] > chord_R * (1 + _ROUNDING) + _ROUNDING).any():
                raise ContradictionError("it holds NLLs that no change of temperature gives")

    def _check_order(self, batch: pa.RecordBatch) -> None:
        """Responses stand session by session, by their number."""
        columns = [batch.column(name) for name in self._meaning.session]
        code_R = np.zeros(len(batch), np.int64)
        for column in columns:
            code_R = code_R * (len(column.dictionary) + 1) + column.indices.to_numpy()
        response_R = batch.column(self._meaning.response).to_numpy()
        starts = [0, *(np.flatnonzero(np.diff(code_R)) + 1).tolist()]
        for first, end in zip(starts, [*starts[1:], len(batch)], strict=True):
            key = tuple(str(column[first].as_py()) for column in columns)
            numbers = response_R[first:end]
            if self._last and self._last[0] == key:
                numbers = np.concatenate([[self._last[1]], numbers])
            elif key in self._ended:
                raise ContradictionError(f"the session {' / '.join(key)} comes twice")
            if (np.diff(numbers) <= 0).any() or numbers[0] < 0:
                raise ContradictionError(f"the responses of {' / '.join(key)} are not numbered one after another")
            self._ended.add(key)
            self._last = key, int(numbers[-1])

    @property
    def knows_means(self) -> bool:
        """Whether the record says what the mean NLL of a study is."""
        return any(about.get("nll") is not None for about in self._studies.values())


def _parts(record: object, name: str) -> dict[str, Mapping[str, Any]]:
    """What a record says of each study under ``name``."""
    found = record.get(name) if isinstance(record, Mapping) else None
    parts = found.items() if isinstance(found, Mapping) else ()
    return {study: about for study, about in parts if isinstance(about, Mapping)}


def _floats(batch: pa.RecordBatch, name: str) -> Floats:
    """(R,) a column in double precision; NaN for null."""
    column = batch.column(name)
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.int8())
    return np.asarray(column.cast(pa.float64()).fill_null(np.nan).to_numpy(zero_copy_only=False))


def _is_mean(found: float, recorded: object) -> bool:
    return isinstance(recorded, int | float) and abs(found - recorded) <= _OF_MEAN * abs(recorded)
