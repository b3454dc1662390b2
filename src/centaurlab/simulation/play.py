"""A session as questions, one after another, and what happens in it beside the answers.

Whoever answers, a model or a person whose answers are replayed, is sent one question at a time and sends back one
answer, so that hundreds of sessions wait for one pass through a model. Text is only ever added.
"""

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

import numpy as np

from centaurlab.data.transcripts import CLOSE, OPEN
from centaurlab.runtime.limits import OutOfTimeError, time_limit

Value = TypeVar("Value")
SECONDS_PER_QUESTION = 60.0
"""An environment that thinks longer before it asks does not end."""


class AnswerError(ValueError):
    """A session that cannot be simulated, while others may be: says which answer, and why."""


DRAWS_APART = "its environment draws apart from chance.generator and chance.shared, and tells another session each time"


class PlayError(AnswerError):
    """A session that cannot go on as it began: its environment fails, or never ends."""


@dataclass(frozen=True)
class Question:
    """What is told since the last answer, without markers, and what can be answered; None: any words.

    ``after``: the text that will follow the answer, where it is known already.
    """

    text: str
    options: tuple[str, ...] | None
    after: str = ""


Play: TypeAlias = Generator[Question, str, str]
"""Yields questions, is sent answers, and returns the text after the last answer."""


class Chance:
    """What happens in one simulated session beside its answers.

    ``generator`` is the session's own. ``shared`` begins anew, and alike, in every session of the study: what all
    people met, such as how rewards changed, is drawn from it.
    """

    def __init__(self, generator: np.random.Generator, shared: np.random.Generator) -> None:
        self.generator = generator
        self.shared = shared

    def told(self, name: str, drawn: Value) -> Value:
        """What is told of something that was ``drawn``: the same, unless a person's session is replayed."""
        return drawn


class Recorded(Chance):
    """What happened to a person, by name and in order, in place of what is drawn."""

    def __init__(self, happened: Mapping[str, Sequence[object]]) -> None:
        super().__init__(np.random.default_rng(0), np.random.default_rng(0))
        self._happened: dict[str, Iterator[object]] = {name: iter(values) for name, values in happened.items()}

    def told(self, name: str, drawn: Value) -> Value:
        """What the person was told; ``PlayError`` where the person was told less often."""
        try:
            return next(self._happened[name])  # type: ignore[return-value]
        except (KeyError, StopIteration):
            raise PlayError(f"the person's session has no further {name}") from None


def watched(play: Play, most_questions: int) -> Play:
    """``play``, of which whatever fails, and that it does not end, is a ``PlayError``."""
    reply: str | None = None
    for _ in range(most_questions):
        try:
            with time_limit(SECONDS_PER_QUESTION):
                question = next(play) if reply is None else play.send(reply)
        except StopIteration as ended:
            return str(ended.value or "")
        except OutOfTimeError as error:
            raise PlayError(
                f"its environment has thought for {SECONDS_PER_QUESTION:g} seconds and asks no further question; yield "
                "the next, or return after the last"
            ) from error
        except Exception as error:  # an environment may be a user's own
            raise PlayError(f"its environment fails ({type(error).__name__}: {error})") from error
        if not _is_question(question):
            raise PlayError(
                f"its environment yields {str(question)[:80]!r}, which is no question; yield Question(text, options): "
                "a text without markers, and a tuple of different options, or None"
            )
        reply = yield question
    raise PlayError(f"its environment has asked {most_questions} questions and does not end; return after the last")


def _is_question(question: object) -> bool:
    if not isinstance(question, Question) or not isinstance(question.text, str) or not question.text:
        return False
    offered = question.options
    is_offer = offered is None or (
        isinstance(offered, tuple)
        and len(offered) == len(set(offered)) > 0
        and all(isinstance(option, str) and option for option in offered)
    )
    return is_offer and not any(
        marker in part for marker in (OPEN, CLOSE) for part in (question.text, *(offered or ()))
    )


def replay(play: Play, answers: Sequence[str]) -> str:
    """The text of a session whose questions are answered with ``answers``, with markers."""
    text, reply = "", None
    try:
        for answer in (*answers, None):
            question = next(play) if reply is None else play.send(reply)
            if answer is None:
                return f"{text}{question.text}{OPEN}"
            text += f"{question.text}{OPEN}{answer}{CLOSE}"
            reply = answer
    except StopIteration as ended:
        return text + str(ended.value or "")
    return text


def rehearse(play: Play, said: Sequence[str], rng: np.random.Generator) -> list[Question | str]:
    """Answer all questions of a session by chance, with words from ``said`` where anything can be said.

    What was asked, and the text after the last answer.

    Raises ``PlayError`` where the session's environment asks nothing, fails with these answers, or does not end.
    """
    try:
        question = next(play)
    except StopIteration:
        raise PlayError("its environment asks nothing") from None
    asked: list[Question | str] = [question]
    try:
        while True:
            question = play.send(str(rng.choice(question.options or said or ("word",))))
            asked.append(question)
    except StopIteration as ended:
        return [*asked, str(ended.value)]
