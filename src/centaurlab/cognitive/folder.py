"""What a baseline says into a folder of scores like a language model's, which every comparison and report reads."""

import hashlib
import json
import pickle
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from centaurlab.cognitive.prediction import Prediction, scores_of
from centaurlab.cognitive.session import Session, is_predictable
from centaurlab.data.transcripts import SessionKey, data_fingerprint
from centaurlab.results.record import (
    Coverage,
    ModelIdentity,
    ScoredData,
    ScoredProtocol,
    ScoredStudy,
    ScoreRecord,
)
from centaurlab.results.run import write_record
from centaurlab.results.table import ResponseScores, write_scores
from centaurlab.runs.folder import RunFolder
from centaurlab.runs.provenance import provenance


@dataclass(frozen=True)
class Reading:
    """Which responses of a session a protocol scores: their numbers, and what becomes of the others."""

    numbers: tuple[int, ...]
    coverage: Coverage


@dataclass(frozen=True)
class Asked:
    """What every row is about. ``fingerprints``, ``of_sessions``: by study, as a language model's run has them.

    ``person_of``: the person's name of a session that is not the person's only one in the study; None: all are.
    """

    name: str
    protocol: str
    fingerprints: Mapping[str, str]
    of_sessions: Mapping[str, int]
    person_of: Callable[[SessionKey], str | None] | None = None
    notes: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()


@dataclass(frozen=True)
class SessionRow:
    """What one row says of one session: the responses that it predicts, and what became of all of them."""

    key: SessionKey
    scores: ResponseScores
    coverage: Coverage


def session_row(session: Session, prediction: Prediction, reading: Reading) -> SessionRow:
    """A prediction as rows of a table; responses that no baseline predicts are counted as failed."""
    scores = scores_of(session, prediction, reading.numbers)
    n_scored, about = len(scores.response_R), reading.coverage
    n_failed = sum(not is_predictable(session.trials[number]) for number in reading.numbers)
    assert n_scored + n_failed == len(reading.numbers), f"{session.key}: a prediction is not finite"
    coverage = Coverage(about.responses, n_scored, about.cut, about.empty, about.malformed, failed=n_failed)
    return SessionRow(session.key, scores, coverage)


class Spool:
    """Rows of sessions on the disk, in the order in which they came, so that they need not be kept in memory."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 (closed by close)
        self._n = 0

    def close(self) -> None:
        """Give the disk back."""
        self._file.close()

    def add(self, row: SessionRow) -> None:
        """Keep one more."""
        pickle.dump(row, self._file, pickle.HIGHEST_PROTOCOL)
        self._n += 1

    def __iter__(self) -> Iterator[SessionRow]:
        self._file.seek(0)
        return (pickle.load(self._file) for _ in range(self._n))


def write_row(
    folder: RunFolder,
    name: str,
    rows: Iterable[SessionRow],
    asked: Asked,
    depends_on: Mapping[str, Any],
    notes: Sequence[str] = (),
    dtype: str = "float64",
) -> None:
    """Write ``scores.parquet``, ``config.json`` and, last, ``run.json`` of one row.

    ``name`` is the model's in every table; ``depends_on``: what the numbers depend on beside the sessions, of which
    the fingerprint is made. ``dtype``: of the language model that they come from, if one.
    """
    totals: dict[str, _Totals] = {study: _Totals() for study in asked.of_sessions}

    def scored() -> Iterator[tuple[SessionKey, ResponseScores]]:
        for row in rows:
            totals[row.key.study].add(row)
            yield row.key, row.scores

    with folder.lock():
        folder.write_json("config.json", depends_on)
        write_scores(folder.path, scored(), asked.person_of)
        studies = {
            study: ScoredStudy(
                fingerprint=asked.fingerprints[study],
                sessions=n_sessions,
                of_sessions=n_sessions,
                responses=totals[study].coverage.responses,
                nll=totals[study].nll,
                accuracy=totals[study].accuracy,
            )
            for study, n_sessions in asked.of_sessions.items()
        }
        told = json.dumps([name, depends_on], sort_keys=True, default=str)
        record = ScoreRecord(
            model=ModelIdentity(name, hashlib.sha256(told.encode()).hexdigest(), dtype=dtype),
            protocol=ScoredProtocol(asked.protocol),
            data=ScoredData(
                name=asked.name,
                fingerprint=data_fingerprint(asked.fingerprints),
                studies=studies,
                notes=asked.notes,
                skipped_sessions=asked.skipped,
            ),
            coverage={study: of_study.coverage for study, of_study in totals.items()},
            notes=tuple(notes),
            provenance=provenance(),
        )
        nlls = {study: about.nll for study, about in studies.items()} | {"mean": record.nll_mean}
        folder.log({f"nll/{study}": nll for study, nll in nlls.items() if nll is not None})
        write_record(folder, record)


@dataclass
class _Totals:
    """Sums over the sessions of a study."""

    coverage: Coverage = field(default_factory=Coverage)
    nll_sum: float = 0.0
    n_correct: int = 0
    n_choices: int = 0

    def add(self, row: SessionRow) -> None:
        self.coverage += row.coverage
        self.nll_sum += float(row.scores.nll_R.sum(dtype="float64"))
        self.n_correct += int((row.scores.greedy_correct_R == 1).sum())
        self.n_choices += int((row.scores.greedy_correct_R >= 0).sum())

    @property
    def nll(self) -> float | None:
        return self.nll_sum / self.coverage.scored if self.coverage.scored else None

    @property
    def accuracy(self) -> float | None:
        return self.n_correct / self.n_choices if self.n_choices else None
