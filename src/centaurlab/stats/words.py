"""Estimates into words and cells: the one place that says how a number, an interval and a verdict are written.

**In running text** an estimate reads ``d = +0.409, 95 % interval +0.220 to +0.598, which excludes zero``: what it is,
the value, the interval, and what follows. Brackets are left to sentences, which put such a phrase into them; ``±``
would hide that intervals need not be symmetric, and stands only where a half-width was asked for (``--precision``).
**In cells** value and interval are two columns, ``+0.409`` and ``+0.220 to +0.598``: numbers of a column stand below
each other, and it sorts by its values. "to", not a dash or dots: bounds may be negative.

**Digits** follow from the interval, as is usual for uncertainties (JCGM 100:2008, GUM, 7.2.6): three decimals, as
effect sizes and NLLs are mostly printed, where that shows two or three digits of the half-width; else fewer or more,
so that it does. Text and cells agree, being made by the same function. What is not zero is never written as
zero: it gets its first digit, so that a bound beside "excludes zero" does not read 0.000.
**Signs**: differences carry theirs, + as well as -, because their direction is what is asked; NLLs and shares carry
none. The minus is that of the keyboard: what is copied from a page is read back as a number.
**Not defined** is a dash in a cell and said in a sentence; it is never zero.

**Verdicts** have the first side of the contrast as subject: above zero it is worse, below better. A side is called
worse or better only where an interval excludes zero; without an interval it is said that, and why, it cannot be told:
there were fewer than two units to draw, or some of them alone do not define it, as one response of each of two people.
A mean over studies has two intervals, which are named: of *studies like these*, and of *new people in these studies*. A
side is called worse without reserve where both exclude zero, and in these studies alone where only the latter does. A
single study has an interval over its people alone, and the verdict says that it is about no other.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from centaurlab.stats.contrast import POST_TRAINING, Contrast
from centaurlab.stats.estimate import CONFIDENCE, Estimate

if TYPE_CHECKING:  # it imports SciPy, which every command that prints a table would wait for
    from centaurlab.stats.effects import Effect

LEVEL = f"{100 * CONFIDENCE:.0f} %"
INTERVAL = f"{LEVEL} interval"
NOTHING = "–"
STUDIES_LIKE_THESE = "studies like these"
NEW_PEOPLE = "new people in these studies"
MODELS_LIKE_THESE = "models like these"

_ZERO = 1e-9  # what sums of floats leave of equal numbers
_LARGE = 1e7  # from here on powers of ten
_DECIMALS = 3
_MOST_DECIMALS = 6
_UNDEFINED = "too few responses, or all with the same NLL"


@dataclass(frozen=True)
class Quantity:
    """What an estimate is of: its name and unit in a sentence, and whether it is a difference, with a sign."""

    name: str
    unit: str = ""
    is_difference: bool = False


D = Quantity("d", is_difference=True)
NLL = Quantity("NLL", "nats per response")
ACCURACY = Quantity("accuracy")
P_WORSE = Quantity("P(worse)")


def number(value: float | None, signed: bool = False, decimals: int | None = None) -> str:
    """A number as it is read: counts with thousands set apart, quantities with so many ``decimals``.

    Parameters
    ----------
    value : float or None
        An ``int`` is a count. NaN, infinite and None are a dash.
    signed : bool
        Whether to write a plus, too; zero has no sign.
    decimals : int, optional
        Digits after the point; negative ones round to tens, hundreds and so on. By default three, and above 100 as
        many as make four digits.

    Examples
    --------
    >>> number(0.24567, signed=True), number(1234.5), number(12345), number(0.00012)
    ('+0.246', '1,234', '12,345', '0.0001')
    """
    if value is None or not math.isfinite(value):
        return NOTHING
    if isinstance(value, int):
        return f"{value:{'+' if signed and value else ''},}"
    if abs(value) < _ZERO:
        return f"{0:.{_DECIMALS if decimals is None else max(decimals, 0)}f}"
    sign = "+" if signed else ""
    if abs(value) >= _LARGE:
        return f"{value:{sign}.3g}"
    if decimals is None:
        decimals = _DECIMALS if abs(value) < 100 else max(_DECIMALS - math.floor(math.log10(abs(value))), 0)
    if abs(value) < 10.0**-decimals / 2:
        decimals = -math.floor(math.log10(abs(value)))
    if decimals > _MOST_DECIMALS:
        return f"{value:{sign}.1g}"
    return f"{round(value, decimals):{sign},.{max(decimals, 0)}f}"


def p_value(value: float | None) -> str:
    """A p or q value as ``number`` writes it; however small, it is no rounding of zero.

    Examples
    --------
    >>> p_value(0.0312), p_value(2.34e-12), p_value(float("nan"))
    ('0.031', '2e-12', '–')
    """
    return f"{value:.1g}" if value and 0 < value < _ZERO else number(value)


def decimals_of(estimate: Estimate) -> int | None:
    """Decimals that show two or three digits of the half-width, three where that is among them; None: no interval."""
    half = (estimate.high - estimate.low) / 2
    if not (estimate.has_interval and _ZERO < half < math.inf):
        return None
    order = math.floor(math.log10(half))
    return min(max(_DECIMALS, 1 - order), 2 - order, _MOST_DECIMALS)


def cells(estimate: Estimate, signed: bool = True) -> tuple[str, str]:
    """Value and interval for two columns of a table; a dash for what is not defined.

    Examples
    --------
    >>> cells(Estimate(0.409, 0.22, 0.598)), cells(Estimate(21.4, -310.2, 353.0)), cells(Estimate(float("nan")))
    (('+0.409', '+0.220 to +0.598'), ('+21', '-310 to +353'), ('–', '–'))
    """
    decimals = decimals_of(estimate)
    value = number(estimate.value, signed, decimals)
    if not estimate.has_interval:
        return value, NOTHING
    return value, " to ".join(number(bound, signed, decimals) for bound in (estimate.low, estimate.high))


def in_words(estimate: Estimate, quantity: Quantity = D, units: str = "studies", these: Estimate | None = None) -> str:
    """An estimate in running text.

    Parameters
    ----------
    estimate : Estimate
        The value and its interval.
    quantity : Quantity
        What it is of, by default d.
    units : str
        What the interval draws, of which it would need two.
    these : Estimate, optional
        Of a mean over studies, the same value with its interval over new people in these studies.

    Examples
    --------
    >>> in_words(Estimate(3.2964, 2.9, 3.7), NLL)
    'NLL = 3.296 nats per response, 95 % interval 2.900 to 3.700'
    >>> in_words(Estimate(0.409, n_units=1), D, "people")
    'd = +0.409; no interval: it needs two people or more'
    >>> in_words(Estimate(3.2964, 2.9, 3.7), NLL, these=Estimate(3.2964, 3.1, 3.5))
    'NLL = 3.296 nats per response, 95 % interval 2.900 to 3.700 for studies like these, 3.100 to 3.500 for new people \
in these studies'
    """
    if not estimate.is_defined:
        return f"{quantity.name} is not defined"
    named = {"": estimate}
    if these is not None and these.has_interval:
        named = {f" for {STUDIES_LIKE_THESE}": estimate, f" for {NEW_PEOPLE}": these}
    shown = {about: one for about, one in named.items() if one.has_interval}
    value = cells(next(iter(shown.values()), estimate), quantity.is_difference)[0]
    said = f"{quantity.name} = {value}{f' {quantity.unit}' if quantity.unit else ''}"
    if not shown:
        return f"{said}; {no_interval(units, these if these is not None and units == 'people' else estimate)}"
    if quantity.is_difference and len(shown) > 1 and len({one.excludes_zero for one in shown.values()}) == 1:
        ends = ", ".join(f"{cells(one, signed=True)[1]}{about}" for about, one in shown.items())
        return f"{said}, {INTERVAL} {ends}, both of which {'exclude' if estimate.excludes_zero else 'include'} zero"
    parts = []
    for about, one in shown.items():
        zero = f", which {'excludes' if one.excludes_zero else 'includes'} zero" if quantity.is_difference else ""
        parts.append(f"{cells(one, quantity.is_difference)[1]}{about}{zero}")
    return f"{said}, {INTERVAL} {', '.join(parts)}"


def plus_minus(value: float, half_width: float) -> str:
    """A value and the half-width that was asked for, such as ``1.234 ± 0.050``."""
    decimals = decimals_of(Estimate(value, value - half_width, value + half_width))
    return f"{number(value, decimals=decimals)} ± {number(half_width, decimals=decimals)}"


def percent(share: float, signed: bool = False, decimals: int = 0) -> str:
    """A share in percent; a dash for none. What is not none or all of it is not written as such.

    Examples
    --------
    >>> percent(0.75), percent(0.9996), percent(-0.997), percent(-0.004, signed=True), percent(-1e-17)
    ('75 %', '99.96 %', '-99.7 %', '-0.4 %', '0 %')
    """
    if not math.isfinite(share):
        return NOTHING
    value = 100 * share
    gap = min(abs(value), abs(abs(value) - 100))
    if _ZERO < gap <= 10.0**-decimals / 2:
        decimals = -math.floor(math.log10(gap))
    return f"{value if abs(value) > _ZERO else 0:{'+' if signed and abs(value) > _ZERO else ''}.{decimals}f} %"


def no_interval(units: str, estimate: Estimate) -> str:
    """Why an estimate has no interval, where it has none: too few ``units``, or too little of some of them alone.

    Examples
    --------
    >>> no_interval("people", Estimate(0.4, n_units=2))
    'no interval: it is not defined by some of these 2 people alone'
    """
    if estimate.n_units > 1 and units == "studies":
        return f"no interval: these {estimate.n_units:,} studies are equal, or some of them alone do not define it"
    if estimate.n_units > 1:
        return f"no interval: it is not defined by some of these {estimate.n_units:,} {units} alone"
    if estimate.n_units or units != "people":
        return f"no interval: it needs two {units} or more"
    return f"no interval: too few {units}, or too few responses of theirs"


def listed(names: Sequence[str]) -> str:
    """Names in a sentence: ``a, b and c``."""
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else "".join(names)


def verdict(
    contrast: Contrast,
    difference: Estimate,
    quantity: Quantity = D,
    units: str = "studies",
    what: str = "people",
    these: Estimate | None = None,
    beside: str = "",
) -> str:
    """Which side predicts people worse, if that can be told, as a sentence without capital and full stop.

    Parameters
    ----------
    contrast : Contrast
        The two sides; the sentence is about the first.
    difference : Estimate
        first − second, of a cost such as the NLL: above zero, the first side is the worse one.
    quantity : Quantity
        What ``difference`` is, by default d.
    units : str
        What the interval draws, "studies" or "people".
    what : str
        Who or what is predicted.
    these : Estimate, optional
        Of a mean over studies, the same difference with its interval over new people in these studies.
    beside : str
        Another quantity of the same difference in words, which is said first.

    Examples
    --------
    >>> verdict(Contrast("chat", "base"), Estimate(0.2, 0.1, 0.3))
    'people are predicted worse by chat than by base (d = +0.200, 95 % interval +0.100 to +0.300, which excludes zero)'
    """
    first, second = contrast.names
    if not difference.is_defined:
        return f"{quantity.name}({contrast}) is not defined: {_UNDEFINED}{f' ({beside})' if beside else ''}"
    size = "; ".join(filter(None, [beside, in_words(difference, quantity, units, these)]))
    of_people = these if these is not None and these.has_interval else None
    shown = [one for one in (difference, of_people) if one is not None and one.has_interval]
    if not shown:
        sides = f"{contrast.by} {first} or {contrast.by} {second}"
        return f"whether {what} are predicted worse {sides} cannot be told ({size})"
    word = "worse" if shown[-1].low > 0 else "better"
    who = f"{what} are predicted {word} {contrast.by} {first} than {contrast.by} {second}"
    if difference.has_interval and all(one.excludes_zero for one in shown):
        return f"{who} ({size})"
    if of_people is not None and of_people.excludes_zero:
        return f"{who}, in these studies; of others it cannot be said ({size})"
    return f"no clear difference between {first} and {second} ({size})"


def verdict_over(
    contrast: Contrast,
    overall: Estimate,
    studies: Mapping[str, Estimate],
    quantity: Quantity = D,
    what: str = "people",
    these: Estimate | None = None,
    beside: str = "",
) -> str:
    """The verdict over studies; where only one of them has the difference, on this one, by its people.

    Parameters
    ----------
    contrast : Contrast
        The two sides; the sentence is about the first.
    overall : Estimate
        The mean difference over studies.
    studies : mapping of str to Estimate
        The difference in each study.
    quantity : Quantity
        What the differences are of, by default d.
    what : str
        Who or what is predicted.
    these : Estimate, optional
        The mean difference with its interval over new people in these studies.
    beside : str
        Another quantity of the same difference in words, which is said first.
    """
    defined = {name: difference for name, difference in studies.items() if difference.is_defined}
    if overall.has_interval or len(defined) != 1:
        return verdict(contrast, overall, quantity, "studies", what, these, beside)
    ((name, difference),) = defined.items()
    said = verdict(contrast, difference, quantity, "people", what, beside=beside)
    return f"in {name}, {said}; this says nothing of other studies"


def verdict_of(effects: "Sequence[Effect]", contrast: Contrast | None = None) -> str:
    """The verdict over all studies, which are the first of ``effects``; where there is one study, by its people.

    Parameters
    ----------
    effects : sequence of Effect
        As ``estimate_effects`` gives them, those of its first group first.
    contrast : Contrast, optional
        Other names of the two sides.
    """
    overall, several = effects[0], ""
    if overall.group != "pair":
        averaged = "pair" if overall.contrast == POST_TRAINING else "model"
        several = f"on average over these {overall.n_pairs} {averaged}{'s' * (overall.n_pairs > 1)}, "
    group = (overall.group, overall.group_name, "study")
    of_studies = [e for e in effects if (e.group, e.group_name, e.level) == group]
    studies = {e.name: e.d for e in of_studies}
    one = [e for e in of_studies if e.d.is_defined] if not overall.d.has_interval else []
    beside = nats_in_words(one[0], "people") if len(one) == 1 else nats_in_words(overall)
    said = verdict_over(contrast or overall.contrast, overall.d, studies, these=overall.d_these, beside=beside)
    said += _of_disagreement(one[0] if len(one) == 1 else overall)
    if len(one) == 1:
        said += f"; {_of_items(one[0])}"
    return several + said + (f"; {_of_models(overall)}" if several else "")


def _of_disagreement(judged: "Effect") -> str:
    """That d and the difference in nats are not alike clear, where they are not; the verdict is d's."""
    alike = ((judged.d, judged.nll_difference), (judged.d_these, judged.nll_difference_these))
    if any(d.excludes_zero and nats.excludes_zero and (d.low > 0) != (nats.low > 0) for d, nats in alike):
        return "; this is the verdict of d, and nats say the opposite: see the studies"
    known = [(d, nats) for d, nats in alike if d.has_interval and nats.has_interval]
    if any(d.excludes_zero != nats.excludes_zero for d, nats in known):
        return "; this is the verdict of d, and nats do not agree: see the responses that lost most"
    return ""


