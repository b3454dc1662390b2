"""What a run has scored into its table and its record: sums by study, coverage of every response, speed."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from centaurlab.data.persons import Unit
from centaurlab.data.transcripts import SessionKey, data_fingerprint
from centaurlab.models.shape import ModelShape
from centaurlab.results.record import Coverage, ScoredData, ScoredStudy, ScoreRecord, ScoringSpeed
from centaurlab.results.table import ResponseScores, write_scores
from centaurlab.runtime.names import counted
from centaurlab.scoring.failures import Failure
from centaurlab.scoring.plan import SessionPlan
from centaurlab.scoring.store import ScoreStore, SessionResult
from centaurlab.stats.estimate import IntArray


@dataclass(frozen=True)
class Outcomes:
    """What became of the sessions of ``plan`` that are among ``sessions`` (None: all), in the order of the source.

    Those that could be scored have their results in ``store``; ``failures`` are the others, by digest.
    """

    plan: SessionPlan
    store: ScoreStore
    sessions: frozenset[SessionKey] | None = None
    failures: Mapping[str, Failure] = field(default_factory=dict)

    def __iter__(self) -> Iterator[tuple[SessionKey, SessionResult | Failure]]:
        for key, digest, items_R in self._wanted():
            outcome = self.failures.get(digest) or self._found(digest, items_R)
            assert outcome, f"{key} was neither scored nor did it fail"
            yield key, outcome

    def scores(self) -> Iterator[tuple[SessionKey, ResponseScores]]:
        """The scores of those that could be scored, whether ``failures`` are known or not."""
        for key, digest, items_R in self._wanted():
            if result := self._found(digest, items_R):
                yield key, result.scores

    def _wanted(self) -> Iterator[tuple[SessionKey, str, IntArray]]:
        return (known for known in self.plan.results() if self.sessions is None or known[0] in self.sessions)

    def _found(self, digest: str, items_R: IntArray) -> SessionResult | None:
        """What is stored, with the items of the session; a context may have other stretches scored, numbered higher."""
        result = self.store.find(digest)
        if result is None:
            return None
        response_R = result.scores.response_R
        is_response_R = response_R < len(items_R)
        item_R = np.zeros(len(response_R), np.int64)
        item_R[is_response_R] = items_R[response_R[is_response_R]]
        return replace(result, scores=replace(result.scores, item_R=item_R))


@dataclass
class StudyTotals:
    """Sums over the sessions of one study; ``flops`` is None where they cannot be counted.

    ``alone`` counts the people who have one session in the study, ``returning`` are the others; ``in_smaller_chunks``
    the sessions for which memory ran out at first.
    """

    sessions: int = 0
    alone: int = 0
    returning: set[Unit] = field(default_factory=set)
    without_options: int = 0
    nll_sum: float = 0.0
    n_single: int = 0
    n_correct: int = 0
    n_tokens: int = 0
    n_reused: int = 0
    in_smaller_chunks: int = 0
    seconds: float = 0.0
    flops: float | None = 0.0
    coverage: Coverage = field(default_factory=Coverage)
    failed: list[str] = field(default_factory=list)

    @property
    def people(self) -> int:
        """Whose sessions these are: how many."""
        return self.alone + len(self.returning)

    def add(self, outcome: SessionResult | Failure, returning: Unit | None, shape: ModelShape | None) -> None:
        """Count what became of a session; ``returning``: its person, where the study has several of the person."""
        self.sessions += 1
        if returning is None:
            self.alone += 1
        else:
            self.returning.add(returning)
        self.coverage += outcome.coverage
        if isinstance(outcome, Failure):
            self.failed.append(outcome.reason)
            return
        scores = outcome.scores
        self.without_options += not np.isfinite(scores.option_nll_R).any()
        self.nll_sum += float(scores.nll_R.sum(dtype="float64"))
        self.n_single += int((scores.greedy_correct_R >= 0).sum())
        self.n_correct += int((scores.greedy_correct_R == 1).sum())
        self.n_tokens += outcome.n_tokens
        self.n_reused += max(outcome.n_tokens - 1 - outcome.n_computed, 0)  # nothing follows the last token
        self.in_smaller_chunks += outcome.n_out_of_memory > 0
        self.seconds += outcome.seconds
        if shape is None or self.flops is None:
            self.flops = None
        else:
            self.flops += shape.flops(outcome.n_tokens, outcome.n_computed, int(scores.n_tokens_R.sum()))


Totals = Mapping[str, StudyTotals]
"""By study, in alphabetical order."""


def write_table(folder: Path, outcomes: Outcomes, shape: ModelShape | None) -> Totals:
    """Write ``scores.parquet`` with the sessions that could be scored; the sums over all, for every study of the plan.

    ``shape`` is that of the model, by which operations are counted; None: they are not.
    """
    totals: dict[str, StudyTotals] = defaultdict(StudyTotals)

    survey, persons = outcomes.plan.survey, outcomes.plan.survey.source.persons

    def scored() -> Iterator[tuple[SessionKey, ResponseScores]]:
        for key, outcome in outcomes:
            totals[key.study].add(outcome, persons.unit(key) if persons.joined(key) is not None else None, shape)
            if isinstance(outcome, SessionResult):
                yield key, outcome.scores

    has_joined = persons.any_joined and any(persons.joined(session.key) is not None for session in survey)
    write_scores(folder, scored(), persons.joined if has_joined else None)
    return {study: totals[study] for study in outcomes.plan.survey.n_by_study()}


def scored_data(plan: SessionPlan, totals: Totals) -> ScoredData:
    """What the record says of the data; fingerprints are those of all sessions, scored or not."""
    survey = plan.survey
    studies = {
        study: ScoredStudy(
            fingerprint=survey.fingerprint(study),
            sessions=totals[study].sessions,
            of_sessions=of_sessions,
            responses=totals[study].coverage.responses,
            people=totals[study].people,
            nll=_ratio(totals[study].nll_sum, totals[study].coverage.scored),
            accuracy=_ratio(totals[study].n_correct, totals[study].n_single),
            option_rules=dict(plan.options[study].rules),
            options_fingerprint=plan.options[study].fingerprint,
            options_problem=plan.options[study].problem,
            sessions_without_options=totals[study].without_options,
        )
        for study, of_sessions in survey.n_by_study().items()
    }
    return ScoredData(
        name=survey.source.name,
        fingerprint=data_fingerprint({study: about.fingerprint for study, about in studies.items()}),
        studies=studies,
        notes=(*survey.source.notes, *survey.doubts),
        skipped_sessions=survey.skipped,
    )


def speed(totals: Totals, now: ScoringSpeed) -> ScoringSpeed:
    """``now``, which describes the last run, with the figures of all runs into the folder.

    ``tokens_per_second`` is that of one process; ``flops`` are what ``ModelShape.flops`` counts in every
    session, None where it counts none.
    """
    n_tokens, seconds = sum(t.n_tokens for t in totals.values()), sum(t.seconds for t in totals.values())
    flops = [t.flops for t in totals.values() if t.flops is not None]
    return replace(
        now,
        tokens=n_tokens,
        tokens_reused=sum(t.n_reused for t in totals.values()),
        scoring_seconds=round(seconds, 2),
        flops=sum(flops) if len(flops) == len(totals) else None,
        tokens_per_second=round(n_tokens / seconds, 1) if seconds else 0.0,
    )


def memory_notes(totals: Totals) -> tuple[str, ...]:
    """That memory ran out for some sessions, whose last digits may be others where it does not; or nothing."""
    n = sum(t.in_smaller_chunks for t in totals.values())
    return (f"memory ran out for {counted(n, 'session')} at first, computed in smaller chunks then",) if n else ()


def metrics(record: ScoreRecord) -> dict[str, float]:
    """A record's NLLs, coverage and speed, for ``metrics.jsonl``."""
    nlls = {study: about.nll for study, about in record.data.studies.items()} | {"mean": record.nll_mean}
    covered = sum(record.coverage.values(), Coverage())
    found = {f"nll/{name}": nll for name, nll in nlls.items() if nll is not None}
    found |= {f"coverage/{name}": getattr(covered, name) for name in ("responses", "scored", "failed")}
    return found | (record.speed.known() if record.speed else {})


def _ratio(total: float, n: int) -> float | None:
    return total / n if n else None
