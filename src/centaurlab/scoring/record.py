"""What a run of scoring leaves: the table of scores, and what it says of itself (``run.json``)."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

from centaurlab.data.source import TranscriptSource
from centaurlab.data.transcripts import SessionKey, data_fingerprint, study_fingerprint, text_digest, told
from centaurlab.models.shape import ModelShape
from centaurlab.prompts.context import Reading
from centaurlab.prompts.encoding import Coverage
from centaurlab.results.table import ResponseScores, write_scores
from centaurlab.runs.folder import RunFolder
from centaurlab.runs.provenance import provenance
from centaurlab.runtime.disk_index import DiskIndex
from centaurlab.scoring.failures import Failure
from centaurlab.scoring.store import ScoreStore, SessionResult
from centaurlab.stats.sequential import Sample


@dataclass
class StudyTotals:
    """Sums over the sessions of one study."""

    sessions: int = 0
    nll_sum: float = 0.0
    n_single: int = 0
    n_correct: int = 0
    n_tokens: int = 0
    n_reused: int = 0
    seconds: float = 0.0
    flops: float = 0.0
    coverage: Coverage = field(default_factory=Coverage)
    failed: list[str] = field(default_factory=list)
    of_sessions: int = 0
    fingerprint: str = ""

    def add(self, outcome: SessionResult | Failure, shape: ModelShape) -> None:
        """Count what became of a session."""
        self.sessions += 1
        self.coverage += outcome.coverage
        if isinstance(outcome, Failure):
            self.failed.append(outcome.reason)
        else:
            self._add_scores(outcome, shape)

    def _add_scores(self, result: SessionResult, shape: ModelShape) -> None:
        self.nll_sum += float(result.scores.nll_R.sum(dtype="float64"))
        self.n_single += int((result.scores.greedy_correct_R >= 0).sum())
        self.n_correct += int((result.scores.greedy_correct_R == 1).sum())
        self.n_tokens += result.n_tokens
        self.n_reused += max(result.n_tokens - 1 - result.n_computed, 0)  # nothing follows the last token
        self.seconds += result.seconds
        self.flops += shape.flops(result.n_tokens, result.n_computed, int(result.scores.n_tokens_R.sum()))


def write_table(
    path: Path,
    source: TranscriptSource,
    reading: Reading,
    store: ScoreStore,
    scored: frozenset[SessionKey] | None,
    failures: Mapping[str, Failure],
    shape: ModelShape,
) -> dict[str, StudyTotals]:
    """Write ``scores.parquet`` with the sessions in ``scored`` (None: all) that did not fail; sums per study.

    A study's fingerprint is that of all its sessions as told, scored or not, whatever their order and context.
    """
    totals: dict[str, StudyTotals] = defaultdict(StudyTotals)
    all_told = DiskIndex()

    def sessions() -> Iterator[tuple[SessionKey, ResponseScores]]:
        for transcript in source:
            totals[transcript.study].of_sessions += 1
            session = told(transcript.key, text_digest(transcript.text))
            all_told.add(transcript.study.encode("utf-8", "surrogatepass") + b"\0" + session)
            if scored is not None and transcript.key not in scored:
                continue
            digest = reading.digest(transcript)
            outcome = failures.get(digest) or store.get(digest)
            totals[transcript.study].add(outcome, shape)
            if isinstance(outcome, SessionResult):
                yield transcript.key, outcome.scores

    write_scores(path, sessions())
    for study, sessions_told in groupby(all_told, lambda item: item.partition(b"\0")[0]):
        totals[study.decode("utf-8", "surrogatepass")].fingerprint = study_fingerprint(
            item.partition(b"\0")[2] for item in sessions_told
        )
    return dict(sorted(totals.items()))


def write_run(
    folder: RunFolder,
    source: TranscriptSource,
    model: dict[str, Any],
    identity: dict[str, Any],
    totals: dict[str, StudyTotals],
    run: dict[str, float],
    sample: Sample | None,
) -> None:
    """Write ``run.json``: what was scored with what, what became of every response, and how fast.

    ``tokens_per_second`` is that of one process, over all runs into the folder; ``flops`` are what ``flops.py`` counts
    in all of them; ``run`` describes this one. The data's fingerprints are those of all sessions, also where only those
    of ``sample`` are scored.
    """
    n_tokens, seconds = sum(t.n_tokens for t in totals.values()), sum(t.seconds for t in totals.values())
    speed = run | {
        "tokens": n_tokens,
        "tokens_reused": sum(t.n_reused for t in totals.values()),
        "scoring_seconds": round(seconds, 2),
        "flops": sum(t.flops for t in totals.values()),
        "tokens_per_second": round(n_tokens / seconds, 1) if seconds else 0.0,
    }
    studies: dict[str, dict[str, Any]] = {
        study: {
            "fingerprint": t.fingerprint,
            "sessions": t.sessions,
            "of_sessions": t.of_sessions,
            "responses": t.coverage.responses,
            "nll": t.nll_sum / t.coverage.scored if t.coverage.scored else None,
            "accuracy": t.n_correct / t.n_single if t.n_single else None,
        }
        for study, t in totals.items()
    }
    nlls = [s["nll"] for s in studies.values() if s["nll"] is not None]
    covered = sum((t.coverage for t in totals.values()), Coverage())
    folder.write_json(
        "run.json",
        provenance()
        | {
            "job": "score",
            "model": model,
            "protocol": {"name": identity["protocol"], "max_tokens": identity["max_tokens"]},
            "context": identity.get("context"),
            "data": {
                "name": source.name,
                "fingerprint": data_fingerprint({study: t.fingerprint for study, t in totals.items()}),
                "studies": studies,
                "notes": source.notes,
                "skipped_sessions": [str(problem) for problem in source.skipped],
            },
            "sample": sample.as_dict() if sample else None,
            "coverage": {study: asdict(t.coverage) for study, t in totals.items()},
            "failed_sessions": [reason for t in totals.values() for reason in t.failed],
            "nll_mean": sum(nlls) / len(nlls) if nlls else None,
            "speed": speed,
        },
    )
    metrics: dict[str, float] = {f"nll/{study}": s["nll"] for study, s in studies.items() if s["nll"] is not None}
    if nlls:
        metrics["nll/mean"] = sum(nlls) / len(nlls)
    metrics |= {f"coverage/{name}": getattr(covered, name) for name in ("responses", "scored", "failed")}
    folder.log(metrics | speed)
