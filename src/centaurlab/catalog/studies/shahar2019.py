"""shahar2019twosteptask: a first choice leads to one of two states, a second choice there to a reward or none.

Six letters are drawn for each person; both states have the same two options by letter, not by reward. The option
named first leads to the state named *second* in 70 % of trials and the other to the state named first, in everybody's
session here: a trial's transition is "common" or "rare" by that. Trials that a person missed are not told.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from centaurlab.catalog.studies.study import Ask, Study, Trial, contrast, letters, search


def _ask(segment: str, past: Sequence[Trial], opening: str) -> Ask:
    if first := re.search(r"first-stage options (\w) and (\w)\. You choose $", segment):
        later = "You are now back" in segment
        return Ask(
            options=first.groups(),
            roles=("option 1", "option 2"),
            kind="first stage",
            block=past[-1].block + 1 if later and past and past[-1].block else None,
        )
    state = search(r"^\. This leads to state (\w)\. In state \1, you choose $", segment)[1]
    states = letters(search(r"second-stage states: (.*)\.", opening)[1])
    place = states.index(state) + 1
    common = past[-1].role == f"option {3 - place}"
    return Ask(
        options=letters(search(r"choice between two options: (.*)\.", opening)[1]),
        roles=tuple(f"state {place}, option {option}" for option in (1, 2)),
        kind="second stage",
        continues=True,
        stimuli={"state": f"state {place}", "transition": "common" if common else "rare"},
    )


def _finish(trials: list[Trial]) -> list[Trial]:
    return [
        replace(trial, outcome={"reward": float(told[1] == "a")})
        if (told := re.search(r"You receive (a|no) reward", trial.after))
        else trial
        for trial in trials
    ]


def _stays(trials: Sequence[Trial], reward: float, transition: str) -> list[bool]:
    """Whether the first choice was repeated after trials of this kind."""
    firsts = [n for n, trial in enumerate(trials) if trial.kind == "first stage"]
    return [
        trials[now].role == trials[after].role
        for now, after in pairwise(firsts)
        if now + 1 < after
        and trials[now + 1].outcome.get("reward") == reward
        and trials[now + 1].stimuli.get("transition") == transition
    ]


def _reward(trials: Sequence[Trial]) -> float:
    """Staying after a reward minus after none: model-free."""
    kinds = ("common", "rare")
    return contrast(*([stay for kind in kinds for stay in _stays(trials, reward, kind)] for reward in (1.0, 0.0)))


def _reward_by_transition(trials: Sequence[Trial]) -> float:
    """How much more a reward makes stay after common transitions than after rare ones: model-based."""
    common, rare = (contrast(*(_stays(trials, reward, kind) for reward in (1.0, 0.0))) for kind in ("common", "rare"))
    return common - rare


TWO_STEP_EFFECTS = {"stay by reward": _reward, "stay by reward × transition": _reward_by_transition}

STUDIES = (
    Study(
        "shahar2019twosteptask",
        _ask,
        first_trial=r"You are presented with first-stage options",
        feedback="contingent",
        finish=_finish,
        effects=TWO_STEP_EFFECTS,
    ),
)
