"""Reasoning with one right answer: conditionals, disjunctions, syllogisms, and sums where intuition errs."""

from random import Random

from centaurlab.data.assistant.items import Draft, Template, templates

_CONDITIONALS = {
    "plain": "If {p}, then {q}. {fact}. Does it follow that {conclusion}? Answer Yes or No first.",
    "rule": "In a laboratory this rule always holds: whenever {p}, {q}. Now we learn: {fact}. Is it certain that "
    "{conclusion}? Say Yes or No first.",
    "manual": 'A manual says: "If {p}, then {q}." It is correct. {fact}. Must it be the case that {conclusion}? '
    "Begin with Yes or No.",
}
_DISJUNCTIONS = {
    "plain": "It is true that {p}, or that {q}, or both. {fact}. Does it follow that {conclusion}? Answer Yes or No "
    "first.",
    "report": "A reliable report says that at least one of two things holds: {p}; {q}. We know: {fact}. Can we be sure "
    "that {conclusion}? Start with Yes or No.",
    "memo": "From a memo without errors: {p} and/or {q}. {fact}. Is it then necessary that {conclusion}? Yes or No "
    "first, please.",
}
_SYLLOGISMS = {
    "plain": "{first}. {second}. Does it follow that {conclusion}? Answer Yes or No first.",
    "planet": "Of the things on a planet we know only this: {first}, and {second}. Is it certain that {conclusion}? "
    "Say Yes or No first.",
    "museum": "A museum guide, who is always right, tells us: {second}; {first}. Must it be true that {conclusion}? "
    "Begin with Yes or No.",
}
# premise, second premise, conclusion, whether it is valid
_FIGURES = (
    ("all {a} are {b}", "all {b} are {c}", "all {a} are {c}", True),
    ("all {a} are {b}", "no {b} are {c}", "no {a} are {c}", True),
    ("some {a} are {b}", "all {b} are {c}", "some {a} are {c}", True),
    ("all {a} are {b}", "all {c} are {b}", "all {a} are {c}", False),
    ("some {a} are {b}", "some {b} are {c}", "some {a} are {c}", False),
    ("no {a} are {b}", "no {b} are {c}", "no {a} are {c}", False),
)
_THINGS = (
    *("blims", "drons", "fensels", "gorps", "hulks", "jeps", "kradles", "lunts", "mips", "norgs", "plaffs", "quins"),
    *("rasps", "snells", "tarks", "vims", "wobs", "yelts", "zants", "orbels"),
)
_DEVICES = ("lamp", "pump", "fan", "alarm", "valve", "motor", "printer", "heater", "camera", "radio", "bell", "gate")
_COLOURS = ("red", "blue", "green", "white", "yellow", "black")

_BATS = {
    "shop": "A {x} and a {y} cost {total} cents together. The {x} costs {more} cents more than the {y}. How many cents "
    "does the {y} cost? Give the number first.",
    "weights": "A {x} and a {y} weigh {total} grams together, and the {x} weighs {more} grams more than the {y}. What "
    "is the weight of the {y} in grams? Start with the number.",
    "lengths": "Laid end to end, a {x} and a {y} measure {total} millimetres; the {x} is {more} millimetres longer "
    "than the {y}. How long is the {y}, in millimetres? Number first, please.",
}
_OBJECTS = ("bat", "ball", "pen", "book", "cup", "brush", "spoon", "torch", "comb", "ruler", "key", "candle")

_WORKERS = {
    "machines": "{n} machines need {t} minutes to make {n} parts. How many minutes do {m} machines need to make {m} "
    "parts? Give the number first.",
    "printers": "With {n} printers, {n} posters are done in {t} minutes. How many minutes does it take {m} printers to "
    "print {m} posters? Start with the number.",
    "bakers": "{n} bakers shape {n} loaves in {t} minutes. In how many minutes do {m} bakers shape {m} loaves? Number "
    "first, please.",
}
_GROWTH = {
    "lilies": "Lilies on a lake double their area every day and cover all of it after {n} days. After how many days "
    "was half of it covered? Give the number first.",
    "mould": "A patch of mould doubles every hour. It fills a dish in {n} hours. In how many hours did it fill half "
    "the dish? Start with the number.",
    "rumour": "The number of people who know a rumour doubles each day; on day {n} the whole town knows it. On what "
    "day did half the town know it? Number first, please.",
}
_CHANGES = {
    "price": "A price of {start} dollars rises by {p}% and then falls by {p}%. How many dollars is it then? Give the "
    "number first.",
    "herd": "A herd of {start} animals grows by {p}% in one year and shrinks by {p}% in the next. How many animals are "
    "there in the end? Start with the number.",
    "salary": "Somebody earns {start} euros, first gets {p}% more, and later {p}% less than that. What is the pay at "
    "the end, in euros? Number first, please.",
}
_PRODUCTS = {
    "boxes": "{a} boxes hold {b} pencils each. How many pencils are that? Give the number first.",
    "seats": "A hall has {a} rows of {b} seats. How many seats has it? Start with the number.",
    "steps": "Somebody walks {b} steps a minute for {a} minutes. How many steps is that? Number first, please.",
}


