"""jain1994crackers, jain1994ketchup and jain1994yogurt (starter): a household's purchases among four brands.

Four letters, drawn for each household, stand for the brands; all four are on sale on every trip. Prices and
promotions are tuples in the order of the options; all households of a shop on a day see the same ones.
"""

import re
from collections.abc import Sequence

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


STUDIES = tuple(
    Study(f"jain1994{product}", _ask, first_trial=r"Trip 1: ") for product in ("crackers", "ketchup", "yogurt")
)
