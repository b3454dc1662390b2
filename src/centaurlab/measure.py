"""Measure a model on human sessions: data and model in, a folder of scores out.

Joins the parts: sessions are read window by window, planned, divided among the processes of ``accelerate launch``
and scored; each result is durable at once, and at the end ``scores.parquet`` (a row per response) and ``run.json``
(provenance, coverage, speed) are written. A session that cannot be scored is left out and named. Given again, the same
command computes only what is missing. A run may also score some sessions, look at the results, and go on or stop
(``Measurement``).
"""

import gc
import hashlib
import resource
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import torch
from accelerate import PartialState
from tqdm.auto import tqdm
from transformers import PreTrainedTokenizerBase

from centaurlab.encoding import Coverage, Encoding, encode_prompt
from centaurlab.errors import UserError
from centaurlab.failures import Failure, check_complete, gather_failures, wait_for_all
from centaurlab.launcher import end_with_launcher
from centaurlab.measurement import Measurement, Reading
from centaurlab.models import (
    ModelArguments,
    context_window,
    identify,
    load_config,
    load_model,
    load_tokenizer,
)
from centaurlab.plan import cost, plan_sessions, split_by_cost
from centaurlab.precision import Sample, check_target, sample_until
from centaurlab.prompts import Context
from centaurlab.runs import RunFolder, provenance
from centaurlab.scoring import ResponseScores, SessionError, SessionScorer
from centaurlab.sources import DataArguments, TranscriptSource, open_source
from centaurlab.store import ScoreStore, SessionResult, write_scores
from centaurlab.tracking import Tracker, TrackingArguments
from centaurlab.transcripts import SessionKey, Transcript, text_digest

WINDOW_CHARACTERS = 256_000_000
"""Sessions planned and held in memory at once."""

_PATIENCE = timedelta(days=14)  # of processes that wait for the slowest


@dataclass
class ScoreArguments:
    """How responses are scored, and where the scores go."""

    output_dir: str = field(metadata={"help": "folder for scores.parquet, run.json and the resumable store"})
    protocol: Literal["full", "paper"] = field(
        default="full",
        metadata={"help": "full: the whole session up to the context window; paper: as the published evaluation code"},
    )
    max_length: int | None = field(
        default=None, metadata={"help": "context window in tokens, where shorter than the model's own"}
    )
    chunk_tokens: int | None = field(
        default=None, metadata={"help": "tokens computed at once (default: by architecture and device)"}
    )
    precision: float | None = field(
        default=None,
        metadata={
            "help": "stop as soon as the mean NLL over the studies is known to ± this many nats (95 %% interval)"
        },
    )


@dataclass
class _StudyTotals:
    """Sums over the sessions of one study, for ``run.json``."""

    sessions: int = 0
    nll_sum: float = 0.0
    n_single: int = 0
    n_correct: int = 0
    n_tokens: int = 0
    n_computed: int = 0
    seconds: float = 0.0
    coverage: Coverage = field(default_factory=Coverage)
    digests: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def see(self, transcript: Transcript) -> None:
        self.digests.append(f"{transcript.experiment}\0{transcript.participant}\0{text_digest(transcript.text)}")

    def add(self, outcome: SessionResult | Failure) -> None:
        self.sessions += 1
        self.coverage += outcome.coverage
        if isinstance(outcome, Failure):
            self.failed.append(outcome.reason)
        else:
            self._add_scores(outcome)

    def _add_scores(self, result: SessionResult) -> None:
        self.nll_sum += float(result.scores.nll_R.sum(dtype="float64"))
        self.n_single += int((result.scores.greedy_correct_R >= 0).sum())
        self.n_correct += int((result.scores.greedy_correct_R == 1).sum())
        self.n_tokens += result.n_tokens
        self.n_computed += result.n_computed
        self.seconds += result.seconds

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the study's sessions as told, scored or not, whatever their order and context."""
        return hashlib.sha256("\n".join(sorted(self.digests)).encode("utf-8", "backslashreplace")).hexdigest()


def measure(
    model_arguments: ModelArguments,
    data_arguments: DataArguments,
    arguments: ScoreArguments,
    tracking: TrackingArguments | None = None,
    context: Context | None = None,
) -> Path:
    """Score every response of the data with the model into ``arguments.output_dir``, which is returned.

    Call it on every process of the launch. The run is mirrored to the trackers of ``tracking``. A ``context`` is put
    around every session; only those that it can be put around are scored. With ``arguments.precision`` as many as it
    takes are scored, and ``run.json`` tells. Raises ``UserError`` for whatever a user can mend, and ``IncompleteError``
    when all is written but the scores of some sessions.
    """
    if arguments.precision is not None:
        check_target(arguments.precision)
    with measuring(model_arguments, data_arguments, arguments, tracking, context) as run:
        if arguments.precision is None:
            run.score()
        else:
            run.sample = sample_until(arguments.precision, "NLL", run.order, run.seed, run.score_nll, run.report)
    return run.folder.path


