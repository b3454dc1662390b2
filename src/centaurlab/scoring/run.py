"""Measure a model on human sessions: data and model in, a folder of scores out.

Joins the parts: sessions are read window by window, planned, divided among the processes of ``accelerate launch``
and scored; each result is durable at once, and at the end ``scores.parquet`` (a row per response) and ``run.json``
(provenance, coverage, speed) are written. A session that cannot be scored is left out and named. Given again, the same
command computes only what is missing. A run may also score some sessions, look at the results, and go on or stop
(``Measurement``).
"""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, nullcontext
from dataclasses import asdict
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list, gather_object

from centaurlab.data.held_out import _check_held_out
from centaurlab.data.source import DataArguments, TranscriptSource, open_source
from centaurlab.data.splits import participant_order
from centaurlab.data.transcripts import SessionKey
from centaurlab.models.arguments import ModelArguments
from centaurlab.models.identity import identify
from centaurlab.models.loading import load_config, load_tokenizer, load_without_weights
from centaurlab.models.shape import model_shape, usable_window
from centaurlab.prompts.context import Context, Reading
from centaurlab.results.table import ResponseScores
from centaurlab.runs.folder import RunFolder
from centaurlab.runs.provenance import peak_memory
from centaurlab.runs.tracker import Tracker, TrackingArguments
from centaurlab.runtime.processes import end_with_launcher
from centaurlab.scoring.arguments import ScoreArguments
from centaurlab.scoring.failures import Failure, check_complete, gather_failures, wait_for_all
from centaurlab.scoring.record import write_run, write_table
from centaurlab.scoring.store import ScoreStore
from centaurlab.scoring.worker import _Worker
from centaurlab.stats.sequential import Look, Sample, StudyEstimate, check_target, nll_estimates, sample_until

_PATIENCE = timedelta(days=14)  # of processes that wait for the slowest


T = TypeVar("T")

ScoreResults = Iterable[tuple[SessionKey, ResponseScores]]
"""Sessions with their scores."""


class Worker(Protocol):
    """One process's part of the scoring."""

    def score(
        self, source: TranscriptSource, n_characters: int, sessions: frozenset[SessionKey] | None, title: str
    ) -> None:
        """Score this process's share of ``sessions`` (None: all)."""
        ...

    def release(self) -> None:
        """Let go of the model until the next session."""
        ...


class Measurement:
    """A run in progress, the same on every process: score some sessions, look at their results, score more.

    ``sessions`` are those scored, which the folder's table will hold; None: all. ``sample`` says why not all.
    ``failures`` are, when the run has ended, the sessions of all processes that could not be scored.
    """

    def __init__(
        self,
        folder: RunFolder,
        source: TranscriptSource,
        n_characters: int,
        seed: int,
        reading: Reading,
        worker: Worker,
        identity: dict[str, Any],
        state: PartialState,
    ) -> None:
        self.folder = folder
        self.seed = seed
        self.sessions: frozenset[SessionKey] | None = frozenset()
        self.sample: Sample | None = None
        self.failures: dict[str, Failure] = {}
        self._source = source
        self._n_characters = n_characters
        self._reading = reading
        self._worker = worker
        self._identity = identity
        self._state = state

    def score(self, sessions: frozenset[SessionKey] | None = None, title: str = "scoring") -> None:
        """Score ``sessions`` (None: all) besides those that are scored already; ends when every process has."""
        new = sessions - self.sessions if sessions is not None and self.sessions is not None else None
        n_characters = self._n_characters if new is None else sum(self._index[key][1] for key in new)
        self._worker.score(self._source, n_characters, new, title)
        self.sessions = sessions
        wait_for_all(self._state)

    def results(self) -> Iterator[tuple[SessionKey, ResponseScores]]:
        """Of ``sessions`` those that could be scored, in the order of the data, by any process; for the main one."""
        with closing(ScoreStore(self.folder.path / "store", self._identity)) as store:
            for key, (digest, _) in self._index.items():
                if (self.sessions is None or key in self.sessions) and digest in store:
                    yield key, store.get(digest).scores

    def score_nll(self, sessions: frozenset[SessionKey], title: str) -> list[StudyEstimate]:
        """Score ``sessions``; each study's NLL over them."""
        self.score(sessions, title)
        return self.from_main(lambda: nll_estimates(self.results()))

    def report(self, words: str, number: int, look: Look) -> None:
        """Say what is known after a round, and log it."""
        if self._state.is_main_process:
            print(words, flush=True)
            known = {"value": look.value, "half_width": look.half_width, "sessions": float(look.sessions)}
            self.folder.log({f"precision/{name}": value for name, value in known.items()}, step=number)

    def from_main(self, compute: Callable[[], T]) -> T:
        """What ``compute`` gives on the main process, on every process."""
        found: T = broadcast_object_list([compute() if self._state.is_main_process else None])[0]
        return found

    def release(self) -> None:
        """Free the model's memory; the next session loads it again."""
        self._worker.release()

    @cached_property
    def order(self) -> dict[str, list[SessionKey]]:
        """The sessions of each study in the seeded order."""
        return participant_order(self._index, self.seed)

    @cached_property
    def _index(self) -> dict[SessionKey, tuple[str, int]]:
        """Of every session, the digest of its result in the store, and its characters."""
        return {t.key: (self._reading.digest(t), len(t.text)) for t in self._source}


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
