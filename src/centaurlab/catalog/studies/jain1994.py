"""jain1994crackers, jain1994ketchup and jain1994yogurt (starter): a household's purchases among four brands.

Four letters, drawn for each household, stand for the brands; all four are on sale on every trip. Prices and
promotions are tuples in the order of the options; all households of a shop on a day see the same ones.
"""

import math
import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

from centaurlab.catalog.studies.study import Ask, Study, Trial, UnreadableError, Value, search

_OFFER = re.compile(r"\b([A-Z]) ([\d.]+)(?: \(([a-z ]+)\))?")


def _ask(segment: str, past: Sequence[Trial], opening: str) -> Ask:
    brands = dict(re.findall(r"\b([A-Z]) is (.+?)(?:;|\.$)", search(r"The options are: .*", opening)[0]))
    offers = _OFFER.findall(search(r"Trip \d+: (.*)\. You buy $", segment)[1])
    options = tuple(letter for letter, _, _ in offers)
    if set(options) != set(brands):
        raise UnreadableError(f"offers of {', '.join(options)}, not of {', '.join(brands)}")
    stimuli: dict[str, Value] = {
        "price": tuple(float(price) for _, price, _ in offers),
        "advertised": tuple(float("advertised" in signs) for _, _, signs in offers),
        "displayed": tuple(float("displayed" in signs) for _, _, signs in offers),
    }
    offered = sorted(f"{brands[letter]} {price} {signs}".strip() for letter, price, signs in offers)
    roles = tuple(brands[letter] for letter in options)
    return Ask(options=options, roles=roles, stimuli=stimuli, item="; ".join(offered))


def _loyalty(trials: Sequence[Trial]) -> float:
    """How much more often the brand of the trip before is bought than if the purchases were in a random order."""
    brands = [trial.role for trial in trials]
    if len(brands) < 2:
        return math.nan
    by_chance = sum(n * (n - 1) for n in Counter(brands).values()) / (len(brands) * (len(brands) - 1))
    return sum(a == b for a, b in pairwise(brands)) / (len(brands) - 1) - by_chance


def _price(trials: Sequence[Trial]) -> float:
    """How much dearer than the mean of what is offered the brand is that is bought: below zero, prices count."""
    dearer = []
    for trial in trials:
        prices = trial.stimuli["price"]
        assert isinstance(prices, tuple)
        if trial.options and trial.answer in trial.options:
            numbers = [price for price in prices if isinstance(price, float)]
            dearer.append(numbers[trial.options.index(trial.answer)] - sum(numbers) / len(numbers))
    return sum(dearer) / len(dearer) if dearer else math.nan


STUDIES = tuple(
    Study(
        f"jain1994{product}",
        _ask,
        first_trial=r"Trip 1: ",
        effects={"brand loyalty": _loyalty, "price paid over the mean": _price},
    )
    for product in ("crackers", "ketchup", "yogurt")
)
