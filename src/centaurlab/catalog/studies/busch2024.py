"""busch2024_stroop: the ink colour of a colour word by one of three buttons; the correct one is told after each answer.

The buttons are the same for everybody. The person's reaction time is told after each answer: a simulation yokes it.
"""

import re
from collections.abc import Sequence
from dataclasses import replace

from centaurlab.catalog.studies.study import Ask, Study, Trial, Value, contrast, search


def _ask(segment: str, past: Sequence[Trial], opening: str) -> Ask:
    keys = search(r"press: (\w+) for (\w+) LETTERS, (\w+) for (\w+) LETTERS, (\w+) for (\w+) LETTERS", opening)
    shown = search(r"the word (\w+), the letters of the word are colored in (\w+)\. You press $", segment)
    stimuli: dict[str, Value] = {
        "word": shown[1],
        "ink": shown[2],
        "congruency": "congruent" if shown[1] == shown[2] else "incongruent",
    }
    return Ask(options=keys.groups()[::2], roles=keys.groups()[1::2], stimuli=stimuli, item=f"{shown[1]} in {shown[2]}")


def _finish(trials: list[Trial]) -> list[Trial]:
    return [replace(trial, outcome=_outcome(trial)) for trial in trials]


def _outcome(trial: Trial) -> dict[str, Value]:
    told = re.match(r" after (-?[\d.]+) milliseconds\. The correct answer was pressing (\w+)\.", trial.after)
    if told is None:
        return {}
    return {"rt": float(told[1]), "correct": float(told[2] == trial.answer), "correct_answer": told[2]}


def _congruency(trials: Sequence[Trial]) -> float:
    """Accuracy on congruent minus that on incongruent words."""
    told = [(trial.stimuli["congruency"], trial.outcome["correct"] == 1) for trial in trials if trial.outcome]
    return contrast(
        (right for kind, right in told if kind == "congruent"), (right for kind, right in told if kind != "congruent")
    )


STUDIES = (
    Study(
        "busch2024_stroop",
        _ask,
        first_trial=r" ?The stimulus on the next trial",
        feedback="full",
        finish=_finish,
        effects={"congruency": _congruency},
    ),
)
