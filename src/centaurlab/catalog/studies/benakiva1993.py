"""benakiva1993trains (starter): two train trips that differ in price, time, changes and comfort.

Two letters, drawn for each person, name the first and the second trip; each attribute is a pair in their order.
"""

import math
import re
from collections.abc import Sequence
from functools import partial

from centaurlab.catalog.studies.study import Ask, Study, Trial, UnreadableError, Value

_TRIP = re.compile(r"trip (\w): ([\d.]+) guilders, (\d+) minutes, (\d+) changes?, (\w+) comfort")


def _ask(segment: str, past: Sequence[Trial], opening: str) -> Ask:
    trips = _TRIP.findall(segment)
    if len(trips) != 2:
        raise UnreadableError(f"{len(trips)} trips before 'You choose', not 2")
    options, prices, minutes, changes, comforts = zip(*trips, strict=True)
    stimuli: dict[str, Value] = {
        "guilders": tuple(map(float, prices)),
        "minutes": tuple(map(float, minutes)),
        "changes": tuple(map(float, changes)),
        "comfort": comforts,
    }
    return Ask(
        options=options,
        roles=("first", "second"),
        stimuli=stimuli,
        item=" or ".join(", ".join(trip[1:]) for trip in trips),
    )


def _less(name: str, trials: Sequence[Trial]) -> float:
    """The share of choices of the trip with less of an attribute, where the two differ in it, minus a half."""
    chosen = []
    for trial in trials:
        values = trial.stimuli[name]
        assert isinstance(values, tuple)
        first, second = (float(value) for value in values if isinstance(value, float))
        if first != second and trial.role in ("first", "second"):
            chosen.append((trial.role == "first") == (first < second))
    return sum(chosen) / len(chosen) - 0.5 if chosen else math.nan


STUDIES = (
    Study(
        "benakiva1993trains",
        _ask,
        first_trial=r"Choice 1: ",
        effects={"cheaper trip": partial(_less, "guilders"), "faster trip": partial(_less, "minutes")},
    ),
)
