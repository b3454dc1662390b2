"""spektor2019contexteffects: repeated choices among two, then three options; what each would have paid is shown.

Letters are drawn for each person, but options are always named from the riskier to the safer. In experiments 1 to 3
the middle one of three is the target of the context effect; the decoy beside it is the first or the third, by block.
"""

import re
from collections.abc import Sequence
from dataclasses import replace

from centaurlab.catalog.studies.study import Ask, Study, Trial, UnreadableError, Value, letters

_ROLES = {2: ("riskier", "safer"), 3: ("riskiest", "middle", "safest")}


def _ask(segment: str, past: Sequence[Trial], opening: str) -> Ask:
    offered = re.search(r"There are \w+ options to choose from, (.*)\.\n", segment)
    options = letters(offered[1]) if offered else past[-1].options if past else None
    if options is None:
        raise UnreadableError(f"no options to choose from in {segment[-80:]!r}")
    block = re.search(r"Block (\d+):", segment)
    return Ask(options=options, roles=_ROLES[len(options)], block=int(block[1]) if block else None)


def _finish(trials: list[Trial]) -> list[Trial]:
    return [replace(trial, outcome=_outcome(trial)) for trial in trials]


def _outcome(trial: Trial) -> dict[str, Value]:
    points = {name: float(points) for name, points in re.findall(r"Option (\w) yields (-?[\d.]+) points", trial.after)}
    return {"points": tuple(points[name] for name in trial.options or ())} if points else {}


STUDIES = (Study("spektor2019contexteffects", _ask, first_trial=r"Block 1:", feedback="full", finish=_finish),)
