"""Judgements of chance: Bayes' rule, conjunctions, independent events."""

from fractions import Fraction
from random import Random

from centaurlab.data.assistant.items import Draft, Template, templates, two_options

_TESTS = {
    # question, hypothesis, its opposite; of 1,000 there are {base} cases, the test finds {hit}%, and wrongly {alarm}%
    "illness": (
        "{base} of 1,000 people have a certain illness. A test is positive in {hit}% of those who have it, and also "
        "in {alarm}% of those who do not. Somebody's test is positive. What is more likely?",
        "this person has the illness",
        "this person does not have the illness",
    ),
    "parts": (
        "In a factory {base} of 1,000 parts are faulty. A sensor rings for {hit}% of the faulty parts and, by mistake, "
        "for {alarm}% of the good ones. It has just rung. What is more probable?",
        "the part is faulty",
        "the part is good",
    ),
    "messages": (
        "Out of 1,000 messages {base} are fraud. A filter marks {hit}% of the fraud and {alarm}% of the honest "
        "messages. One message is marked. Which is likelier?",
        "it is fraud",
        "it is honest",
    ),
    "birds": (
        "On an island {base} of 1,000 birds are of a rare kind. An observer recognises {hit}% of the rare birds, and "
        "takes {alarm}% of the common ones for rare. The observer reports a rare bird. What should one believe?",
        "the bird is of the rare kind",
        "the bird is of the common kind",
    ),
}

_PEOPLE = {
    # question, one statement, both statements
    "portrait": (
        "{name} likes {hobby}. Which of these is more likely to be true of {name}?",
        "{name} is a {job}",
        "{name} is a {job} and {extra}",
    ),
    "neighbour": (
        "I only know that my neighbour {name} enjoys {hobby}. Which is the more probable?",
        "my neighbour is a {job}",
        "my neighbour is a {job} and also {extra}",
    ),
    "forecast": (
        "{name}, who loves {hobby}, will be asked about life in ten years. Which answer has the higher probability?",
        "{name} works as a {job}",
        "{name} works as a {job}, and besides {extra}",
    ),
}
_NAMES = ("Alma", "Boris", "Chen", "Dana", "Emre", "Farah", "Goran", "Hana", "Idris", "Jana", "Kofi", "Lena", "Milo")
_HOBBIES = ("chess", "old maps", "hiking", "jazz", "baking", "chemistry", "poetry", "sailing", "puzzles", "gardening")
_JOBS = ("teacher", "nurse", "librarian", "driver", "carpenter", "lawyer", "cook", "clerk", "farmer", "pilot")
_EXTRAS = (
    *("plays in a band", "writes a diary", "owns a telescope", "speaks at protests", "collects stamps"),
    *("keeps bees", "paints at night", "leads a choir", "mends clocks", "reads physics"),
)

_RUNS = {
    # question, "equally likely", "the other one is due"
    "coin": (
        "A fair coin has just shown {side} {n} times in a row. What about the next toss?",
        "heads and tails are equally likely",
        "{other} is more likely",
    ),
    "dice": (
        "A fair die showed {parity} numbers in each of the last {n} throws. What holds for the next throw?",
        "odd and even numbers have the same chance",
        "an {unlike} number has the better chance",
    ),
    "draws": (
        "An urn holds ten {side} and ten {other} balls. After every draw the ball goes back. The last {n} balls were "
        "all {side}. What can be said of the next ball?",
        "{side} and {other} are equally probable",
        "{other} is now more probable",
    ),
    "births": (
        "In a hospital where girls and boys are equally frequent, the last {n} babies were all {child}. What is true "
        "of the next baby?",
        "a girl and a boy are just as likely",
        "a {unborn} is likelier",
    ),
}

