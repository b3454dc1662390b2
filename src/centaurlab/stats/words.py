"""Estimates into words and cells: how an interval is said, and which model it is in favour of."""

import numpy as np

from centaurlab.stats.effects import Effect
from centaurlab.stats.estimate import CONFIDENCE, Estimate


def _in_words(estimate: Estimate) -> str:
    interval = f" [{estimate.low:+.3f}, {estimate.high:+.3f}]" if np.isfinite(estimate.low) else " (no interval)"
    return f"{estimate.value:+.3f}{interval}"


def verdict(effect: Effect) -> str:
    """The effect in a sentence: which model predicts people worse, and whether the interval excludes zero."""
    base, post, predict, on_average = effect.base, effect.group_name, "predicts", ""
    if effect.group != "pair":
        base, post, predict = "the base models", "the post-trained models", "predict"
        on_average = f"on average over {effect.n_pairs} pair{'s' * (effect.n_pairs > 1)}, "
    d = effect.d
    if not np.isfinite(d.value):
        return f"{on_average}d of {effect.name} is not defined: too few responses, or all with the same NLL"
    worse, better = (post, base) if d.value > 0 else (base, post)
    size = f"d = {d.value:+.3f}"
    if not np.isfinite(d.low):
        missing = no_interval("participants" if effect.level == "study" else "studies")
        if d.value == 0:
            return f"{on_average}{base} and {post} predict people equally well ({size}); {missing}"
        return f"{on_average}{worse} {predict} people worse than {better} ({size}); {missing}"
    size += f", {CONFIDENCE:.0%} interval {d.low:+.3f} to {d.high:+.3f}"
    if d.low <= 0 <= d.high:
        return f"{on_average}no clear difference between {base} and {post} ({size}, which includes zero)"
    return f"{on_average}{worse} {predict} people worse than {better} ({size}, which excludes zero)"


def no_interval(units: str) -> str:
    """Why an estimate has no interval, in words."""
    return f"no interval: it needs two {units} or more"


def cells(estimate: Estimate) -> tuple[str, str]:
    """An estimate and its interval; a dash for what is not defined."""
    value = f"{estimate.value:+.3f}" if np.isfinite(estimate.value) else "–"
    interval = f"{_bound(estimate.low)} … {_bound(estimate.high)}" if np.isfinite(estimate.low) else "–"
    return value, interval


def _bound(value: float) -> str:
    """Three decimals; three digits from a hundred on, as of a paired d of three people."""
    return f"{value:+.3f}" if abs(value) < 100 else f"{value:+.3g}"
