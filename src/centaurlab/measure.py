"""Measure a model on human sessions: data and model in, a folder of scores out.

Joins the parts: sessions are read window by window, planned, divided among the processes of ``accelerate launch``
and scored; each result is durable at once, and at the end ``scores.parquet`` (a row per response) and ``run.json``
(provenance, coverage, speed) are written. A session that cannot be scored is left out and named. Given again, the same
command computes only what is missing. A run may also score some sessions, look at the results, and go on or stop
(``Measurement``).
"""

import gc
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Literal

import torch
from accelerate import PartialState
from accelerate.utils import gather_object
from tqdm.auto import tqdm
from transformers import PreTrainedTokenizerBase

from centaurlab.encoding import Encoding, encode_prompt
from centaurlab.errors import UserError
from centaurlab.failures import Failure, check_complete, gather_failures, wait_for_all
from centaurlab.flops import ModelShape, model_shape
from centaurlab.launcher import end_with_launcher
from centaurlab.measurement import Measurement, Reading
from centaurlab.models import (
    ModelArguments,
    identify,
    load_config,
    load_model,
    load_tokenizer,
    load_without_weights,
    usable_window,
)
from centaurlab.plan import divide, estimate_lengths, plan_sessions, windows
from centaurlab.precision import check_target, sample_until
from centaurlab.prompts import Context
from centaurlab.runs import RunFolder, peak_memory, read_json
from centaurlab.score_files import write_run, write_table
from centaurlab.scoring import SessionError, SessionScorer
from centaurlab.sources import DataArguments, TranscriptSource, open_source
from centaurlab.store import ScoreStore, SessionResult
from centaurlab.tracking import Tracker, TrackingArguments
from centaurlab.transcripts import SessionKey, Transcript

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
    if arguments.chunk_tokens is not None and arguments.chunk_tokens < 1:
        raise UserError(f"--chunk_tokens is {arguments.chunk_tokens}; it must be at least 1")
    with measuring(model_arguments, data_arguments, arguments, tracking, context) as run:
        if arguments.precision is None:
            run.score()
        else:
            run.sample = sample_until(arguments.precision, "NLL", run.order, run.seed, run.score_nll, run.report)
    check_complete(run.folder.path, run.failures)
    return run.folder.path


@contextmanager
def measuring(
    model_arguments: ModelArguments,
    data_arguments: DataArguments,
    arguments: ScoreArguments,
    tracking: TrackingArguments | None = None,
    context: Context | None = None,
) -> Iterator[Measurement]:
    """A run to score sessions in; when the block ends, what is scored is written as ``measure`` does.

    Its ``failures`` are then known; nothing is raised for them, since other runs may be open.
    """
    started = time.monotonic()
    end_with_launcher()
    state = PartialState(cpu=not torch.accelerator.is_available(), timeout=_PATIENCE)
    if state.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    folder = RunFolder(Path(arguments.output_dir), "score")
    with folder.lock() if state.is_main_process else nullcontext():
        wait_for_all(state)
        _check_held_out(model_arguments.model_name_or_path, data_arguments)
        source = open_source(data_arguments, context.sessions if context else None)
        n_characters = sum(len(transcript.text) for transcript in source)
        tokenizer = load_tokenizer(model_arguments)
        max_tokens = usable_window(load_config(model_arguments), arguments.max_length)
        shape = model_shape(load_without_weights(model_arguments))
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
        worker = _Worker(
            *(model_arguments, data_arguments, arguments, reading, tokenizer, max_tokens), shape, store, state
        )
        measurement = Measurement(
            folder, source, n_characters, data_arguments.data_seed, reading, worker, identity, state
        )
        with Tracker(folder, tracking, config) if tracking else nullcontext():
            yield measurement
            store.close()
            failures = measurement.failures = gather_failures(worker.failures)
            tokens_computed = sum(gather_object([worker.tokens_computed]))
            if state.is_main_process:
                store = ScoreStore(folder.path / "store", identity)
                totals = write_table(
                    *(folder.path / "scores.parquet", source, reading, store, measurement.sessions, failures), shape
                )
                store.close()
                run = {
                    "processes": state.num_processes,
                    "tokens_computed_now": tokens_computed,
                    "wall_seconds": round(time.monotonic() - started, 2),
                }
                write_run(folder, source, model, identity, totals, run | peak_memory(), measurement.sample)
        wait_for_all(state)


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
        shape: ModelShape,
        store: ScoreStore,
        state: PartialState,
    ) -> None:
        self._model_arguments = model_arguments
        self._tolerant = data_arguments.on_malformed == "skip"
        self._arguments = arguments
        self._reading = reading
        self._tokenizer = tokenizer
        self._max_tokens = max_tokens
        self._shape = shape
        self._store = store
        self._state = state
        self._loads = [0.0] * state.num_processes
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
            for transcripts in windows(source):
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
        if self._state.num_processes == 1:
            return found
        costs = self._costs([transcript for transcript, _ in found])
        shares = divide(costs, self._state.num_processes, self._loads)
        for process, share in enumerate(shares):
            self._loads[process] += sum(costs[i] for i in share)
        return [found[i] for i in shares[self._state.process_index]]

    def _costs(self, transcripts: list[Transcript]) -> list[float]:
        """Of scoring each, in floating-point operations."""
        lengths = estimate_lengths(transcripts, self._reading.prompt, self._tokenizer, self._max_tokens)
        return [self._shape.flops(length.n_tokens, length.n_tokens, length.n_response_tokens) for length in lengths]

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


def _check_held_out(model: str, data: DataArguments) -> None:
    """Raise ``UserError`` where the model, trained here, was trained on people whom ``data`` calls held out."""
    for folder in (Path(model), Path(model).parent):  # the parent of a checkpoint
        split = read_json(folder / "split.json")
        if data.participants != "test" or split.get("data") != data.data:
            continue
        if split["eval_data"]:
            raise UserError(
                f"{model} was trained on everybody in {data.data}; its held-out people: --data {split['eval_data']}"
            )
        if split["split_seed"] != data.data_seed:
            raise UserError(
                f"{model} was trained with --split_seed {split['split_seed']}, which held out other people than "
                f"--participants test with --data_seed {data.data_seed}; give the same seed"
            )


def _shared_tokens(encoding: Encoding, characters: tuple[int, ...]) -> list[int]:
    """Shared characters as numbers of whole tokens, each before the position that predicts the first response."""
    if not len(encoding.start_R):
        return []
    counts = [int((encoding.end_character_T <= n).sum()) for n in characters]
    return [n for n in sorted(set(counts)) if 0 < n < encoding.start_R[0]]
