"""Starter sessions from trial-by-trial data: train trips, supermarket purchases, recall of word lists."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

import pandas as pd

from centaurlab.data.starter.session import Row, Session, assign_letters, rows_by

_COMFORT = {0: "high", 1: "medium", 2: "low"}
# Keeps a session near 1,500 tokens: a few people have up to 185 purchases, everybody recalled 28 lists.
MAX_PURCHASES, MAX_LISTS = 40, 8
_UNINTELLIGIBLE = "[???]"


@dataclass(frozen=True)
class _Shelf:
    product: str
    brands: dict[str, str]
    price_unit: str
    decimals: int


_SHELVES = {
    "jain1994crackers": _Shelf(
        "a box of saltine crackers",
        {
            "sunshine": "Sunshine",
            "kleebler": "Keebler",
            "nabisco": "Nabisco",
            "private": "the store's own brand",
        },
        "cents",
        0,
    ),
    "jain1994ketchup": _Shelf(
        "a bottle of ketchup",
        {
            "heinz41": "Heinz, 41 ounces",
            "heinz32": "Heinz, 32 ounces",
            "heinz28": "Heinz, 28 ounces",
            "hunts32": "Hunt's, 32 ounces",
        },
        "cents per ounce",
        1,
    ),
    "jain1994yogurt": _Shelf(
        "yogurt",
        {"yoplait": "Yoplait", "dannon": "Dannon", "hiland": "Hiland", "weight": "Weight Watchers"},
        "cents per ounce",
        1,
    ),
}


def train_sessions(study: str, frame: pd.DataFrame) -> Iterator[Session]:
    """Stated choices between two train trips by price, time, changes and comfort (Netherlands, 1987)."""
    for participant, choices in rows_by(frame.sort_values("choiceid", kind="stable"), "id"):
        first, second = assign_letters(["choice1", "choice2"], study, participant).values()
        lines = [
            "Imagine that you are about to travel by train. You will repeatedly be offered two trips that "
            "differ in price, travel time, number of changes and comfort. Choose the trip that you prefer.",
            f"In each choice the first trip is called {first} and the second trip {second}.\n",
        ]
        for number, row in enumerate(choices, start=1):
            trips = "; ".join(f"trip {letter}: {_trip(row, side)}" for letter, side in ((first, 1), (second, 2)))
            chosen = {"choice1": first, "choice2": second}[str(row["choice"])]
            lines.append(f"Choice {number}: {trips}. You choose <<{chosen}>>.")
        yield Session(participant, "\n".join(lines))


def brand_sessions(study: str, frame: pd.DataFrame) -> Iterator[Session]:
    """A household's purchases of one product with the prices of four brands; the first 40 per household."""
    shelf = _SHELVES[study]
    has_displays = f"disp.{next(iter(shelf.brands))}" in frame.columns
    for participant, purchases in rows_by(frame, "id"):
        letters = assign_letters(list(shelf.brands), study, participant)
        names = "; ".join(f"{letter} is {shelf.brands[brand]}" for brand, letter in letters.items())
        promotions = "advertised in the newspaper" + (" or displayed in the store" if has_displays else "")
        lines = [
            f"You do the shopping for your household. On each of these trips you buy {shelf.product}. "
            f"You see the price of each option in {shelf.price_unit}, and whether it is {promotions}.",
            f"The options are: {names}.\n",
        ]
        for number, row in enumerate(purchases[:MAX_PURCHASES], start=1):
            offers = ", ".join(f"{letter} {_offer(row, brand, shelf)}" for brand, letter in letters.items())
            lines.append(f"Trip {number}: {offers}. You buy <<{letters[str(row['choice'])]}>>.")
        yield Session(participant, "\n".join(lines))


def recall_sessions(study: str, frame: pd.DataFrame) -> Iterator[Session]:
    """Immediate free recall of lists of 16 words, repeats and intrusions as spoken; the first 8 lists per
    person.

    Words that the experimenters could not make out are left out.
    """
    frame = frame[(frame["list"] <= MAX_LISTS) & (frame["item"] != _UNINTELLIGIBLE)]
    for participant, events in rows_by(frame.sort_values(["list", "position"], kind="stable"), "subject"):
        lines = [
            "In this experiment you will see lists of 16 words, one word at a time. After the last word of a "
            "list, say all the words of that list that you can remember, in any order.\n"
        ]
        for number, words in groupby(events, key=lambda event: event["list"]):
            trials = [(event["trial_type"], str(event["item"]).lower()) for event in words]
            seen = [word for kind, word in trials if kind == "study"]
            said = [word for kind, word in trials if kind == "recall"]
            lines.append(f"List {number}. You see: {', '.join(seen)}.")
            if said:
                lines.append("You say " + ", ".join(f"<<{word}>>" for word in said) + ".")
        yield Session(participant, "\n".join(lines))


def _trip(row: Row, side: int) -> str:
    guilders = int(str(row[f"price{side}"])) / 100
    changes = int(str(row[f"change{side}"]))
    plural = "change" if changes == 1 else "changes"
    comfort = _COMFORT[int(str(row[f"comfort{side}"]))]
    return f"{guilders:.2f} guilders, {row[f'time{side}']} minutes, {changes} {plural}, {comfort} comfort"


def _offer(row: Row, brand: str, shelf: _Shelf) -> str:
    price = f"{float(str(row[f'price.{brand}'])):.{shelf.decimals}f}"
    signs = [
        word for column, word in (("feat", "advertised"), ("disp", "displayed")) if row.get(f"{column}.{brand}") == 1
    ]
    return f"{price} ({' and '.join(signs)})" if signs else price
