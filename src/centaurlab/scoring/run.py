"""Score human sessions with a model: data and model in, a folder of scores out.

Joins the parts: sessions are surveyed, planned window by window, divided among the processes of ``accelerate launch``
and scored; each result is durable at once, and at the end ``scores.parquet`` (a row per response) and ``run.json``
(provenance, coverage, speed) are written. A session that cannot be scored is left out and named. Given again, the same
command computes only what is missing. A run may also score some sessions, look at the results, and go on or stop
(``Measurement``).
"""

import time
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, replace
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list, gather_object

from centaurlab.catalog.studies.find import load_studies
from centaurlab.data.held_out import check_held_out
from centaurlab.data.source import DataArguments, open_source
from centaurlab.data.splits import Order, person_order
from centaurlab.data.transcripts import SessionKey
from centaurlab.models.arguments import ModelArguments
from centaurlab.models.checkpoints import base_notes
from centaurlab.models.identity import identify
from centaurlab.models.loaded import LoadedModel
from centaurlab.models.loading import load_config, load_tokenizer
from centaurlab.models.shape import countable_shape, usable_window, window_notes
from centaurlab.models.sharding import check_processes
from centaurlab.prompts.context import Context, Reading
from centaurlab.results.record import ScoredProtocol, ScoreRecord, ScoringSpeed
from centaurlab.results.run import write_record
from centaurlab.results.table import ResponseScores
from centaurlab.runs.folder import RunFolder
from centaurlab.runs.integrity import read_sound_json
from centaurlab.runs.provenance import peak_memory, provenance
from centaurlab.runs.tracker import Tracker, TrackingArguments
from centaurlab.runtime.processes import end_with_launcher
from centaurlab.runtime.terminal import say
from centaurlab.scoring.arguments import ScoreArguments
from centaurlab.scoring.engine_vllm import VllmEngine, find_engine
from centaurlab.scoring.failures import Failure, check_complete, gather_failures, wait_for_all
from centaurlab.scoring.kept import KeptScorer
from centaurlab.scoring.plan import SessionPlan
from centaurlab.scoring.store import ScoreStore
from centaurlab.scoring.survey import Survey
from centaurlab.scoring.totals import Outcomes, memory_notes, metrics, scored_data, speed, write_table
from centaurlab.scoring.worker import ModelToScore, Worker
from centaurlab.stats.sequential import Look, Sample, StudyEstimate, check_target, nll_estimates, sample_until

_PATIENCE = timedelta(days=14)  # of processes that wait for the slowest


T = TypeVar("T")

ScoreResults = Iterable[tuple[SessionKey, ResponseScores]]
"""Sessions with their scores."""


class Measurement:
    """A run in progress, the same on every process: score some sessions, look at their results, score more.

    ``sessions`` are those scored, which the folder's table will hold; None: all. ``sample`` says why not all.
    ``failures`` are, when the run has ended, the sessions of all processes that could not be scored.
    """

    def __init__(self, folder: RunFolder, worker: Worker, seed: int) -> None:
        self.folder = folder
        self.seed = seed
        self.sessions: frozenset[SessionKey] | None = frozenset()
        self.sample: Sample | None = None
        self.failures: dict[str, Failure] = {}
        self._worker = worker
        self._state = worker.state

    def score(self, sessions: frozenset[SessionKey] | None = None, title: str = "scoring") -> None:
        """Score ``sessions`` (None: all) besides those that are scored already; ends when every process has."""
        new = sessions - self.sessions if sessions is not None and self.sessions is not None else None
        self._worker.score(new, title)
        self.sessions = sessions
        wait_for_all(self._state)

    def results(self) -> Iterator[tuple[SessionKey, ResponseScores]]:
        """Those of ``sessions`` that could be scored by any process, in the order of the data; for the main one."""
        return self.outcomes().scores()

    def outcomes(self) -> Outcomes:
        """What became of ``sessions``; those that failed are among it once the run has ended."""
        return Outcomes(self._worker.plan, self._worker.store, self.sessions, self.failures)

    def score_nll(self, sessions: frozenset[SessionKey], title: str) -> list[StudyEstimate]:
        """Score ``sessions``; each study's NLL over them."""
        self.score(sessions, title)
        return self.from_main(lambda: nll_estimates(self.results(), self.person_of))

    def person_of(self, key: SessionKey) -> Hashable:
        """Whose session it is."""
        return self._worker.plan.survey.source.persons.unit(key)

    def report(self, words: str, number: int, look: Look) -> None:
        """Say what is known after a round, and log it."""
        if self._state.is_main_process:
            say(words)
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
    def order(self) -> Order:
        """The people of each study in the seeded order."""
        survey = self._worker.plan.survey
        return person_order((session.key for session in survey), survey.source.persons, self.seed)


