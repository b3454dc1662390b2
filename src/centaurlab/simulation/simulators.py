"""Published simulators: programs that tell an experiment to an agent, participant after participant.

The form is that of the collection Psych-301: a file ``simulate<i>.py`` of a study with a class whose
``simulate(agent, num_simulations)`` asks ``agent(prompt, choice_options)`` for every answer and returns a table of the
trials and the sessions' texts. What a participant meets is drawn from its number in that loop, so that a call is never
divided: it runs in a thread of its own, which goes on whenever its next answer is there.
"""

import hashlib
import inspect
import io
import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from tqdm.std import tqdm

from centaurlab.data.options import SessionOptions
from centaurlab.data.transcripts import CLOSE, HUMAN_RESPONSE, OPEN, Transcript, check_study_name
from centaurlab.runtime.errors import UserError, one_line
from centaurlab.runtime.limits import OutOfTimeError, time_limit
from centaurlab.runtime.own_file import files_of, run_file
from centaurlab.simulation.environments.environment import Environment
from centaurlab.simulation.play import SECONDS_PER_QUESTION, Play, PlayError, Question
from centaurlab.simulation.questions import OpenLoop

Agent: TypeAlias = Callable[..., str]
"""``agent(prompt, choice_options)``: the whole session so far and, where not anything can be said, what can be."""

_FILES = "simulate*.py"
_NAME = re.compile(r"(?P<study>[\w.-]+)_(?P<experiment>exp\w+)")
_MOST_QUESTIONS = 20_000
"""A participant who is asked more by a simulator that draws the answers by chance is asked without end."""
_ANY_WORDS = "1"
"""What is answered by chance where anything can be said: a word, and a number."""


@dataclass(frozen=True)
class Simulator:
    """An experiment as a program. ``digest``: SHA-256 of its file."""

    path: Path
    study: str
    experiment: str
    digest: str

    def call(self, agent: Agent, n: int) -> Any:
        """Run it with n participants, from its file anew: what one run changes in the program, no other sees."""
        return _task(self.path).simulate(agent, n)


def load_simulators(paths: Sequence[str]) -> list[Simulator]:
    """The simulators of files ``simulate<i>.py``, of folders with such, or of folders of such folders. They are run.

    Raises ``UserError`` where there is none, and for a file that cannot be run or is of another form.
    """
    found = [_load(path) for given in paths for path in files_of(Path(given), _FILES, "simulators")]
    names = [(one.study, one.experiment) for one in found]
    for one, name in zip(found, names, strict=True):
        if names.count(name) > 1:
            raise UserError(f"{one.path} is {' '.join(name)}, as another of the simulators; give each once")
    return found


def _load(path: Path) -> Simulator:
    with _Globals(0).in_place():
        task = _task(path)
    named = _NAME.fullmatch(str(getattr(task, "name", "")))
    study = check_study_name(named["study"] if named else path.resolve().parent.name, str(path))
    experiment = named["experiment"] if named else path.stem.replace("simulate", "exp", 1)
    return Simulator(path, study, experiment, hashlib.sha256(path.read_bytes()).hexdigest())


def _task(path: Path) -> Any:
    """An instance of the one class that simulates, of a module that nobody else has."""
    module = run_file(path, "simulator")
    own = [one for one in vars(module).values() if inspect.isclass(one) and one.__module__ == module.__name__]
    own = [one for one in own if not any(one in other.__mro__[1:] for other in own)]
    try:
        tasks: list[Any] = [one() for one in own if callable(getattr(one, "simulate", None))]
    except Exception as error:  # a program of others may fail in any way
        raise UserError(
            f"{path} fails when it is run: {type(error).__name__}: {one_line(error)}; correct it, or leave it out"
        ) from error
    if len(tasks) != 1:
        raise UserError(
            f"{path} has {len(tasks) or 'no'} class{'es' * (len(tasks) > 1)} with simulate(agent, num_simulations); "
            "a simulator has one"
        )
    return tasks[0]


