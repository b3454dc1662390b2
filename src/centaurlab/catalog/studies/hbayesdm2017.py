"""hbayesdm2017: choices that are answered by outcomes, as the package hBayesDM brings them (Ahn, Haines & Zhang 2017).

A two-step task, two machines of which one is better, two machines that change places, and the Iowa gambling task. The
letters of options are drawn for each person; options are named in the order of the data, whose first machine is the
better one to begin with, and whose third and fourth deck are the good ones. What follows from an answer stands behind
it: ``and come to place K.``, ``and win a point.``
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from centaurlab.catalog.studies.shahar2019 import TWO_STEP_EFFECTS
from centaurlab.catalog.studies.study import Ask, Study, Trial, contrast, letters, search

OUTCOME = r"^ and (.*?)\."
_GOOD_DECKS = ("deck 3", "deck 4")


def _two_steps(segment: str, past: Sequence[Trial], opening: str) -> Ask:
    came = re.search(r"^ and come to place (\w)\. There you choose $", segment)
    if came is None:
        first = search(r"First you choose option (\w) or (\w)\.", opening).groups()
        return Ask(options=first, roles=("option 1", "option 2"), kind="first stage")
    place = search(r"leads you to place (\w) or (\w):", opening).groups().index(came[1]) + 1
    common = past[-1].role == f"option {3 - place}"
    return Ask(
        options=search(r"At both places you choose option (\w) or (\w),", opening).groups(),
        roles=tuple(f"state {place}, option {option}" for option in (1, 2)),
        kind="second stage",
        continues=True,
        stimuli={"state": f"state {place}", "transition": "common" if common else "rare"},
    )


def _machines(segment: str, past: Sequence[Trial], opening: str) -> Ask:
    return Ask(options=search(r"two machines, (\w) and (\w)\.", opening).groups(), roles=("machine 1", "machine 2"))


def _decks(segment: str, past: Sequence[Trial], opening: str) -> Ask:
    options = letters(search(r"four decks of cards: (.*?)\.", opening)[1])
    return Ask(options=options, roles=tuple(f"deck {deck}" for deck in (1, 2, 3, 4)))


def _reward(told: str) -> float | None:
    """What was received, as a number; None where nothing is told of it."""
    outcome = re.search(OUTCOME, told)
    if outcome is None or outcome[1].startswith("come"):
        return None
    if outcome[1].startswith("receive"):
        return float("coin" in outcome[1])
    if "point" in outcome[1]:
        return 1.0 if outcome[1].startswith("win") else -1.0
    won, *lost = map(float, re.findall(r"\d+", outcome[1]))
    return won - sum(lost)


def _finish(trials: list[Trial]) -> list[Trial]:
    rewards = [_reward(trial.after) for trial in trials]
    return [
        trial if reward is None else replace(trial, outcome={"reward": reward})
        for trial, reward in zip(trials, rewards, strict=True)
    ]


def _stay_by_outcome(trials: Sequence[Trial]) -> float:
    """How much more often a choice is made again after a point was won than after one was lost."""
    stays: dict[object, list[bool]] = {1.0: [], -1.0: []}
    for now, after in pairwise(trials):
        stays[now.outcome["reward"]].append(now.role == after.role)
    return contrast(stays[1.0], stays[-1.0])


def _learned(trials: Sequence[Trial]) -> float:
    """How much more often the two decks that pay in the long run are chosen in the second half than in the first."""
    good = [trial.role in _GOOD_DECKS for trial in trials]
    return contrast(good[len(good) // 2 :], good[: len(good) // 2])


STUDIES = (
    Study(
        "hbayesdm2017twostep",
        _two_steps,
        first_trial=r"You choose $",
        feedback="contingent",
        finish=_finish,
        effects=TWO_STEP_EFFECTS,
    ),
    *(
        Study(
            name,
            _machines,
            first_trial=r"You choose machine $",
            feedback="contingent",
            finish=_finish,
            effects={"stay by outcome": _stay_by_outcome},
        )
        for name in ("hbayesdm2017bandit", "hbayesdm2017reversal")
    ),
    Study(
        "hbayesdm2017decks",
        _decks,
        first_trial=r"You turn a card of deck $",
        feedback="contingent",
        finish=_finish,
        effects={"good decks, later − earlier": _learned},
    ),
)