def _statements(rng: Random) -> tuple[str, tuple[str, str], tuple[str, str]]:
    """A case, and two statements, each with its denial."""
    first, second = rng.sample(_DEVICES, 2)
    x, y = rng.sample(_COLOURS, 2)
    return (
        f"{x} {first},{y} {second}",
        (f"the {x} {first} is on", f"the {x} {first} is off"),
        (f"the {y} {second} is running", f"the {y} {second} is idle"),
    )


def _conditional(rng: Random, wording: str) -> Draft:
    case, (p, not_p), (q, not_q) = _statements(rng)
    fact, conclusion, valid = rng.choice(((not_q, not_p, True), (p, q, True), (q, p, False), (not_p, not_q, False)))
    return _follows(
        case,
        wording.format(p=p, q=q, fact=fact, conclusion=conclusion),
        valid,
        "The rule leaves no other case open."
        if valid
        else "The rule does not say that nothing else can bring it about.",
    )


def _disjunction(rng: Random, wording: str) -> Draft:
    case, (p, not_p), (q, not_q) = _statements(rng)
    fact, conclusion, valid = rng.choice(((not_p, q, True), (not_q, p, True), (p, not_q, False), (q, not_p, False)))
    return _follows(
        case,
        wording.format(p=p, q=q, fact=fact, conclusion=conclusion),
        valid,
        "One of the two must hold, and only this one is left." if valid else "Both may hold at once.",
    )


def _syllogism(rng: Random, wording: str) -> Draft:
    a, b, c = rng.sample(_THINGS, 3)
    *parts, valid = rng.choice(_FIGURES)
    first, second, conclusion = (str(part).format(a=a, b=b, c=c) for part in parts)
    return _follows(
        f"{a},{b},{c}",
        wording.format(first=first, second=second, conclusion=conclusion),
        bool(valid),
        "It holds in every case that the premises allow." if valid else "The premises allow a case in which it fails.",
    )


def _follows(case: str, question: str, valid: bool, reason: str) -> Draft:
    answer, foil = ("Yes", "No") if valid else ("No", "Yes")
    foil_reason = "One cannot be so sure." if valid else "That sounds right."
    question = ". ".join(_sentence(part) for part in question.split(". "))
    return Draft(case, question, answer, foil, reason, foil_reason)


def _bat_and_ball(rng: Random, wording: str) -> Draft:
    small, more = rng.randrange(5, 100, 5), rng.randrange(20, 400, 10)
    x, y = rng.sample(_OBJECTS, 2)
    total = 2 * small + more
    return Draft(
        f"{total},{more}",
        wording.format(x=x, y=y, total=total, more=more),
        str(small),
        str(total - more),
        f"{small} and {small + more} make {total}.",
        f"{total} minus {more} is {total - more}.",
    )


def _workers(rng: Random, wording: str) -> Draft:
    n, t = rng.randrange(2, 30), rng.randrange(2, 30)
    m = rng.choice([k for k in (10, 20, 40, 50, 60, 80, 100, 200) if k != t])
    return Draft(
        f"{n},{t},{m}",
        wording.format(n=n, t=t, m=m),
        str(t),
        str(m),
        f"Each makes one in {t} minutes, and they work side by side.",
        f"The numbers are all alike, so it is {m}.",
    )


def _growth(rng: Random, wording: str) -> Draft:
    n = rng.randrange(6, 200, 2)
    return Draft(
        str(n),
        wording.format(n=n),
        str(n - 1),
        str(n // 2),
        "One doubling before the end it was half.",
        f"Half of {n} is {n // 2}.",
    )


def _change(rng: Random, wording: str) -> Draft:
    p, start = rng.choice((10, 20, 30, 40, 50)), 100 * rng.randrange(1, 60)
    end = start - start * p * p // 10_000
    return Draft(
        f"{p},{start}",
        wording.format(p=p, start=start),
        str(end),
        str(start),
        f"The second {p}% are of a larger number.",
        "Up and down by the same share changes nothing.",
    )


def _product(rng: Random, wording: str) -> Draft:
    a, b = rng.randrange(3, 13), rng.randrange(11, 100)
    right = a * b
    wrong = right + rng.choice((-10, 10, -a, a))
    return Draft(
        f"{a},{b}",
        wording.format(a=a, b=b),
        str(right),
        str(wrong),
        f"{a} times {b} is {right}.",
        f"{a} times {b} is roughly {wrong}.",
    )


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


TEMPLATES: tuple[Template, ...] = (
    *templates("conditional", _CONDITIONALS, _conditional),
    *templates("disjunction", _DISJUNCTIONS, _disjunction),
    *templates("syllogism", _SYLLOGISMS, _syllogism),
    *templates("difference", _BATS, _bat_and_ball),
    *templates("workers", _WORKERS, _workers),
    *templates("growth", _GROWTH, _growth),
    *templates("change", _CHANGES, _change),
    *templates("product", _PRODUCTS, _product),
)
