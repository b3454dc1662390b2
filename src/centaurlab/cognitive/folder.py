"""What a baseline says into a folder of scores like a language model's, which every comparison and report reads."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
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
    """The sessions that every row is about, in the order of the data, and what is known of them.

    ``fingerprints``, ``of_sessions``: by study, as a language model's run has them. ``readings``: by session.
    """

    name: str
    protocol: str
    fingerprints: Mapping[str, str]
    of_sessions: Mapping[str, int]
    sessions: Mapping[SessionKey, Session]
    readings: Mapping[SessionKey, Reading]
    notes: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()


def write_row(
    folder: RunFolder,
    name: str,
    predictions: Mapping[SessionKey, Prediction],
    asked: Asked,
    depends_on: Mapping[str, Any],
    notes: Sequence[str] = (),
) -> None:
    """Write ``scores.parquet``, ``config.json`` and, last, ``run.json`` of one row.

    ``name`` is the model's in every table; ``depends_on``: what the numbers depend on beside the sessions, of which
    the fingerprint is made. Responses that no baseline predicts are counted as failed.
    """
    totals: dict[str, _Totals] = {study: _Totals() for study in asked.of_sessions}

    def scored() -> Iterator[tuple[SessionKey, ResponseScores]]:
        for key, session in asked.sessions.items():
            scores = scores_of(session, predictions[key], asked.readings[key].numbers)
            totals[key.study].add(session, asked.readings[key], scores)
            yield key, scores

    with folder.lock():
        folder.write_json("config.json", depends_on)
        write_scores(folder.path, scored())
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
            model=ModelIdentity(name, hashlib.sha256(told.encode()).hexdigest(), dtype="float64"),
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
        write_record(folder, record)
        nlls = {study: about.nll for study, about in studies.items()} | {"mean": record.nll_mean}
        folder.log({f"nll/{study}": nll for study, nll in nlls.items() if nll is not None})


@dataclass
class _Totals:
    """Sums over the sessions of a study."""

    coverage: Coverage = field(default_factory=Coverage)
    nll_sum: float = 0.0
    n_correct: int = 0
    n_choices: int = 0

    def add(self, session: Session, reading: Reading, scores: ResponseScores) -> None:
        n_scored = len(scores.response_R)
        n_failed = sum(not is_predictable(session.trials[number]) for number in reading.numbers)
        assert n_scored + n_failed == len(reading.numbers), f"{session.key}: a prediction is not finite"
        about = reading.coverage
        self.coverage += Coverage(about.responses, n_scored, about.cut, about.empty, about.malformed, failed=n_failed)
        self.nll_sum += float(scores.nll_R.sum(dtype="float64"))
        self.n_correct += int((scores.greedy_correct_R == 1).sum())
        self.n_choices += int((scores.greedy_correct_R >= 0).sum())

    @property
    def nll(self) -> float | None:
        return self.nll_sum / self.coverage.scored if self.coverage.scored else None

    @property
    def accuracy(self) -> float | None:
        return self.n_correct / self.n_choices if self.n_choices else None