_LOADED = {
    # question, the frequent one, the one that is due; {k} of 10 are frequent
    "spinner": (
        "{k} of the 10 fields of a spinner are {x}, the others are {y}. Its last {n} stops were all {x}. Where will it "
        "more likely stop next?",
        "on {x}",
        "on {y}",
    ),
    "bag": (
        "A bag has 10 marbles, {k} of them {x} and the rest {y}. I draw one, note it and put it back; the last {n} "
        "were all {x}. Which colour is more likely next?",
        "{x}",
        "{y}",
    ),
    "wheel": (
        "A wheel has 10 equal slots: {k} {x}, the rest {y}. It came to rest {n} times in sequence at {x}. On which "
        "should I bet now?",
        "I should bet on {x}",
        "I should bet on {y}",
    ),
}
_COLOURS = ("red", "blue", "green", "white", "yellow", "black", "purple", "orange")


def _bayes(rng: Random, wording: tuple[str, str, str]) -> Draft:
    wants_likely = rng.random() < 0.5
    while True:
        base = rng.choice((2, 5, 10, 20, 40, 50, 100, 200, 300, 400))
        hit, alarm = rng.choice((60, 70, 80, 90, 95, 99)), rng.choice((1, 2, 4, 5, 10, 15, 20, 30))
        found, false = base * hit, (1000 - base) * alarm  # of 100,000
        posterior = Fraction(found, found + false)
        if posterior > Fraction(3, 5) if wants_likely else posterior < Fraction(2, 5):
            break
    question, yes, no = (part.format(base=base, hit=hit, alarm=alarm) for part in wording)
    options, answer, foil = two_options(rng, *((yes, no) if wants_likely else (no, yes)))
    return Draft(
        f"{base},{hit},{alarm}",
        f"{question} {options}",
        answer,
        foil,
        f"Of 100,000 there would be {found} right alarms and {false} false ones.",
        "One alarm alone does not tell much." if wants_likely else f"After all, {hit}% is nearly certain.",
    )


def _conjunction(rng: Random, wording: tuple[str, str, str]) -> Draft:
    words = {
        "name": rng.choice(_NAMES),
        "hobby": rng.choice(_HOBBIES),
        "job": rng.choice(_JOBS),
        "extra": rng.choice(_EXTRAS),
    }
    question, single, both = (part.format(**words) for part in wording)
    options, answer, foil = two_options(rng, single, both)
    return Draft(
        ",".join(words.values()),
        f"{question} {options}",
        answer,
        foil,
        "Two things together are never more likely than one of them alone.",
        "The fuller description suits such a person better.",
    )


def _independence(rng: Random, wording: tuple[str, str, str]) -> Draft:
    n = rng.randrange(3, 30)
    side, other = rng.sample(("heads", "tails") if "coin" in wording[0] else _COLOURS, 2)
    parity, unlike = rng.sample(("odd", "even"), 2)
    child, unborn = rng.choice((("girls", "boy"), ("boys", "girl")))
    words = {"n": n, "side": side, "other": other, "parity": parity, "unlike": unlike, "child": child, "unborn": unborn}
    question, equal, due = (part.format(**words) for part in wording)
    options, answer, foil = two_options(rng, equal, due)
    return Draft(
        str(n),
        f"{question} {options}",
        answer,
        foil,
        "Chance has no memory: what came before changes nothing.",
        f"After {n} in a row it has to change soon.",
    )


def _frequency(rng: Random, wording: tuple[str, str, str]) -> Draft:
    k, n = rng.randrange(6, 10), rng.randrange(3, 20)
    x, y = rng.sample(_COLOURS, 2)
    question, frequent, due = (part.format(k=k, n=n, x=x, y=y) for part in wording)
    options, answer, foil = two_options(rng, frequent, due)
    return Draft(
        f"{k},{n},{x},{y}",
        f"{question} {options}",
        answer,
        foil,
        f"Each time {k} of 10 are {x}, whatever came before.",
        f"After {n} times {x}, {y} is due.",
    )


TEMPLATES: tuple[Template, ...] = (
    *templates("bayes", _TESTS, _bayes),
    *templates("conjunction", _PEOPLE, _conjunction),
    *templates("independence", _RUNS, _independence),
    *templates("frequency", _LOADED, _frequency),
)
