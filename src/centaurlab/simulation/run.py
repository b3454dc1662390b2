"""Let a model answer people's sessions anew: data and model in, sessions in the people's own format out.

The people are divided among the processes of ``accelerate launch``; each simulated session is durable at once. At the
end ``simulated.jsonl.gz`` (ordinary transcripts, ``participant`` with ``#r`` and the replicate), ``simulated.parquet``
(a row per answer) and ``run.json`` are written. Given again, the same command simulates only what is missing.
"""

import hashlib
import json
import sys
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from functools import partial
from pathlib import Path

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list, gather_object
from tqdm.auto import tqdm
from transformers import PreTrainedTokenizerBase

from centaurlab.catalog.studies import load_studies
from centaurlab.data.held_out import check_held_out
from centaurlab.data.options import cut_at_responses, shared_labels
from centaurlab.data.persons import find_persons
from centaurlab.data.source import DataArguments, TranscriptSource, open_source
from centaurlab.data.transcripts import CLOSE, SessionKey, Transcript
from centaurlab.models.arguments import ModelArguments
from centaurlab.models.checkpoints import base_notes
from centaurlab.models.identity import identify
from centaurlab.models.loading import load_config, load_model, load_tokenizer
from centaurlab.models.shape import usable_window, window_notes
from centaurlab.runs.folder import WRITTEN, RunFolder
from centaurlab.runs.tracker import Tracker, TrackingArguments
from centaurlab.runtime.errors import IncompleteError, UserError
from centaurlab.runtime.own_file import own_digest
from centaurlab.runtime.processes import end_with_launcher
from centaurlab.runtime.terminal import say
from centaurlab.scoring.failures import wait_for_all
from centaurlab.scoring.order import divide
from centaurlab.scoring.scorer import is_out_of_memory
from centaurlab.simulation.arguments import MAX_NEW_TOKENS, USUAL_NEW_TOKENS, SimulateArguments
from centaurlab.simulation.environments.find import load_environments
from centaurlab.simulation.experiments import Run, designs, play_runs, write_tables
from centaurlab.simulation.output import Outcome, write_output
from centaurlab.simulation.packed import PackedModel
from centaurlab.simulation.play import AnswerError, PlayError
from centaurlab.simulation.player import Person, Player, Settings, Simulated
from centaurlab.simulation.questions import OpenLoop, open_loop
from centaurlab.simulation.store import SimulationStore

_PATIENCE = timedelta(days=14)  # of processes that wait for the slowest
_SESSIONS_AT_ONCE = {"cpu": 32}
_SESSIONS_AT_ONCE_GPU = 128
_CHARACTERS_PER_PASS = 16
"""What an answer predicted costs, in characters read: Gemma 3 270M on a CPU."""


