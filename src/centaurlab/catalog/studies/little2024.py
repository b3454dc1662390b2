"""little2024functionestimation: a graph of 6 or 24 points, then the y that one predicts at some x: open answers.

People drew a curve, from which the text takes values at fixed x, where the curve has some: left and right of the
curve's ends the end itself is told again, so that 27 % of the responses repeat the line before them (``repeated``).
The 24 graphs are the same for everybody.
"""

import re
from collections.abc import Sequence

from centaurlab.catalog.studies.study import Ask, Study, Trial, Value, search

_NUMBER = r"(-?[\d.]+(?:e-?\d+)?)"
_POINT = re.compile(rf"^x={_NUMBER}, y={_NUMBER}$", re.MULTILINE)


def _ask(segment: str, past: Sequence[Trial], opening: str) -> Ask:
    x = search(rf"x={_NUMBER}, you predict y = $", segment)[1]
    task = re.search(r"In task (\d+), the", segment)
    if task:
        points = _POINT.findall(segment)
        stimuli: dict[str, Value] = {"points": tuple((float(at), float(y)) for at, y in points)}
        item = "; ".join(" ".join(point) for point in points)
    else:
        stimuli, item = {"points": past[-1].stimuli["points"]}, past[-1].item or ""
    repeated = not task and past[-1].stimuli["x"] == float(x)
    return Ask(
        options=None,
        kind="prediction",
        block=int(task[1]) if task else None,
        stimuli=stimuli | {"x": float(x), "repeated": float(repeated)},
        item=item,
    )


STUDIES = (Study("little2024functionestimation", _ask, first_trial=r"In task 1, "),)
