"""The text of a session, response by response, into what was asked, what could be answered, and what it meant.

A study gives one function, ``ask``: the text since the last response, the trials so far and the session's opening
in; the options offered, what each means and the stimuli out. It never sees the answer that it is asked about or
anything after it, so that an option set cannot depend on what a person went on to say; and it needs no look back
into the text, so that a simulation can ask it again after each answer of its own.
"""

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

Value = str | float | tuple["Value", ...]
"""A stimulus or an outcome. A tuple as long as the options holds one value per option, in their order."""

Feedback = Literal["none", "full", "contingent", "branching"]
"""What the text after an answer depends on: nothing that was done; outcomes that are shown whatever was chosen;
the answer; or the answer, with other questions following."""


class UnreadableError(ValueError):
    """The text is not told as the study's module expects: it is of another study, or was told anew."""


@dataclass(frozen=True, kw_only=True)
class Ask:
    """What a person was asked, known before the answer.

    ``options``: each as it would stand between the markers; None where any word or number could be said.
    ``roles``: what each option means, in the same order; where None, the options speak for themselves.
    ``kind``: which of the study's questions this is. ``block``: None as before. ``continues``: whether it belongs
    to the trial of the response before it. ``item``: what recurs over people; None where there is no such thing, as
    in learning tasks, where a trial is its history.
    """

    options: tuple[str, ...] | None
    roles: tuple[str, ...] | None = None
    kind: str = "choice"
    block: int | None = None
    continues: bool = False
    stimuli: Mapping[str, Value] = field(default_factory=dict)
    item: str | None = None

    def __post_init__(self) -> None:
        if self.options is not None and (not self.options or len(set(self.options)) < len(self.options)):
            raise ValueError(f"options are to be different ones, or None, not {self.options}")
        if self.roles is not None and len(self.roles) != len(self.options or ()):
            raise ValueError(f"{len(self.roles)} roles for {len(self.options or ())} options")

    def role_of(self, answer: str) -> str | None:
        """What ``answer`` means; None where it is none of the options."""
        if self.options is None or answer not in self.options:
            return None
        return (self.roles or self.options)[self.options.index(answer)]


@dataclass(frozen=True, kw_only=True)
class Trial(Ask):
    """One response and all that is known of it.

    ``trial`` counts from 1 over the session; the responses of one trial share it. ``after``: the text up to the next
    response, where ``outcome`` was read. ``role``: of the answer; studies with open answers may class them here.
    """

    answer: str
    role: str | None
    trial: int
    after: str
    outcome: Mapping[str, Value] = field(default_factory=dict)


def _nothing_to_add(trials: list[Trial]) -> list[Trial]:
    return trials


@dataclass(frozen=True)
class Study:
    """What is known of one study.

    ``ask(segment, past, opening)`` gives what the next response answers: ``segment`` is the text since the response
    before it, ``opening`` the text before the first response (there, both are the same).
    ``first_trial``: a regular expression that finds in the opening where instructions end and the first trial begins.
    ``finish``: fills in outcomes, and roles that only a whole session shows; it changes no option.
    ``also_called``: other names of the study; published data sets spell some in several ways. ``effects``: what the
    study is known for, by name, as a number of one session; NaN where the session does not have it.
    """

    name: str
    ask: Callable[[str, Sequence[Trial], str], Ask]
    first_trial: str
    feedback: Feedback = "none"
    finish: Callable[[list[Trial]], list[Trial]] = _nothing_to_add
    also_called: tuple[str, ...] = ()
    effects: Mapping[str, Callable[[Sequence[Trial]], float]] = field(default_factory=dict, hash=False)
    drawn_order: bool = False


def read_trials(study: Study, segments: Sequence[str], answers: Sequence[str]) -> list[Trial]:
    """One trial record per response of a session.

    Parameters
    ----------
    study
        The study's module.
    segments
        The text before, between and after the responses, without markers: one more than ``answers``.
    answers
        What stands between the markers, unchanged.

    Raises
    ------
    UnreadableError
        The text is not told as the module expects; the message names the response, counted from 1.
    """
    past: list[Trial] = []
    for segment, answer, after in zip(segments, answers, segments[1:], strict=False):
        past.append(answered(ask_next(study, segment, past, segments[0]), past, answer, after))
    with _saying_where("the session as a whole"):
        return study.finish(past)


def ask_next(study: Study, segment: str, past: Sequence[Trial], opening: str) -> Ask:
    """What the next response answers, as ``Study.ask`` has it; ``UnreadableError`` names the response."""
    with _saying_where(f"response {len(past) + 1}"):
        return study.ask(segment, past, opening)


def answered(asked: Ask, past: Sequence[Trial], answer: str, after: str) -> Trial:
    """``asked`` as a trial record, once it is answered; what it leaves open is as in the trial before.

    Spaces around words are left out: models whose tokens are words begin with one, and say the same.
    """
    answer = answer.strip() if asked.options is None else answer
    number = past[-1].trial + (not asked.continues) if past else 1
    block = (past[-1].block if past else 1) if asked.block is None else asked.block
    known = {**vars(asked), "block": block}
    return Trial(**known, answer=answer, role=asked.role_of(answer), trial=number, after=after)


def instructions(study: Study, opening: str) -> str:
    """The part of the text before the first response that tells the task; the rest of it is the first trial."""
    return opening[: search(study.first_trial, opening).start()]


def search(pattern: str, text: str) -> re.Match[str]:
    """The first match of ``pattern``; ``UnreadableError`` where there is none."""
    found = re.search(pattern, text)
    if found is None:
        raise UnreadableError(f"no {pattern!r} in {_shortened(text)!r}")
    return found


def contrast(first: Iterable[bool], second: Iterable[bool]) -> float:
    """The share of ``first`` that is true minus that of ``second``; NaN where one of them is empty."""
    shares = [sum(flags) / len(flags) if flags else math.nan for flags in (list(first), list(second))]
    return shares[0] - shares[1]


def letters(text: str) -> tuple[str, ...]:
    """The capital letters that stand alone in ``text``, in order: ``"S and H"`` gives ``("S", "H")``."""
    return tuple(re.findall(r"\b[A-Z]\b", text))


@contextmanager
def _saying_where(place: str) -> Iterator[None]:
    """What a module raises at a text that it does not expect, as one error that says where."""
    try:
        yield
    except UnreadableError as error:
        raise UnreadableError(f"{place}: {error}") from error
    except Exception as error:  # a module, which may be a user's own, fails in its own ways at an unexpected text
        raise UnreadableError(f"{place}: {type(error).__name__}: {error}") from error


def _shortened(text: str, width: int = 80) -> str:
    return text if len(text) <= width else f"…{text[-width:]}"