def simulate(
    model_arguments: ModelArguments,
    data_arguments: DataArguments,
    arguments: SimulateArguments,
    tracking: TrackingArguments | None = None,
    chosen: frozenset[SessionKey] | None = None,
) -> Path:
    """Answer every session of the data anew; call it on every process of the launch.

    Parameters
    ----------
    model_arguments, data_arguments
        Which model, and whose sessions.
    arguments
        How often, how, and into which folder.
    tracking
        The trackers that the run is mirrored to; None: none.
    chosen
        Which sessions are answered; None: those that the data arguments select.

    Returns
    -------
    Path
        ``arguments.output_dir``.

    Raises
    ------
    UserError
        For whatever a user can mend, such as a study whose feedback answers what was done, or an environment that
        fails; what fails late loses no other session.
    IncompleteError
        When all is written but sessions that could not be simulated.
    """
    started = time.monotonic()
    end_with_launcher()
    state = PartialState(cpu=not torch.accelerator.is_available(), timeout=_PATIENCE)
    folder = RunFolder(Path(arguments.output_dir), "simulate")
    with folder.lock() if state.is_main_process else nullcontext():
        wait_for_all(state)
        skipped: list[str] = []
        of_data: Sequence[str] = ()
        if asked := designs(arguments, data_arguments):
            data_arguments = replace(data_arguments, data=" ".join(arguments.simulators or ()))
            sessions = [session for one in asked for session in one.sessions]
            tokenizer: PreTrainedTokenizerBase = load_tokenizer(model_arguments)
            persons = find_persons((session.transcript.key, {}) for session in sessions)
        else:
            source = open_source(data_arguments, chosen)
            models = (model_arguments.model_name_or_path, model_arguments.adapter_name_or_path)
            check_held_out(models, data_arguments, source)
            sessions, tokenizer, skipped = _questions(model_arguments, data_arguments, source, arguments)
            persons, of_data = source.persons, source.notes
        model_config = load_config(model_arguments)
        max_tokens = usable_window(model_config, arguments.max_length)
        settings = Settings(arguments.seed, arguments.temperature, max_tokens, arguments.n_new_tokens)
        with state.main_process_first():
            identity = identify(model_arguments)
            notes = [*of_data, *base_notes(model_arguments), *window_notes(model_config, arguments.max_length)]
            notes += _unreadable(sessions)
            depends_on = {"model": identity.as_dict()} | asdict(settings) | _own_files(data_arguments, arguments)
            store = SimulationStore(folder.path / "store", depends_on, state.process_index)
        wait_for_all(state)
        known = store.read()
        wait_for_all(state)  # all see the same sessions as missing
        config = asdict(model_arguments) | asdict(data_arguments) | asdict(arguments)
        if state.is_main_process:
            folder.write_json("config.json", config)
            for note in [*skipped, *notes]:
                say(f"note: {note}")
            _say_fits(sessions)
        with Tracker(folder, tracking, config) if tracking else nullcontext():
            work = _Work(store, model_arguments.model_name_or_path, {})
            people = [_missing(session, arguments.replicates, known.keys()) for session in sessions]
            runs = [
                Run(one, n, [known.get(_digest(session, n)) for session in one.sessions])
                for one in asked
                for n in range(1, arguments.replicates + 1)
            ]
            mine = _share([] if runs else [person for person in people if person.replicates], state)
            # A simulator without seeds costs otherwise in each process, and all have to divide alike.
            costs = [float(sum(map(_cost, one.design.sessions))) for one in runs]
            costs = broadcast_object_list(costs) if costs else []
            my_runs = [runs[i] for i in divide(costs, state.num_processes)[state.process_index]]
            for one in my_runs:
                one.begin(settings.seed)
            n_computed = 0
            if mine or any(one.next_session for one in my_runs):
                model = PackedModel(load_model(model_arguments, state.device))
                at_once = arguments.sessions_at_once or _SESSIONS_AT_ONCE.get(state.device.type, _SESSIONS_AT_ONCE_GPU)
                player = Player(model, tokenizer, settings, at_once)
                total = sum(person.session.n_answers * len(person.replicates) for person in mine)
                with _bar(total + sum(one.n_missing for one in my_runs), at_once, state) as bar:
                    keep = partial(work.keep, bar)
                    player.play(mine, keep)
                    play_runs(player, my_runs, keep)
                n_computed = model.tokens_computed
            for one in my_runs:
                work.failures.update({_digest(session, one.number): why for session, why in one.not_asked()})
            failures = {name: why for part in gather_object([work.failures]) for name, why in part.items()}
            n_computed = sum(gather_object([n_computed]))
            ended = [one for part in gather_object([[one.ended for one in my_runs if one.ended]]) for one in part]
            if state.is_main_process:
                found = store.read()
                written = write_tables(folder, ended)
                whole = {(key, one.number): text for one in ended for key, text in one.texts.items()}
                outcomes = [
                    Outcome(session, number, simulated, str(failures[digest]) if digest in failures else None)
                    for session in sessions
                    for number in range(1, arguments.replicates + 1)
                    for digest in [_digest(session, number)]
                    for simulated in [_whole(found.get(digest), whole.get((session.transcript.key, number)))]
                ]
                speed = {
                    "processes": state.num_processes,
                    "tokens_computed_now": n_computed,
                    "wall_seconds": round(time.monotonic() - started, 2),
                }
                about = {
                    "model": identity.as_dict(),
                    "simulation": asdict(arguments) | asdict(settings),
                    "speed": speed,
                    "skipped_sessions": skipped,
                    WRITTEN: written,
                }
                write_output(folder, data_arguments.data, persons, outcomes, {**about, "notes": notes})
        wait_for_all(state)
    if failures:
        why = next(
            (error for error in failures.values() if isinstance(error, PlayError)), next(iter(failures.values()))
        )
        said = (
            f"{len(failures)} session{'s' * (len(failures) > 1)} could not be simulated, and the folder holds the "
            f"others; {why}"
        )
        if isinstance(why, PlayError):
            what = "simulator" if asked else "environment"
            raise UserError(f"{said}; correct the {what}, and give another --output_dir")
        raise IncompleteError(said)
    return folder.path