def measure(
    model_arguments: ModelArguments,
    data_arguments: DataArguments,
    arguments: ScoreArguments,
    tracking: TrackingArguments | None = None,
    context: Context | None = None,
    loaded: LoadedModel | None = None,
    kept: KeptScorer | None = None,
) -> Path:
    """Score every response of the data with the model; call it on every process of the launch.

    Parameters
    ----------
    model_arguments, data_arguments
        What is scored with what.
    arguments
        How, and into which folder. With ``precision`` as many people are scored as it takes, and ``run.json`` tells.
    tracking
        The trackers that the run is mirrored to; None: none.
    context
        What is put around every session; only those that it can be put around are scored. None: nothing.
    loaded
        The model itself, where it is in memory already; ``model_arguments`` are its own.
    kept
        What a run before this one may have left of the same model; this one's is left in it. None: nothing is kept.

    Returns
    -------
    Path
        ``arguments.output_dir``, with ``scores.parquet`` and ``run.json`` (``results.run.read_run`` reads both).

    Raises
    ------
    UserError
        For whatever a user can mend.
    IncompleteError
        When all is written but the scores of some sessions.
    """
    if arguments.precision is not None:
        check_target(arguments.precision)
    with measuring(model_arguments, data_arguments, arguments, tracking, context, loaded, kept) as run:
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
    loaded: LoadedModel | None = None,
    kept: KeptScorer | None = None,
) -> Iterator[Measurement]:
    """Open a run to score sessions in; when the block ends, what is scored is written as ``measure`` does.

    Parameters and errors are those of ``measure``, but that ``failures`` are known when the block has ended, and
    nothing is raised for them, since other runs may be open.
    """
    started = time.monotonic()
    end_with_launcher()
    state = PartialState(cpu=not torch.accelerator.is_available(), timeout=_PATIENCE)
    engine = None
    if arguments.engine == "vllm":
        engine = find_engine(model_arguments, arguments, loaded is not None, state.num_processes)
    else:
        check_processes(arguments.tensor_parallel, state.num_processes)
    if state.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    folder = RunFolder(Path(arguments.output_dir), "score")
    with folder.lock() if state.is_main_process else nullcontext():
        wait_for_all(state)
        source = open_source(data_arguments, context.sessions if context else None)
        models = (model_arguments.model_name_or_path, model_arguments.adapter_name_or_path)
        check_held_out(models, data_arguments, source)
        own_studies = load_studies(Path(data_arguments.study_module)) if data_arguments.study_module else {}
        survey = Survey(source, own_studies)
        model, notes = _model_to_score(model_arguments, arguments, loaded, engine)
        with state.main_process_first():  # a damaged file is set aside by one of them
            identity = loaded.identity() if loaded else identify(model_arguments)
            reading: dict[str, Any] = {"protocol": arguments.protocol, "max_tokens": model.max_tokens}
            reading |= {"long_options": model.long_options} | ({"engine": engine.name} if engine else {})
            depends_on = {"model": identity.as_dict()} | reading
            if context and context.identity:
                depends_on["context"] = dict(context.identity)
            n_groups = state.num_processes // model.shards
            store = ScoreStore(folder.path / "store", depends_on, state.process_index // model.shards, n_groups)
        wait_for_all(state)  # all see the same results as missing
        config = asdict(model_arguments) | asdict(data_arguments) | asdict(arguments)
        if state.is_main_process:
            folder.write_json("config.json", config)
            for note in [*survey.source.notes, *survey.doubts, *survey.skipped, *store.damaged, *notes]:
                say(f"note: {note}")
        plan = SessionPlan(survey, Reading(arguments.protocol, context))
        model = replace(model, fingerprint=identity.fingerprint, kept=kept)
        worker = Worker(model, plan, store, state, tolerant=data_arguments.on_malformed == "skip")
        run = Measurement(folder, worker, data_arguments.data_seed)
        with Tracker(folder, tracking, config) if tracking else nullcontext():
            yield run
            run.failures = gather_failures(worker.failures)
            n_computed = sum(gather_object([worker.tokens_computed]))
            checked = dict.fromkeys(gather_object(list(worker.notes))) or _notes_of_self_check(folder)
            if state.is_main_process:
                totals = write_table(folder.path, run.outcomes(), model.shape)
                now = ScoringSpeed(
                    processes=state.num_processes,
                    tokens_computed_now=n_computed,
                    wall_seconds=round(time.monotonic() - started, 2),
                    **peak_memory(),
                )
                if engine:
                    now = replace(now, peak_gpu_memory_bytes=None)  # it has processes of its own
                record = ScoreRecord(
                    model=identity,
                    protocol=ScoredProtocol(arguments.protocol, model.max_tokens),
                    data=scored_data(plan, totals),
                    coverage={study: t.coverage for study, t in totals.items()},
                    context=depends_on.get("context"),
                    engine=engine.name if engine else None,
                    sample=run.sample.as_dict() if run.sample else None,
                    failed_sessions=tuple(reason for t in totals.values() for reason in t.failed),
                    speed=speed(totals, now),
                    notes=(*checked, *notes, *memory_notes(totals)),
                    provenance=provenance(),
                )
                folder.log(metrics(record))
                write_record(folder, record)
            store.close()
        wait_for_all(state)


def _notes_of_self_check(folder: RunFolder) -> list[str]:
    """Those of an earlier run into the folder, which loaded the model."""
    known = read_sound_json(folder.path / "run.json").get("notes")
    return [note for note in known if str(note).startswith("self-check:")] if isinstance(known, list) else []


def _model_to_score(
    model_arguments: ModelArguments, arguments: ScoreArguments, loaded: LoadedModel | None, engine: VllmEngine | None
) -> tuple[ModelToScore, tuple[str, ...]]:
    """The model before it is loaded, and what has to be said of it."""
    shape = countable_shape(loaded.model if loaded else model_arguments)
    config = loaded.model.config if loaded else load_config(model_arguments)
    window = usable_window(config, arguments.max_length)
    model = ModelToScore(
        model_arguments,
        loaded.tokenizer if loaded else load_tokenizer(model_arguments),
        None if isinstance(shape, str) else shape,
        window - 1 if engine else window,  # it has to generate a token
        arguments.chunk_tokens,
        loaded=loaded,
        long_options=arguments.long_options and not engine,
        batch_tokens=arguments.batch_tokens,
        shards=1 if engine else arguments.tensor_parallel,
        engine=engine,
    )
    of_base = () if loaded else base_notes(model_arguments)  # one in memory may have no name, or its folder be gone
    notes = (*of_base, *window_notes(config, arguments.max_length))
    return model, (*notes, *((shape,) if isinstance(shape, str) else ()))
