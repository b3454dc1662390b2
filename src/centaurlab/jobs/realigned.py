"""What is learned of n people without touching a model, into folders of scores: recalibrations and baselines."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from centaurlab.catalog.studies import Study
from centaurlab.cognitive.folder import SessionRow, session_row, write_row
from centaurlab.cognitive.models.all import models_of
from centaurlab.cognitive.prediction import scores_of
from centaurlab.cognitive.recalibration import AT, ScoredSession, recalibrate
from centaurlab.cognitive.rows import study_rows
from centaurlab.cognitive.session import Session, is_predictable, read_session
from centaurlab.data.source import DataArguments
from centaurlab.data.transcripts import SessionKey
from centaurlab.jobs.baselines import reading
from centaurlab.jobs.people import People, StudyPeople
from centaurlab.results.run import ScoreRun, check_whole, read_run
from centaurlab.results.table import NLL, RESPONSE, SESSION, at_temperature
from centaurlab.runs.folder import RunFolder
from centaurlab.runs.integrity import check_asked, read_sound_json
from centaurlab.runtime.own_file import own_digest
from centaurlab.stats.estimate import FloatArray

Chosen = Mapping[str, Sequence[SessionKey]]
"""By study the sessions that are learned from."""


@dataclass(frozen=True)
class LearnedRows:
    """Held-out people as predicted by what was learned of others; each a folder of ``scores``, made once."""

    people: People
    data: DataArguments
    own_studies: Mapping[str, Study]
    protocol: str
    scores: Path

    def baseline(self, chosen: Chosen, name: str) -> ScoreRun:
        """The adaptive cognitive baseline that learned from those chosen."""
        models = {study: [model.name for model in models_of(study, ())] for study in self.people.predicted}
        told = self._told(chosen) | {"models": models}
        if found := self._finished(name, told):
            return found
        rows: list[SessionRow] = []
        for study in self.people.studies():
            sessions = self._sessions(study, chosen[study.name])
            known = [key for key in chosen[study.name] if key in sessions]
            asked = models_of(study.name, ())
            predicted = study_rows(sessions, study.predicted, known, self.people.persons, self.people.seed, asked)
            rows += [
                session_row(sessions[key], predicted.predictions["adaptive"][key], reading(study, key, self._asked))
                for key in study.predicted
            ]
        return self._write(name, rows, told, ())

    def recalibrated(self, before: ScoreRun, of_people: ScoreRun, chosen: Chosen, name: str) -> ScoreRun:
        """A model's scores of held-out people, ``before``, recalibrated to its scores of those chosen."""
        told = self._told(chosen) | {"model": before.fingerprint, "reads": asdict(before.record.protocol)}
        if found := self._finished(name, told):
            return found
        nlls = _nlls(before) | _nlls(of_people)
        rows: list[SessionRow] = []
        notes = []
        for study in self.people.studies():
            sessions = self._sessions(study, chosen[study.name])
            scored = {key: _scored(session, nlls[key]) for key, session in sessions.items() if key in nlls}
            known = [scored[key] for key in chosen[study.name] if key in scored]
            asked = [key for key in study.predicted if key in scored]
            fitted, predictions = recalibrate(known, [scored[key] for key in asked])
            notes.append(
                f"{study.name}: temperature {fitted.temperature:.3g}, share of the marginal {fitted.weight:.2f}"
            )
            for key, prediction in zip(asked, predictions, strict=True):
                read = reading(study, key, self._asked)
                scores = scores_of(sessions[key], prediction, read.numbers)
                n = len(scores.response_R)
                n_failed = sum(not is_predictable(sessions[key].trials[number]) for number in read.numbers)
                n_cut = read.coverage.cut + len(read.numbers) - n - n_failed
                rows.append(SessionRow(key, scores, replace(read.coverage, scored=n, cut=n_cut, failed=n_failed)))
        return self._write(name, rows, told, notes, before.record.model.dtype)

    @property
    def _asked(self) -> Any:
        return replace(self.people.asked, protocol=self.protocol)

    def _sessions(self, study: StudyPeople, chosen: Sequence[SessionKey]) -> dict[SessionKey, Session]:
        persons, labels = self.people.persons, self.people.labels
        wanted = [key for key in dict.fromkeys((*study.predicted, *chosen)) if key in study.texts]
        return {key: read_session(study.texts[key], persons.unit(key), labels, self.own_studies) for key in wanted}

    def _told(self, chosen: Chosen) -> dict[str, Any]:
        """What the numbers depend on beside the texts that are predicted, and these."""
        return {
            "training": self.people.fingerprints(chosen),
            "sessions": {study: len(keys) for study, keys in chosen.items()},
            "predicted": dict(self.people.asked.fingerprints),
            "study_module": own_digest(self.data.study_module),
            "data_seed": self.people.seed,
            "protocol": self.protocol,
        }

    def _finished(self, name: str, told: Mapping[str, Any]) -> ScoreRun | None:
        folder = self.scores / name
        config = read_sound_json(folder / "config.json")
        if {key: config.get(key) for key in told} != told or not read_sound_json(folder / "run.json"):
            return None
        check_asked(folder)
        return read_run(folder)

    def _write(
        self,
        name: str,
        rows: Sequence[SessionRow],
        told: Mapping[str, Any],
        notes: Sequence[str],
        dtype: str = "float64",
    ) -> ScoreRun:
        (self.scores / name / "run.json").unlink(missing_ok=True)
        write_row(RunFolder(self.scores / name, "score"), name, rows, self._asked, told, notes, dtype)
        return read_run(self.scores / name)


def _nlls(run: ScoreRun) -> dict[SessionKey, tuple[FloatArray, FloatArray]]:
    """By session the numbers of the responses and their NLL at each of ``AT``, (R, K)."""
    check_whole([run])
    columns = [NLL if t == 1 else at_temperature(NLL, t) for t in AT]
    table = run.table(columns).to_pandas().astype(dict.fromkeys(SESSION, str))
    return {
        SessionKey(*map(str, key)): (of[RESPONSE].to_numpy(np.int64), of[columns].to_numpy(np.float64))
        for key, of in table.groupby(list(SESSION), sort=False)
    }


def _scored(session: Session, known: tuple[FloatArray, FloatArray]) -> ScoredSession:
    number_R, nll_RK = known
    every_RK = np.full((len(session.trials), nll_RK.shape[1]), np.nan)
    every_RK[number_R] = nll_RK
    return ScoredSession(session, every_RK)