def check_simulated(
    model_arguments: ModelArguments,
    data_arguments: DataArguments,
    arguments: SimulateArguments,
    chosen: frozenset[SessionKey],
) -> None:
    """Raise ``UserError`` where ``simulate`` would for what is known of the sessions before a model is loaded."""
    _questions(model_arguments, data_arguments, open_source(data_arguments, chosen), arguments)


def _questions(
    model_arguments: ModelArguments,
    data_arguments: DataArguments,
    source: TranscriptSource,
    arguments: SimulateArguments,
) -> tuple[list[OpenLoop], PreTrainedTokenizerBase, list[str]]:
    """Every session as questions; and which sessions are left out as malformed, and why."""
    read = list(source.read())
    sessions = _sessions(data_arguments, [one for one in read if isinstance(one, Transcript)], arguments)
    tokenizer = load_tokenizer(model_arguments)
    if arguments.max_new_tokens is None:
        _check_words(sessions, tokenizer)
    return sessions, tokenizer, [str(one) for one in read if not isinstance(one, Transcript)]


@dataclass(frozen=True)
class _Work:
    """Where what has ended goes; ``failures``: why sessions could not be simulated, by digest."""

    store: SimulationStore
    model: str
    failures: dict[str, AnswerError]

    def keep(self, bar: "tqdm[object]", person: Person, replicate: int, ended: Simulated | AnswerError) -> None:
        digest = _digest(person.session, replicate)
        bar.update(person.session.n_answers)
        if isinstance(ended, Simulated):
            self.store.add(digest, ended)
            return
        origin = person.session.transcript.origin
        self.failures[digest] = type(ended)(f"{self.model}: {origin}: {person.key}, replicate {replicate}: {ended}")
        tqdm.write(f"not simulated: {self.failures[digest]}", file=sys.stderr)


@contextmanager
def _bar(total: int, at_once: int, state: PartialState) -> Iterator["tqdm[object]"]:
    """A progress bar over answers, around what may need more memory than there is."""
    with tqdm(desc="simulating", total=total, unit="answer", disable=not state.is_main_process) as bar:
        try:
            yield bar
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise UserError(
                f"memory does not suffice for {at_once} sessions at once; give --sessions_at_once "
                f"{max(1, at_once // 4)}: what is simulated is kept, and answers do not depend on it"
            ) from error


def _whole(simulated: Simulated | None, text: str | None) -> Simulated | None:
    """A session with what a simulator told after its last answer."""
    return replace(simulated, text=text) if simulated and text else simulated


def _sessions(data: DataArguments, transcripts: Sequence[Transcript], arguments: SimulateArguments) -> list[OpenLoop]:
    """Every session as questions. Raises ``UserError`` where nobody knows what would follow from an answer."""
    own_studies = load_studies(Path(data.study_module)) if data.study_module else None
    environments = load_environments(Path(arguments.environment)) if arguments.environment else {}
    if unknown := sorted(environments.keys() - {transcript.study for transcript in transcripts}):
        raise UserError(
            f"{arguments.environment} has an environment of {unknown[0]!r}, of which {data.data} has no session; name "
            "it as its study is named there"
        )
    labels = shared_labels(transcripts, own_studies)
    sessions = [open_loop(one, labels, own_studies, arguments.yoked, environments) for one in transcripts]
    for study in (study for study, environment in environments.items() if environment.of_options):
        numbers = sorted({len(one.options.sets[0]) for one in sessions if one.transcript.study == study})
        if len(numbers) > 1:
            raise UserError(
                f"people of {study} gave {numbers[0]} to {numbers[-1]} different answers, which does not show what "
                "could be chosen; name it in its environment, such as options=('J', 'F')"
            )
    return sessions


