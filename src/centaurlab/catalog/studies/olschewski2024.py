"""olschewski2024skewness: which of two or three stocks (or bags) to have, by dividends that are right- or left-skewed.

Studies 1 to 4 show 30 dividends of each stock before one choice: a market's dividends are its item, the same for
everybody but for order and letter. In studies 5 to 7 each choice is followed by the dividends of all stocks. Letters
are drawn for each person, and which letter has which dividends is not fixed: roles come from all dividends of a
market, which no answer changes; in studies 5 to 7 nobody could know them at the first choice.
"""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from statistics import fmean

from centaurlab.catalog.studies.study import Ask, Study, Trial, UnreadableError, Value, letters, search

_DIVIDEND = re.compile(r"(?:Stock|Bag) (\w) yields (-?[\d.]+) points")
_NUMBERS = {"two": 2, "three": 3}
_PLACES = ("first", "second", "third")


def _ask(segment: str, past: Sequence[Trial], opening: str) -> Ask:
    names = letters(search(r"names are (.*)\.\n", opening)[1])
    shown = _dividends(segment)
    market = re.search(r"(?:Stock market|Round) (\d+):", segment)
    if "repeated choices" not in opening:
        if set(shown) != set(names):
            raise UnreadableError(f"dividends of {', '.join(shown) or 'no stock'}, not of {', '.join(names)}")
        return Ask(
            options=names,
            roles=_roles([shown[name] for name in names]),
            block=int(market[1]) if market else len(past) + 1,
            stimuli={"points": tuple(tuple(shown[name]) for name in names)},
            item=" or ".join(sorted(" ".join(map(str, sorted(points))) for points in shown.values())),
        )
    number = re.search(r"There are (\w+) stocks to choose from", segment)
    if number:
        options: tuple[str, ...] | None = names[: _NUMBERS[number[1]]]
    else:
        options = names if market else past[-1].options
    return Ask(options=options, block=int(market[1]) if market else None)


def _finish(trials: list[Trial]) -> list[Trial]:
    finished: list[Trial] = []
    for _, block in groupby(trials, key=lambda trial: trial.block):
        market = list(block)
        if market[0].roles is None:
            market = _with_outcomes(market)
        finished += market
    return finished


def _with_outcomes(market: list[Trial]) -> list[Trial]:
    options = market[0].options or ()
    told = [{name: points[0] for name, points in _dividends(trial.after).items()} for trial in market]
    roles = _roles([[points[name] for points in told if name in points] for name in options])
    return [
        replace(
            trial,
            roles=roles,
            role=dict(zip(options, roles, strict=True)).get(trial.answer),
            outcome=_outcome(options, points),
        )
        for trial, points in zip(market, told, strict=True)
    ]


def _outcome(options: tuple[str, ...], points: dict[str, float]) -> dict[str, Value]:
    return {"points": tuple(points[name] for name in options)} if points else {}


def _dividends(text: str) -> dict[str, list[float]]:
    dividends = defaultdict(list)
    for name, points in _DIVIDEND.findall(text):
        dividends[name].append(float(points))
    return dict(dividends)


def _roles(dividends: list[list[float]]) -> tuple[str, ...]:
    """By skewness; of several with the same, whether it pays more or less on average, then their order."""
    skews = [_skewness(points) for points in dividends]
    means = [round(fmean(points), 6) if points else 0.0 for points in dividends]
    roles = []
    for skew, mean in zip(skews, means, strict=True):
        alike = [other for as_skewed, other in zip(skews, means, strict=True) if as_skewed == skew]
        level = "higher" if mean == max(alike) else "lower"
        roles.append(f"{skew}, {level}" if len(set(alike)) > 1 else skew)
    places = [roles[:number].count(role) for number, role in enumerate(roles)]
    return tuple(
        f"{role}, {_PLACES[place]}" if roles.count(role) > 1 else role
        for role, place in zip(roles, places, strict=True)
    )


def _skewness(points: list[float]) -> str:
    mean = fmean(points) if points else 0.0
    third = sum((value - mean) ** 3 for value in points)
    size = sum(abs(value - mean) ** 3 for value in points)
    if abs(third) <= 1e-6 * size or not size:
        return "symmetric"
    return "right-skewed" if third > 0 else "left-skewed"


STUDIES = (
    Study(
        "olschewski2024skewness",
        _ask,
        first_trial=r"(?:Stock market|Round) 1:|(?<=\n\n)Stock",
        feedback="full",
        finish=_finish,
    ),
)
