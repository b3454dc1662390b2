"""Simulated sessions into files: transcripts like people's, a row per answer, and what the run says of itself."""

import gzip
import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from centaurlab.analyses.scores import rules_in_words
from centaurlab.data.files import SIMULATED
from centaurlab.data.persons import Persons, is_outcome
from centaurlab.data.transcripts import SessionKey, data_fingerprint, study_fingerprint, text_digest, told
from centaurlab.runs.folder import RunFolder
from centaurlab.runs.provenance import peak_memory, provenance
from centaurlab.runtime.disk import disk_errors, replace_durably
from centaurlab.runtime.names import counted
from centaurlab.simulation.player import Simulated
from centaurlab.simulation.questions import OpenLoop

ANSWERS = "simulated.parquet"
COLUMNS = (
    *("study", "experiment", "participant", "replicate", "response"),
    *("answer", "p", "off_option_nats", "n_options", "is_complete"),
)


@dataclass(frozen=True)
class Outcome:
    """What became of a replicate of a person's session; ``failure``: why nothing did."""

    person: OpenLoop
    replicate: int
    simulated: Simulated | None
    failure: str | None

    @property
    def participant(self) -> str:
        """The name of the simulated participant."""
        return f"{self.person.transcript.participant}#r{self.replicate}"


def write_output(
    folder: RunFolder, data: str, persons: Persons, outcomes: Sequence[Outcome], about: Mapping[str, Any]
) -> None:
    """Write transcripts, table and, last, ``run.json``; ``about`` joins it. ``persons``: whose the sessions are."""
    done = [(outcome, outcome.simulated) for outcome in outcomes if outcome.simulated]
    _write_sessions(folder.path, done)
    rows = [
        (*_key(outcome), outcome.replicate, number, *vars(answer).values())
        for outcome, simulated in done
        for number, answer in enumerate(simulated.answers)
    ]
    table = pd.DataFrame(rows, columns=list(COLUMNS)).astype({"n_options": "Int32"})
    folder.write_table(ANSWERS, table)
    studies = _studies(outcomes, persons)
    fingerprints = _fingerprints(outcomes)
    of_studies = {study: {"fingerprint": fingerprint} for study, fingerprint in fingerprints.items()}
    seconds = about["speed"]["wall_seconds"]
    record = {
        "job": folder.job,
        "data": {"name": data, "fingerprint": data_fingerprint(fingerprints), "studies": of_studies},
        "studies": studies,
        "failed_sessions": [outcome.failure for outcome in outcomes if outcome.failure],
        "verdict": _verdict(studies),
    }
    said = {f"off_option_nats/{study}": known["off_option_nats"] for study, known in studies.items()}
    folder.log({"answers": len(table), "wall_seconds": seconds} | said)
    folder.finish(provenance() | record | dict(about) | {"memory": peak_memory()})


def _key(outcome: Outcome) -> tuple[str, str, str]:
    told = outcome.person.transcript
    return told.study, told.experiment, outcome.participant


def _write_sessions(folder: Path, done: Iterable[tuple[Outcome, Simulated]]) -> None:
    path = folder / SIMULATED
    temporary = path.with_name(f".{SIMULATED}.tmp")
    with disk_errors(folder):
        with temporary.open("wb") as file, gzip.GzipFile("", "wb", fileobj=file, mtime=0) as packed:
            for outcome, simulated in done:
                study, experiment, participant = _key(outcome)
                known = outcome.person.transcript.metadata
                kept = {name: value for name, value in known.items() if not is_outcome(name, value)}
                kept.pop("participant_id", None)
                session = {"study": study, "experiment": experiment, "participant": participant}
                line = kept | session | {"text": simulated.text}
                packed.write(json.dumps(line, default=str).encode() + b"\n")
        replace_durably(temporary, path)


def _studies(outcomes: Sequence[Outcome], persons: Persons) -> dict[str, dict[str, Any]]:
    """What was simulated of each study, and how."""
    by_study: dict[str, list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        by_study[outcome.person.transcript.study].append(outcome)
    found = {}
    for study, of_study in sorted(by_study.items()):
        own = {outcome.person.transcript.key: outcome.person for outcome in of_study}
        came = {outcome.person.transcript.key for outcome in of_study if outcome.simulated}
        done = [outcome.simulated for outcome in of_study if outcome.simulated]
        answers = [answer for simulated in done for answer in simulated.answers]
        chosen = [answer.off_option_nats for answer in answers if (answer.n_options or 0) > 1]
        found[study] = {
            "feedback": rules_in_words(Counter(one.fit for one in own.values())),
            "options": rules_in_words(Counter(one.options.rule for one in own.values())),
            "people": len(set(map(persons.unit, came))),
            "sessions": len(done),
            "failed": len(of_study) - len(done),
            "answers": len(answers),
            "cut": sum(simulated.n_cut for simulated in done),
            "incomplete": sum(not answer.is_complete for answer in answers),
            "off_option_nats": sum(chosen) / len(chosen) if chosen else math.nan,
            "sessions_with_other_tokens": sum(not simulated.same_tokens for simulated in done),
        }
    return found


def _fingerprints(outcomes: Sequence[Outcome]) -> dict[str, str]:
    by_study: dict[str, set[bytes]] = defaultdict(set)
    for outcome in outcomes:
        person = outcome.person.transcript
        key = SessionKey(person.study, person.experiment, person.participant)
        by_study[person.study].add(told(key, text_digest(person.text)))
    return {study: study_fingerprint(sorted(sessions)) for study, sessions in by_study.items()}


def _verdict(studies: Mapping[str, Mapping[str, Any]]) -> str:
    sessions, answers, cut = (sum(of[name] for of in studies.values()) for name in ("sessions", "answers", "cut"))
    n_studies = sum(of["sessions"] > 0 for of in studies.values())
    of_studies = f"{n_studies} {'study' if n_studies == 1 else 'studies'}"
    said = f"{counted(sessions, 'session')} of {of_studies}, {counted(answers, 'answer')}"
    return said + (f"; {cut:,} more lay beyond the context window" if cut else "")