class Experiment:
    """One call of a simulator with ``n`` participants, which stands still at the question that is open.

    ``number``: of the participant who is asked ``question``; None: the experiment has ended. ``told``: of each
    participant so far the session up to its last answer. ``table`` and ``texts``: what the simulator returned at its
    end, its texts whole sessions. ``failure``: why it cannot go on.
    """

    def __init__(self, simulator: Simulator, n: int, generator: np.random.Generator) -> None:
        self.number = -1
        self.question: Question | None = None
        self.told: list[str] = []
        self.table: pd.DataFrame | None = None
        self.texts: list[str] = []
        self.failure: str | None = None
        self._n = n
        self._answers: SimpleQueue[str | None] = SimpleQueue()
        self._said: SimpleQueue[_Asked | _Returned | BaseException] = SimpleQueue()
        self._globals = _Globals(int(generator.integers(2**32)))
        self._thread = Thread(target=self._run, args=(simulator.call,), daemon=True)
        self._take(self._next(self._thread.start))

    def play(self, number: int) -> Play:
        """The questions of a participant, whose turn it is."""
        while self.number == number and self.question is not None:
            self.answer((yield self.question))
        return ""

    def answer(self, answer: str) -> None:
        """Answer the question that is open. Raises ``PlayError`` where the simulator fails, or loses the session."""
        self.told[-1] += f"{answer}{CLOSE}"
        self._take(self._next(lambda: self._answers.put(answer)))

    def leave(self) -> None:
        """Ask for nothing more."""
        self.question = None
        self._answers.put(None)

    def _run(self, call: Callable[[Agent, int], Any]) -> None:
        def agent(prompt: object, choice_options: Sequence[object] | None = None) -> str:
            self._said.put(_Asked(str(prompt), choice_options))
            answer = self._answers.get()
            if answer is None:
                raise _LeftError
            return answer

        try:
            self._said.put(_Returned(call(agent, self._n)))
        except _LeftError:
            return
        except BaseException as error:  # noqa: BLE001, raised again where the next question is asked for
            self._said.put(error)

    def _next(self, go_on: Callable[[], object]) -> "_Asked | _Returned":
        try:
            with time_limit(SECONDS_PER_QUESTION), self._globals.in_place():
                go_on()
                said = self._said.get()
        except OutOfTimeError as error:
            raise PlayError(
                f"its simulator has thought for {SECONDS_PER_QUESTION:g} seconds and asks no further question"
            ) from error
        if isinstance(said, BaseException):
            raise PlayError(f"its simulator fails ({type(said).__name__}: {one_line(said)})") from said
        return said

    def _take(self, said: "_Asked | _Returned") -> None:
        if isinstance(said, _Returned):
            self.question = None
            self.table, self.texts = self._results(said.result)
            return
        prompt = _in_angles(said.prompt)
        if not prompt.endswith(OPEN):
            raise PlayError(
                f"its simulator asks for an answer after {prompt[-40:]!r}; a prompt has to end with {HUMAN_RESPONSE[0]}"
            )
        if not self.told or not prompt.startswith(self.told[-1]):
            if CLOSE in prompt or prompt.count(OPEN) > 1:
                raise PlayError(
                    f"its simulator's prompt does not go on from what was said before, which ends with "
                    f"{self.told[-1][-40:] if self.told else ''!r}; it tells {_difference(prompt, self.told)!r}"
                )
            self.number += 1
            self.told.append("")
            if self.number == self._n:
                raise PlayError(f"its simulator begins another session after those of its {self._n} participants")
        text = prompt.removeprefix(self.told[-1]).removesuffix(OPEN)
        if not text or OPEN in text or CLOSE in text:
            raise PlayError(
                f"its simulator tells {text[-40:]!r} before an answer; it has to tell words without markers"
            )
        self.question = Question(text, _options(said.options))
        self.told[-1] = prompt

    def _results(self, result: Any) -> tuple[pd.DataFrame, list[str]]:
        """Table and whole texts. Raises ``PlayError`` where they are not of the sessions that were told."""
        if not (isinstance(result, tuple) and len(result) == 2 and isinstance(result[0], pd.DataFrame)):
            raise PlayError("its simulator returns no (table, texts of sessions)")
        table, texts = result[0], [_in_angles(str(text)) for text in result[1]]
        if not len(texts) == len(self.told) == self._n:
            raise PlayError(
                f"its simulator returns {len(texts)} sessions of {self._n} participants, and asked {len(self.told)}"
            )
        whole = []
        for told, text in zip(self.told, texts, strict=True):
            if not text.lstrip().startswith(told.lstrip()):
                raise PlayError(
                    f"its simulator returns another session than it told, with {_difference(text, [told])!r}"
                )
            end = text.lstrip().removeprefix(told.lstrip())
            if OPEN in end or CLOSE in end:
                raise PlayError(f"its simulator tells {end[:40]!r} after the last answer, with a marker")
            whole.append(told + end)
        return table, whole


@dataclass(frozen=True)
class _Asked:
    prompt: str
    options: Sequence[object] | None


@dataclass(frozen=True)
class _Returned:
    result: Any


