"""sandbrink2024metacontrol: bet on one of two lights or look which is lucky; on the third day, sleep for more control.

Letters are drawn for each session. Which light was lucky is told only to who looked; what a set earned, at its end.
"""

import re
from collections.abc import Sequence
from dataclasses import replace

from centaurlab.catalog.studies.study import Ask, Study, Trial, Value, letters, search

_ROLES = ("observe", "blue", "red", "sleep")
_CONTROL = {"no": 0, "a little": 1, "some": 2, "a lot of": 3, "complete": 4}


def _ask(segment: str, past: Sequence[Trial], opening: str) -> Ask:
    options = letters(search(r"Press (\w) to observe.*", opening)[0])
    round_number = float(search(r"Round (\d+)/\d+\. You press $", segment)[1])
    new_set = re.search(r"Set (\d+)/\d+:", segment)
    stimuli: dict[str, Value] = {"round": round_number}
    if new_set:
        told = re.search(r"In this set, you have ([\w ]+) control,", segment)
        if told:
            stimuli["control"] = float(_CONTROL[told[1]])
    elif past and "control" in past[-1].stimuli:
        stimuli["control"] = past[-1].stimuli["control"]
    return Ask(
        options=options,
        roles=_ROLES[: len(options)],
        block=int(new_set[1]) if new_set else None,
        stimuli=stimuli,
    )


def _finish(trials: list[Trial]) -> list[Trial]:
    return [replace(trial, outcome=_outcome(trial.after)) for trial in trials]


def _outcome(after: str) -> dict[str, Value]:
    outcome: dict[str, Value] = {}
    if seen := re.search(r"You observed and see the (\w+) light up", after):
        outcome["lucky"] = seen[1]
    if "You bet on" in after:
        outcome["executed"] = float("You executed this bet successfully" in after)
    if earned := re.search(r"completed this set and earned (-?[\d.]+) coins", after):
        outcome["coins"] = float(earned[1])
    return outcome


STUDIES = (Study("sandbrink2024metacontrol", _ask, first_trial=r"Set 1/\d+:", feedback="contingent", finish=_finish),)
