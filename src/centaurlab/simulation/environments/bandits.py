"""Bandits from a few parameters: what arms pay, and how that is told. For a file of one's own environments.

::

    from centaurlab.simulation.environments.bandits import Reversal, Walk, bandit, two_step

    ENVIRONMENTS = (
        bandit("my_bandit", Walk(sd=0.05), told=". You win {outcome}.\\nYou press ", last=". You win {outcome}."),
        bandit("my_reversal", Reversal(high=0.8, low=0.2, hazard=0.05), told=...),
    )
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from centaurlab.data.options import cut_at_responses, session_options
from centaurlab.data.transcripts import Transcript
from centaurlab.runtime.errors import UserError
from centaurlab.simulation.environments.environment import Environment
from centaurlab.simulation.environments.worlds import FloatArray, reversals, walk
from centaurlab.simulation.play import Chance, Play, Question

# T: trials, O: options.


Arms: TypeAlias = Callable[[np.random.Generator, int, int], FloatArray]
"""How what options pay changes over trials: of a generator, T and O, an array (T, O)."""


@dataclass(frozen=True)
class Walk:
    """Restless arms: Gaussian walks of ``sd`` a trial, between ``low`` and ``high``."""

    low: float = 0.2
    high: float = 0.8
    sd: float = 0.025

    def __post_init__(self) -> None:
        _check_bounds(self.low, self.high)

    def __call__(self, rng: np.random.Generator, n_trials: int, n_options: int) -> FloatArray:
        """Probabilities of a reward, or points (T, O)."""
        return walk(rng, n_trials, n_options, self.low, self.high, self.sd)


@dataclass(frozen=True)
class Reversal:
    """One good arm, whose place another takes after a trial with probability ``hazard`` (0: never)."""

    high: float = 0.8
    low: float = 0.2
    hazard: float = 0.05

    def __post_init__(self) -> None:
        _check_bounds(self.low, self.high)

    def __call__(self, rng: np.random.Generator, n_trials: int, n_options: int) -> FloatArray:
        """Probabilities of a reward, or points (T, O)."""
        return reversals(rng, n_trials, n_options, self.high, self.low, self.hazard)


def _check_bounds(low: float, high: float) -> None:
    if not low <= high:
        raise UserError(f"low={low:g} is not below high={high:g}; give the lower of both as low")


def _probabilities(value_TO: FloatArray) -> FloatArray:
    """What arms give, where it is probabilities; ``UserError`` where it is not."""
    none_N = value_TO[~(np.abs(value_TO - 0.5) <= 0.5 + 1e-9)]
    if len(none_N):
        raise UserError(f"its arms give {none_N[0]:g}, which is no probability of a reward; points: bandit(…, sd=…)")
    return value_TO


def bandit(
    study: str,
    arms: Arms,
    told: str,
    last: str,
    options: tuple[str, ...] | None = None,
    words: tuple[str, str] = ("0", "1"),
    sd: float | None = None,
    n_trials: int | None = None,
) -> Environment:
    """An environment of one choice a trial.

    Parameters
    ----------
    study
        Its name in the data.
    arms
        ``Walk(...)``, ``Reversal(...)``, or any function of a generator, trials and options.
    told, last
        The text after an answer, up to the next question, and after the last answer; ``{outcome}`` stands for what was
        paid. What comes before the first answer is the person's.
    options
        What can be answered, as it stands between the markers; None: as the data show it, by the study's module, by
        the labels that everybody used or, where letters are drawn per person, by what each answered, which has to be
        as many options for all.
    words
        What is told of no reward and of a reward, which ``arms`` gives the probability of.
    sd
        With one, arms pay points: what ``arms`` gives, with normal noise of this size, as a whole number.
    n_trials
        None: as many as the person had.
    """
    for text in (told, last):
        if text.count("{outcome}") != 1:
            raise UserError(f"{text!r} has to hold {{outcome}} once, where what was paid is told")

    def play(session: Transcript, chance: Chance) -> Play:
        segments, answers = cut_at_responses(session.text)
        offered = options or session_options(session, {}).of(0) or ()
        total = n_trials or len(answers)
        value_TO = arms(chance.shared, total, len(offered))
        if sd is None:
            _probabilities(value_TO)
        text = segments[0]
        for trial in range(total):
            after = last if trial == total - 1 else told
            answer = yield Question(text, offered, after)
            value = value_TO[trial, offered.index(answer)]
            if sd is None:
                drawn = words[int(chance.generator.random() < value)]
            else:
                drawn = str(round(chance.generator.normal(value, sd)))
            text = after.replace("{outcome}", chance.told("outcome", drawn))
        return text

    def happened(text: str) -> Mapping[str, Sequence[object]]:
        segments, _ = cut_at_responses(text)
        patterns = [re.escape(form).replace(re.escape("{outcome}"), "(.*?)") for form in (told, last)]
        found = [re.fullmatch(patterns[n == len(segments) - 1], text) for n, text in enumerate(segments) if n]
        return {"outcome": [match[1] for match in found if match]}

    def of_options(offered: tuple[str, ...]) -> Environment:
        return bandit(study, arms, told, last, offered, words, sd, n_trials)

    return Environment(study, play, happened if n_trials is None else None, of_options=None if options else of_options)


def two_step(
    study: str,
    first: tuple[str, str],
    states: tuple[str, str],
    second: tuple[tuple[str, str], tuple[str, str]],
    told_state: str,
    told: str,
    last: str,
    words: tuple[str, str] = ("0", "1"),
    common: float = 0.7,
    arms: Arms | None = None,
    n_trials: int | None = None,
) -> Environment:
    """An environment of two choices a trial: the first leads to one of two states, the second there to a reward.

    Option 1 of ``first`` leads to state 1 with probability ``common``, option 2 to state 2. ``told_state`` is the text
    between both choices, with ``{state}``; ``told`` and ``last`` that after the second, with ``{outcome}``. ``arms``
    (default: ``Walk()``) gives the probabilities of rewards of the four options of the second choice. Other parameters
    are those of ``bandit``.
    """
    pay = arms or Walk()

    def play(session: Transcript, chance: Chance) -> Play:
        segments, answers = cut_at_responses(session.text)
        total = n_trials or len(answers) // 2
        p_TO = _probabilities(pay(chance.shared, total, 4))
        text = segments[0]
        for trial in range(total):
            choice = first.index((yield Question(text, first, told_state[:1])))
            place = choice if chance.generator.random() < common else 1 - choice
            place = states.index(chance.told("state", states[place]))
            after = last if trial == total - 1 else told
            option = second[place].index(
                (yield Question(told_state.replace("{state}", states[place]), second[place], after))
            )
            reward = words[int(chance.generator.random() < p_TO[trial, 2 * place + option])]
            text = after.replace("{outcome}", chance.told("outcome", reward))
        return text

    return Environment(study, play)