def _check_words(sessions: list[OpenLoop], tokenizer: PreTrainedTokenizerBase) -> None:
    """Raise ``UserError`` where people used more words than the model would be let say."""
    n_closing = len(tokenizer(CLOSE, add_special_tokens=False)["input_ids"])
    said: dict[str, set[str]] = {}
    for session in sessions:
        _, answers = cut_at_responses(session.transcript.text)
        words = {
            answer
            for number, answer in enumerate(answers)
            if session.options.of(number) is None and len(answer.encode()) + n_closing > USUAL_NEW_TOKENS
        }
        said.setdefault(session.transcript.study, set()).update(words)
    longest = {
        study: n_closing + max(map(len, tokenizer(sorted(words), add_special_tokens=False)["input_ids"]))
        for study, words in said.items()
        if words
    }
    study = max(longest, key=longest.__getitem__, default=None)
    if study is not None and longest[study] > USUAL_NEW_TOKENS:
        raise UserError(
            f"people gave answers of up to {longest[study]} tokens in {study}, with the '>>' that ends them, and the "
            f"model's would be cut off after {USUAL_NEW_TOKENS}; give --max_new_tokens "
            f"{min(MAX_NEW_TOKENS, longest[study])}"
        )


def _own_files(data: DataArguments, arguments: SimulateArguments) -> dict[str, str | None]:
    """The digests of the user's own environments and studies: with others, sessions would be others."""
    of_studies = {"study_module": own_digest(data.study_module)} if data.study_module else {}
    return {"environment": own_digest(arguments.environment)} | of_studies


def _say_fits(sessions: list[OpenLoop]) -> None:
    studies = sorted({(session.transcript.study, session.fit) for session in sessions})
    said = {
        "approximate": "what others did stays what they did in the person's session",
        "yoked": "what is told after an answer is what followed from the person's answer, not the model's (--yoked)",
        "unknown": "no module that reads the text says whether it answers what was done; what is told is the person's",
    }
    for fit, words in said.items():
        if named := [study for study, of_study in studies if of_study == fit]:
            say(f"note: {', '.join(named)}: {words}")


def _unreadable(sessions: list[OpenLoop]) -> list[str]:
    """Which studies have sessions that their modules cannot read, and why one could not be."""
    of_study: dict[str, list[str | None]] = {}
    for session in sessions:
        of_study.setdefault(session.transcript.study, []).append(session.options.problem)
    return [
        f"{study}: its module cannot read {len(known):,} of {len(problems):,} sessions ({known[0]}); their options are "
        "their own answers"
        for study, problems in of_study.items()
        if (known := [problem for problem in problems if problem])
    ]


def _missing(session: OpenLoop, replicates: int, known: Collection[str]) -> Person:
    missing = tuple(n for n in range(1, replicates + 1) if _digest(session, n) not in known)
    return Person(session.transcript.key, session, missing)


def _share(people: list[Person], state: PartialState) -> list[Person]:
    """This process's share of the people; every process divides alike."""
    costs = [float(_cost(person.session) * len(person.replicates)) for person in people]
    return [people[i] for i in divide(costs, state.num_processes)[state.process_index]]


def _cost(session: OpenLoop) -> int:
    """What one replicate costs, in characters that are read."""
    return len(session.transcript.text) + _CHARACTERS_PER_PASS * session.n_passes


def _digest(session: OpenLoop, replicate: int) -> str:
    """What a simulated session depends on beside the store's identity: who, whose text, which options, which run.

    Of a simulator it is the program; what that told when answered by chance may be other each time.
    """
    told = session.transcript
    asked = [session.program] if session.program else [told.text, session.options.digest()]
    named = [told.study, told.experiment, told.participant, *asked, session.fit, replicate]
    return hashlib.sha256(json.dumps(named).encode()).hexdigest()