def _of_items(study: "Effect") -> str:
    """What a single study says of other items than its own."""
    if not study.d_items.has_interval:
        return "it is about these items"
    return f"for new people and new items, {in_words(study.d_items, D, 'people')}"


def _of_models(average: "Effect") -> str:
    """What an average over models says of other models than these."""
    if not average.d_models.has_interval:
        return "this says nothing of other models"
    return f"for {MODELS_LIKE_THESE}, {in_words(average.d_models)}"


def nats_in_words(effect: "Effect", units: str = "studies") -> str:
    """The difference of two NLLs in nats, and in bits, per response; of one study, by its people."""
    bits = number(effect.nll_difference.value / math.log(2), signed=True)
    quantity = Quantity("difference", f"nats ({bits} bits) per response", is_difference=True)
    these = None if units == "people" else effect.nll_difference_these
    return in_words(effect.nll_difference, quantity, units, these)


def of_cut_alike(alike: "Effect") -> str:
    """How d moves where every session of a study ends before the first response that one side lacks."""
    units, these = ("people", None) if alike.n_studies == 1 else ("studies", alike.d_these)
    estimate = alike.d if alike.n_studies > 1 else alike.d_these
    return (
        "where every session of a study ends before the first response that one side lacks "
        f"({alike.n_responses:,} responses), {in_words(estimate, D, units, these)}"
    )


def of_responses(effect: "Effect", first: str) -> str:
    """How many responses are predicted worse, and how much of the difference few of them hold."""
    units = "people" if effect.level == "study" else "studies"
    said = in_words(effect.p_worse, P_WORSE, units, None if units == "people" else effect.p_worse_these)
    parts = [f"share of responses predicted worse by {first}: {said}"] if effect.p_worse.is_defined else []
    if effect.top_share > 0:  # below, where studies of both signs all but cancel
        held = f"{percent(effect.top_share)} of" if effect.top_share <= 1 else "more than the whole of"
        most = "gained" if effect.nll_difference.value < 0 else "lost"
        parts.append(f"the 1 % of responses that {most} most (of each study at least one) hold {held} the difference")
    if effect.d_within.is_defined:
        within = in_words(effect.d_within, Quantity("d", is_difference=True), units)
        parts.append(f"within experiments and kinds of answers, {within}")
    return "; ".join(parts)