@contextmanager
def measuring(
    model_arguments: ModelArguments,
    data_arguments: DataArguments,
    arguments: ScoreArguments,
    tracking: TrackingArguments | None = None,
    context: Context | None = None,
) -> Iterator[Measurement]:
    """A run to score sessions in; when the block ends, what is scored is written as ``measure`` does."""
    started = time.monotonic()
    end_with_launcher()
    state = PartialState(cpu=not torch.accelerator.is_available(), timeout=_PATIENCE)
    if state.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    folder = RunFolder(Path(arguments.output_dir), "score")
    with folder.lock() if state.is_main_process else nullcontext():
        wait_for_all(state)
        source = open_source(data_arguments, context.sessions if context else None)
        n_characters = sum(len(transcript.text) for transcript in source)
        tokenizer = load_tokenizer(model_arguments)
        window = context_window(load_config(model_arguments))
        max_tokens = min(window, arguments.max_length or window)
        with state.main_process_first():
            model = identify(model_arguments).as_dict()
            identity = {"model": model, "protocol": arguments.protocol, "max_tokens": max_tokens}
            if context and context.identity:
                identity["context"] = dict(context.identity)
            store = ScoreStore(folder.path / "store", identity, writer=state.process_index)
        wait_for_all(state)  # all see the same results as missing
        config = asdict(model_arguments) | asdict(data_arguments) | asdict(arguments)
        if state.is_main_process:
            folder.write_json("config.json", config)
            for note in [*source.notes, *map(str, source.skipped), *store.damaged]:
                print(f"note: {note}")
        reading = Reading(arguments.protocol, context)
        worker = _Worker(model_arguments, data_arguments, arguments, reading, tokenizer, max_tokens, store, state)
        measurement = Measurement(
            folder, source, n_characters, data_arguments.data_seed, reading, worker, identity, state
        )
        with Tracker(folder, tracking, config) if tracking else nullcontext():
            yield measurement
            store.close()
            failures = gather_failures(worker.failures)
            if state.is_main_process:
                store = ScoreStore(folder.path / "store", identity)
                totals = _write_scores(
                    folder.path / "scores.parquet", source, reading, store, measurement.sessions, failures
                )
                store.close()
                run = {
                    "processes": state.num_processes,
                    "tokens_computed_now": worker.tokens_computed,
                    "wall_seconds": round(time.monotonic() - started, 2),
                    "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
                }
                if state.device.type == "cuda":
                    run["peak_gpu_memory_bytes"] = torch.cuda.max_memory_allocated()
                _write_run(folder, source, model, identity, totals, run, measurement.sample)
        wait_for_all(state)
    check_complete(folder.path, failures)


class _Worker:
    """One process's part: scores those of its sessions that the store lacks, loading the model at the first."""

    def __init__(
        self,
        model_arguments: ModelArguments,
        data_arguments: DataArguments,
        arguments: ScoreArguments,
        reading: Reading,
        tokenizer: PreTrainedTokenizerBase,
        max_tokens: int,
        store: ScoreStore,
        state: PartialState,
    ) -> None:
        self._model_arguments = model_arguments
        self._tolerant = data_arguments.on_malformed == "skip"
        self._arguments = arguments
        self._reading = reading
        self._tokenizer = tokenizer
        self._max_tokens = max_tokens
        self._store = store
        self._state = state
        self._scorer: SessionScorer | None = None
        self.failures: dict[str, Failure] = {}
        self._tokens_before = 0

    def score(
        self, source: TranscriptSource, n_characters: int, sessions: frozenset[SessionKey] | None, title: str
    ) -> None:
        """Score this process's share of ``sessions`` (None: all), whose ``n_characters`` scale the progress bar.

        All sessions of the source are planned, whichever are scored, so that the results are those of a full run.
        """
        with tqdm(
            desc=title,
            unit="tok",
            unit_scale=True,
            smoothing=0.05,
            disable=not self._state.is_main_process,
        ) as bar:
            later, done = n_characters, 0
            for transcripts in _windows(source):
                later -= sum(len(t.text) for t in transcripts if sessions is None or t.key in sessions)
                mine = self._share(transcripts, sessions)
                left = sum(len(transcript.text) for transcript, _ in mine) + later // self._state.num_processes
                for transcript, shared in mine:
                    bar.set_postfix_str(transcript.study[:30], refresh=False)
                    n_tokens = self._score_session(transcript, shared)
                    done, left = done + len(transcript.text), left - len(transcript.text)
                    bar.total = round((bar.n + n_tokens) * (1 + left / done))
                    bar.update(n_tokens)
            bar.leave = bar.n > 0

    @property
    def tokens_computed(self) -> int:
        """Tokens that went through the model in this run, on this process."""
        return self._tokens_before + (self._scorer.tokens_computed if self._scorer else 0)

    def release(self) -> None:
        """Let go of the model until the next session."""
        self._tokens_before, self._scorer = self.tokens_computed, None
        gc.collect()
        if self._state.device.type == "cuda":
            torch.cuda.empty_cache()

    def _share(
        self, transcripts: list[Transcript], sessions: frozenset[SessionKey] | None
    ) -> list[tuple[Transcript, tuple[int, ...]]]:
        """The sessions of a window that are this process's to score, each with its shared prefixes."""
        planned = plan_sessions([self._reading.beginning(transcript) for transcript in transcripts])
        missing: dict[str, tuple[Transcript, tuple[int, ...]]] = {}
        for session in planned:
            transcript = transcripts[session.index]
            if sessions is not None and transcript.key not in sessions:
                continue
            digest = self._reading.digest(transcript)
            if digest not in self._store:
                missing.setdefault(digest, (transcript, session.shared))
        found = list(missing.values())
        parts = split_by_cost([cost(len(t.text)) for t, _ in found], self._state.num_processes)
        mine: slice = parts[self._state.process_index]
        return found[mine]

    def _score_session(self, transcript: Transcript, shared_characters: tuple[int, ...]) -> int:
        if self._scorer is None:
            model = load_model(self._model_arguments, self._state.device)
            self._scorer = SessionScorer(model, self._arguments.chunk_tokens)
        started = time.perf_counter()
        encoding = encode_prompt(self._reading.prompt(transcript), self._tokenizer, self._max_tokens)
        if encoding.coverage.cut and not encoding.coverage.scored and not self._tolerant:
            raise UserError(
                f"{transcript.origin}: the first response of {transcript.key} ends beyond the context window of "
                f"{self._max_tokens} tokens; use a model with a longer one, raise --max_length, or leave such "
                "sessions out with --on_malformed skip"
            )
        before = self._scorer.tokens_computed
        digest = self._reading.digest(transcript)
        name = f"{self._model_arguments.model_name_or_path}: {transcript.origin}: {transcript.key}"
        try:
            scores = self._scorer.score(encoding, _shared_tokens(encoding, shared_characters))
        except SessionError as error:
            self.failures[digest] = Failure(f"{name}: {error}", encoding.coverage.of_failed_session)
            tqdm.write(f"not scored: {self.failures[digest].reason}", file=sys.stderr)
            return len(encoding.input_ids_T)
        if self._scorer.out_of_memory:
            tqdm.write(f"note: {name}: computed in smaller chunks, as memory ran out", file=sys.stderr)
        seconds = time.perf_counter() - started
        n_computed = self._scorer.tokens_computed - before
        result = SessionResult(scores, encoding.coverage, len(encoding.input_ids_T), n_computed, seconds)
        self._store.add(digest, result)
        return len(encoding.input_ids_T)


