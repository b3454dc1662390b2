"""hbayesdm2017: what would have followed from other choices, with the chances that the data show.

Two-step: as in shahar2019twosteptask, but the walks of rewards are each person's own. Machines: the better one wins
65 % and the other 35 %; where they change places, 67 % and 33 %, at the trials at which they did for everybody: those
of maximum likelihood, given who won with what. Decks: those of Bechara et al. (1994),
doi:10.1016/0010-0277(94)90018-3, of which each ten cards lie in an order that is drawn anew.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TypeAlias

import numpy as np

from centaurlab.catalog.studies import Ask, Trial, find_study, search
from centaurlab.catalog.studies.hbayesdm2017 import OUTCOME
from centaurlab.data.transcripts import Transcript
from centaurlab.simulation.environments.environment import Environment, retold
from centaurlab.simulation.environments.worlds import walk
from centaurlab.simulation.play import Chance, Play

_MOST_TRIALS = 400
_COMMON = 0.7
_CHANGES = (8, 17, 29, 37, 48, 60, 68, 79, 91)
"""The trials, counted from 1, from which on the other machine is the better one; the first is at first."""
_DECKS = (  # what a card wins, and what ten cards lose
    (100, (150, 200, 250, 300, 350, 0, 0, 0, 0, 0)),
    (100, (1250, 0, 0, 0, 0, 0, 0, 0, 0, 0)),
    (50, (25, 50, 50, 50, 75, 0, 0, 0, 0, 0)),
    (50, (250, 0, 0, 0, 0, 0, 0, 0, 0, 0)),
)

Follow: TypeAlias = Callable[[Ask, int, int], str]
"""What follows, in words, from choosing the option at a place where this was asked, after so many answers."""
World: TypeAlias = Callable[[str, np.random.Generator], Follow]
"""Of a session's text and a generator."""


def _two_steps(text: str, draw: np.random.Generator) -> Follow:
    places = search(r"leads you to place (\w) or (\w):", text).groups()
    p_TO = walk(draw, _MOST_TRIALS, 4, 0.2, 0.8, 0.025)

    def follow(asked: Ask, option: int, n_before: int) -> str:
        if asked.kind == "first stage":  # the option named first leads to the place named second
            return f"come to place {places[1 - option if draw.random() < _COMMON else option]}"
        state = ("state 1", "state 2").index(str(asked.stimuli["state"]))
        is_paid = draw.random() < p_TO[n_before // 2 % _MOST_TRIALS, 2 * state + option]
        return "receive a coin" if is_paid else "receive nothing"

    return follow


def _machines(better: float, changes: Sequence[int], text: str, draw: np.random.Generator) -> Follow:
    def follow(asked: Ask, option: int, n_before: int) -> str:
        good = sum(n_before + 1 >= change for change in changes) % 2
        return f"{'win' if draw.random() < (better if option == good else 1 - better) else 'lose'} a point"

    return follow


def _decks(text: str, draw: np.random.Generator) -> Follow:
    left: list[list[int]] = [[] for _ in _DECKS]

    def follow(asked: Ask, option: int, n_before: int) -> str:
        gain, losses = _DECKS[option]
        if not left[option]:
            left[option] = list(draw.permutation(losses))
        loss = left[option].pop()
        return f"win {gain} dollars" + (f", but lose {loss} dollars" if loss else "")

    return follow


def _play(name: str, world: World, session: Transcript, chance: Chance) -> Play:
    study = find_study(name)
    assert study is not None
    follow = world(session.text, chance.generator)

    def retell(asked: Ask, answer: str, past: Sequence[Trial], told: str) -> str:
        outcome = chance.told("outcome", follow(asked, (asked.options or ()).index(answer), len(past)))
        if asked.kind == "first stage":
            return f" and {outcome}. There you choose "
        return f" and {outcome}.{told[search(OUTCOME, told).end() :]}"

    return retold(study, session, retell)


def _happened(text: str) -> Mapping[str, Sequence[object]]:
    return {"outcome": re.findall(r">> and (.*?)\.", text)}


ENVIRONMENTS = tuple(
    Environment(name, partial(_play, name, world), _happened)
    for name, world in (
        ("hbayesdm2017twostep", _two_steps),
        ("hbayesdm2017bandit", partial(_machines, 0.65, ())),
        ("hbayesdm2017reversal", partial(_machines, 0.67, _CHANGES)),
        ("hbayesdm2017decks", _decks),
    )
)