class _LeftError(BaseException):
    """Nobody asks for the next question any more; no ``except Exception`` of a simulator's own stops it."""


class _Nowhere(io.TextIOBase):
    """Takes what is written to it."""

    def write(self, text: str) -> int:
        return len(text)


_NOWHERE = _Nowhere()


@contextmanager
def _without_bars() -> Iterator[None]:
    """Have bars that begin here not be drawn, nor take the place of ours."""
    begin = tqdm.__init__

    def unseen(bar: Any, *args: Any, **options: Any) -> None:
        begin(bar, *args, **{**options, "disable": True})

    tqdm.__init__ = unseen
    try:
        yield
    finally:
        tqdm.__init__ = begin


class _Globals:
    """The states of the global generators that belong to one simulator."""

    def __init__(self, seed: int) -> None:
        self._states = random.Random(seed).getstate(), np.random.RandomState(seed).get_state()

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Have the global generators go on from the simulator's own states; its prints and bars are left aside."""
        outer = random.getstate(), np.random.get_state()
        random.setstate(self._states[0])
        np.random.set_state(self._states[1])
        try:
            with redirect_stdout(_NOWHERE), redirect_stderr(_NOWHERE), _without_bars():
                yield
        finally:
            self._states = random.getstate(), np.random.get_state()
            random.setstate(outer[0])
            np.random.set_state(outer[1])


def _options(offered: Any) -> tuple[str, ...] | None:
    """What can be answered, each once; None: anything."""
    if offered is None:
        return None
    try:
        options = tuple(dict.fromkeys(map(str, offered)))
    except TypeError:
        options = ()
    if not options or not all(options) or any(OPEN in option or CLOSE in option for option in options):
        raise PlayError(
            f"its simulator offers {str(offered)[:80]}; choice_options has to be a list of answers, or None"
        )
    return options


def _in_angles(text: str) -> str:
    """The text with the markers that are read everywhere, also where a response is still open."""
    for mine, theirs in zip((OPEN, CLOSE), HUMAN_RESPONSE, strict=True):
        text = text.replace(theirs, mine)
    return text


def _difference(text: str, told: Sequence[str]) -> str:
    """Where a text leaves what was told."""
    before = told[-1] if told else ""
    place = next((n for n, (a, b) in enumerate(zip(text, before, strict=False)) if a != b), min(len(text), len(before)))
    return text[max(0, place - 20) : place + 20]


def participants(simulator: Simulator, n: int) -> list[OpenLoop]:
    """The sessions of an experiment, as answered by chance: who is asked how much, and what can be answered.

    Raises ``UserError`` where the simulator fails, loses a session, or does not end.
    """
    rng = np.random.default_rng(0)
    offered: list[list[tuple[str, ...] | None]] = []
    experiment = None
    try:
        experiment = Experiment(simulator, n, rng)
        while (question := experiment.question) is not None:
            if experiment.number == len(offered):
                offered.append([])
            offered[-1].append(question.options)
            if len(offered[-1]) > _MOST_QUESTIONS:
                raise PlayError(f"its simulator has asked {_MOST_QUESTIONS:,} questions and does not end")
            experiment.answer(str(rng.choice(question.options or (_ANY_WORDS,))))
    except PlayError as error:
        raise UserError(
            f"{simulator.path}: participant {max(0, len(offered) - 1)}, answered by chance: {error}; correct it, or "
            "leave it out"
        ) from error
    finally:
        if experiment is not None:
            experiment.leave()
    return [_participant(simulator, k, text, offered[k]) for k, text in enumerate(experiment.texts)]


def _participant(simulator: Simulator, number: int, text: str, offered: Sequence[tuple[str, ...] | None]) -> OpenLoop:
    sets: Mapping[tuple[str, ...], int] = {
        options: i for i, options in enumerate(dict.fromkeys(one for one in offered if one is not None))
    }
    set_R = np.array([-1 if one is None else sets[one] for one in offered], np.int32)
    options = SessionOptions("simulator", tuple(sets), set_R, (None,) * len(offered))
    name = f"{simulator.experiment}-{number}"  # the tenth of one experiment is nobody of another
    told = Transcript(text, simulator.study, simulator.experiment, name, {}, str(simulator.path))
    return OpenLoop(told, None, options, "environment", program=simulator.digest)


def of_experiment(session: OpenLoop, experiment: Experiment) -> OpenLoop:
    """The session of the participant whose turn it is."""
    number = experiment.number
    play = Environment(session.transcript.study, lambda _session, _chance: experiment.play(number))
    return replace(session, environment=play)