def _windows(source: TranscriptSource) -> Iterator[list[Transcript]]:
    """Runs of consecutive sessions that fit in memory."""
    transcripts: list[Transcript] = []
    size = 0
    for transcript in source:
        transcripts.append(transcript)
        size += len(transcript.text)
        if size >= WINDOW_CHARACTERS:
            yield transcripts
            transcripts, size = [], 0
    if transcripts:
        yield transcripts


def _shared_tokens(encoding: Encoding, characters: tuple[int, ...]) -> list[int]:
    """Shared characters as numbers of whole tokens, each before the position that predicts the first response."""
    if not len(encoding.start_R):
        return []
    counts = [int((encoding.end_character_T <= n).sum()) for n in characters]
    return [n for n in sorted(set(counts)) if 0 < n < encoding.start_R[0]]


def _write_scores(
    path: Path,
    source: TranscriptSource,
    reading: Reading,
    store: ScoreStore,
    scored: frozenset[SessionKey] | None,
    failures: Mapping[str, Failure],
) -> dict[str, _StudyTotals]:
    totals: dict[str, _StudyTotals] = defaultdict(_StudyTotals)

    def sessions() -> Iterator[tuple[SessionKey, ResponseScores]]:
        for transcript in source:
            totals[transcript.study].see(transcript)
            if scored is not None and transcript.key not in scored:
                continue
            digest = reading.digest(transcript)
            outcome = failures.get(digest) or store.get(digest)
            totals[transcript.study].add(outcome)
            if isinstance(outcome, SessionResult):
                yield transcript.key, outcome.scores

    write_scores(path, sessions())
    return dict(sorted(totals.items()))


def _write_run(
    folder: RunFolder,
    source: TranscriptSource,
    model: dict[str, Any],
    identity: dict[str, Any],
    totals: dict[str, _StudyTotals],
    run: dict[str, float],
    sample: Sample | None,
) -> None:
    """``run.json``: what was scored with what, what became of every response, and how fast.

    ``tokens_per_second`` is that of one process, over all runs into the folder; ``run`` describes this one. The data's
    fingerprints are those of all sessions, also where only those of ``sample`` are scored.
    """
    n_tokens, seconds = sum(t.n_tokens for t in totals.values()), sum(t.seconds for t in totals.values())
    speed = run | {
        "tokens": n_tokens,
        "tokens_reused": n_tokens - sum(t.n_computed for t in totals.values()),
        "scoring_seconds": round(seconds, 2),
        "tokens_per_second": round(n_tokens / seconds, 1) if seconds else 0.0,
    }
    studies: dict[str, dict[str, Any]] = {
        study: {
            "fingerprint": t.fingerprint,
            "sessions": t.sessions,
            "of_sessions": len(t.digests),
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
                "fingerprint": hashlib.sha256("".join(t.fingerprint for t in totals.values()).encode()).hexdigest(),
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
