"""In which studies a difference lies, and on what kind of answers: effects of studies in a sentence."""

import math
from collections.abc import Sequence

from centaurlab.stats.effects import Effect
from centaurlab.stats.multiplicity import FALSE_SHARE
from centaurlab.stats.words import cells


def of_studies(effects: Sequence[Effect]) -> str:
    """Where the first group's difference is clear, largest and smallest, and what it is by kind of answers.

    Nothing of a single study; ``effects``: those over all studies first.
    """
    first = effects[0]
    group = (first.group, first.group_name, "study")
    studies = [e for e in effects if (e.group, e.group_name, e.level) == group and e.nll_difference.is_defined]
    if len(studies) < 2:
        return ""
    studies.sort(key=lambda effect: -effect.nll_difference.value)
    said = [f"from {_named(studies[-1])} to {_named(studies[0])}, in nats per response"]
    if all(math.isfinite(effect.nll_difference_q) for effect in studies):
        clear = [effect for effect in studies if effect.nll_difference_q < FALSE_SHARE]
        worse = sum(effect.nll_difference.value > 0 for effect in clear)
        counts = f"in {worse} of {len(studies)} studies (q < .05, in nats), better in {len(clear) - worse or 'none'}"
        others = "; of the others no difference is sure" if len(clear) < len(studies) else ""
        said.insert(0, f"people are predicted worse by {first.contrast.first} {counts}{others}")
    offered = [effect for effect in studies if math.isfinite(effect.chance)]
    free = [effect for effect in studies if not math.isfinite(effect.chance)]
    if offered and free:
        said.append(
            f"by kind of answer: where options are known {_range(offered)}, where none are known, as of free answers, "
            f"{_range(free)}"
        )
    return "; ".join(said)


def _named(effect: Effect) -> str:
    return f"{cells(effect.nll_difference)[0]} ({effect.name})"


def _range(studies: Sequence[Effect]) -> str:
    """From the least to the most over studies, which are sorted downwards."""
    if len(studies) == 1:
        return f"{cells(studies[0].nll_difference)[0]} ({studies[0].name})"
    least, most = (cells(studies[at].nll_difference)[0] for at in (-1, 0))
    return f"{least} to {most} ({len(studies)} studies)"
