"""A simulator that calls an agent, ``simulate(agent, n)``, as an environment that is asked for its next question.

It runs in a thread of its own, of which one at a time goes on. What it draws from Python's and NumPy's global
generators belongs to its session, whatever is simulated beside it.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeAlias

import numpy as np

from centaurlab.data.transcripts import CLOSE, OPEN, Transcript
from centaurlab.simulation.environments.environment import Environment
from centaurlab.simulation.play import Chance, Play, PlayError, Question

Agent: TypeAlias = Callable[..., str]
"""``agent(prompt, choice_options)``: all that was said so far and, where not anything can be said, what can be."""


def simulator(study: str, simulate: Callable[[Agent, int], Any]) -> Environment:
    """``simulate(agent, 1)`` in the place of each person's session of ``study``.

    A prompt goes on from the one before and the answer to that, ``<<answer>>``, and may end with ``<<``; one that does
    not is a ``PlayError``. What ``simulate`` returns is left aside.
    """

    def play(session: Transcript, chance: Chance) -> Play:
        return _play(simulate, chance)

    return Environment(study, play)


class _LeftError(BaseException):
    """Nobody asks for the next question any more; no ``except Exception`` of a simulator's own stops it."""


def _play(simulate: Callable[[Agent, int], Any], chance: Chance) -> Play:
    asked: SimpleQueue[tuple[object, Sequence[object] | None] | BaseException | None] = SimpleQueue()
    answers: SimpleQueue[str | None] = SimpleQueue()

    def agent(prompt: object, choice_options: Sequence[object] | None = None) -> str:
        asked.put((prompt, choice_options))
        answer = answers.get()
        if answer is None:
            raise _LeftError
        return answer

    def run() -> None:
        try:
            simulate(agent, 1)
        except _LeftError:
            return
        except BaseException as error:  # noqa: BLE001, raised again where the session is asked for its next question
            asked.put(error)
        else:
            asked.put(None)

    own = _Globals(int(chance.generator.integers(2**32)))
    thread = Thread(target=run, daemon=True)
    told = ""
    try:
        with own.in_place():
            thread.start()
            said = asked.get()
        while said is not None:
            if isinstance(said, BaseException):
                raise said
            prompt, offered = str(said[0]).removesuffix(OPEN), said[1]
            if not prompt.startswith(told):
                raise PlayError(
                    f"its simulator's prompt does not go on from what was said before, which ends with {told[-40:]!r}; "
                    "pass the agent the whole session so far, with each answer as <<answer>>"
                )
            text = prompt.removeprefix(told)
            answer = yield Question(text, None if offered is None else tuple(map(str, offered)))
            told += f"{text}{OPEN}{answer}{CLOSE}"
            with own.in_place():
                answers.put(answer)
                said = asked.get()
    finally:
        answers.put(None)
    return ""


class _Globals:
    """The states of the global generators that belong to one simulator."""

    def __init__(self, seed: int) -> None:
        self._states = random.Random(seed).getstate(), np.random.RandomState(seed).get_state()

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Have the global generators go on from the simulator's own states."""
        outer = random.getstate(), np.random.get_state()
        random.setstate(self._states[0])
        np.random.set_state(self._states[1])
        try:
            yield
        finally:
            self._states = random.getstate(), np.random.get_state()
            random.setstate(outer[0])
            np.random.set_state(outer[1])
