"""Decisions with a normative answer: expected value, discounting, maximising, sunk costs."""

from fractions import Fraction
from random import Random

from centaurlab.data.assistant.items import Draft, Template, templates, two_options

_GAMBLES = {
    # question, risky option, sure option
    "tickets": (
        "You may take one of two tickets, many times over. Which one pays more on average?",
        "a ticket that pays {win} dollars with a probability of {p}% and otherwise nothing",
        "a ticket that always pays {sure} dollars",
    ),
    "machines": (
        "Two machines stand in a hall, and you want to earn as much as possible in the long run. Which do you play?",
        "the red machine: {win} points in {p}% of the rounds, no points in the others",
        "the grey machine: {sure} points in every round",
    ),
    "harvest": (
        "A farmer plans for many years and asks which crop has the higher expected income.",
        "grapes: {win} thousand crowns in a good year, which has a chance of {p}%, else nothing",
        "barley: {sure} thousand crowns every year",
    ),
    "contracts": (
        "I am a trader with many such deals a week. Which contract has the higher expected value?",
        "{win} euros if the client signs, which happens in {p}% of such cases, and zero if not",
        "{sure} euros, guaranteed",
    ),
    "delivery": (
        "A courier is paid per trip and makes this choice daily. Which route earns more on average?",
        "the river route: a bonus of {win} coins on the {p}% of days without fog, none on other days",
        "the road: {sure} coins each day",
    ),
}

_DELAYS = {
    # question, early option, late option
    "bank": (
        "My bank pays {rate}% interest a year, compounded, and I do not need the money soon. What should I take?",
        "{now} dollars today",
        "{later} dollars in {years} years",
    ),
    "employer": (
        "My employer offers a bonus in one of two ways. Savings earn {rate}% per year. Which is worth more?",
        "{now} euros paid at once",
        "{later} euros paid after {years} years",
    ),
    "refund": (
        "A shop owes me money. I can invest safely at {rate}% a year. Which refund should I choose?",
        "{now} pounds immediately",
        "{later} pounds, {years} years from now",
    ),
    "inheritance": (
        "An aunt lets me decide when to be given a sum; a deposit at {rate}% yearly is open to me. Which is better?",
        "a gift of {now} francs this week",
        "a gift of {later} francs in {years} years",
    ),
}

_PREDICTIONS = {
    # question, maximising option, matching option
    "lamp": (
        "A lamp turns {x} in {p}% and {y} in {q}% of the trials, at random. I guess each of the next {n} trials. "
        "What gets the most guesses right?",
        "always guess {x}",
        "guess {x} in about {p}% of the trials and {y} in the others",
    ),
    "cards": (
        "A shuffled card is {x} with probability {p}% and {y} with probability {q}%; it is put back every time. "
        "I call the colour {n} times. What is the better plan?",
        "call {x} every time",
        "mix the calls: {x} in {p}% of them, {y} in {q}%",
    ),
    "doors": (
        "In every round a coin lies behind the {x} door ({p}% of rounds) or the {y} door ({q}%), without any pattern. "
        "I open one door in each of {n} rounds. How do I find the most coins?",
        "open the {x} door in all rounds",
        "open the {x} door in {p}% of the rounds, to match how often the coin is there",
    ),
    "signals": (
        "Each signal is independently {x} ({p} of 100) or {y} ({q} of 100). Before each of {n} signals I bet on one. "
        "Which betting wins more?",
        "bet on {x} before each signal",
        "spread the bets in proportion, {p} to {q}",
    ),
}

_SUNK = {
    # question, going on, stopping
    "renovation": (
        "I have spent {spent} dollars on repairing a boat. Finishing costs {cost} dollars more, and the finished boat "
        "would be worth {value} dollars to me. Unfinished it is worth nothing. What should I do?",
        "finish it",
        "stop now",
    ),
    "software": (
        "Our team put {spent} hours into a tool. It needs {cost} further hours, and would then save us {value} hours "
        "in all. What is sensible?",
        "complete the tool",
        "drop the tool",
    ),
    "course": (
        "I paid {spent} euros for a course, which cannot be refunded. Attending the rest costs {cost} euros in "
        "travel, and what I would still learn is worth {value} euros to me. What do you advise?",
        "attend the rest",
        "stay at home",
    ),
    "mine": (
        "A company has sunk {spent} million into a mine. Opening it takes another {cost} million and would bring in "
        "{value} million in total. What should the company do?",
        "open the mine",
        "give the mine up",
    ),
}

_PAIRS = (
    *(("red", "blue"), ("green", "white"), ("yellow", "black"), ("left", "right"), ("upper", "lower")),
    *(("round", "square"), ("bright", "dim"), ("striped", "plain")),
)


def _expected_value(rng: Random, wording: tuple[str, str, str]) -> Draft:
    p, win = rng.randrange(10, 100, 10), rng.randrange(10, 210, 10)
    mean = Fraction(p * win, 100)
    sure = max(1, round(mean * Fraction(rng.choice((40, 60, 75, 130, 150, 170)), 100)))
    if sure == mean:
        return _expected_value(rng, wording)
    question, risky, safe = (part.format(p=p, win=win, sure=sure) for part in wording)
    better = "more" if mean > sure else "less"
    right, wrong = (risky, safe) if mean > sure else (safe, risky)
    options, answer, foil = two_options(rng, right, wrong)
    return Draft(
        f"{p},{win},{sure}",
        f"{question} {options}",
        answer,
        foil,
        f"{p}% of {win} is {_number(mean)} on average, which is {better} than {sure}.",
        "It is better to be safe than sorry." if mean > sure else f"I would try my luck for the {win}.",
    )


def _discounting(rng: Random, wording: tuple[str, str, str]) -> Draft:
    now, rate, years = rng.randrange(50, 510, 10), rng.choice((5, 10, 20)), rng.choice((2, 3, 4))
    grown = now * Fraction(100 + rate, 100) ** years
    later = round(grown * Fraction(rng.choice((75, 85, 115, 130, 150)), 100))
    question, early, late = (part.format(now=now, rate=rate, years=years, later=later) for part in wording)
    is_later = later > grown
    options, answer, foil = two_options(rng, *((late, early) if is_later else (early, late)))
    return Draft(
        f"{now},{rate},{years},{later}",
        f"{question} {options}",
        answer,
        foil,
        f"{now} grows to about {round(grown)} in {years} years, {'less' if is_later else 'more'} than {later}.",
        "I would rather have it now than wait." if is_later else "The bigger sum looks better to me.",
    )


def _maximising(rng: Random, wording: tuple[str, str, str]) -> Draft:
    p, n = rng.randrange(55, 95, 5), rng.choice((10, 20, 40, 50, 100, 200))
    x, y = rng.sample(rng.choice(_PAIRS), 2)
    question, always, matching = (part.format(x=x, y=y, p=p, q=100 - p, n=n) for part in wording)
    options, answer, foil = two_options(rng, always, matching)
    matched = Fraction(p * p + (100 - p) ** 2, 100)
    return Draft(
        f"{p},{n},{x},{y}",
        f"{question} {options}",
        answer,
        foil,
        f"The likelier one every time is right in {p}% of the cases, matching only in about {round(matched)}%.",
        f"The other one comes up in {100 - p}% of the cases too, so I would follow how often each comes.",
    )


def _sunk_cost(rng: Random, wording: tuple[str, str, str]) -> Draft:
    spent, cost = rng.randrange(100, 1000, 50), rng.randrange(20, 400, 10)
    value = round(cost * Fraction(rng.choice((30, 50, 70, 140, 170, 200)), 100))
    question, go_on, stop = (part.format(spent=spent, cost=cost, value=value) for part in wording)
    pays = value > cost
    options, answer, foil = two_options(rng, *((go_on, stop) if pays else (stop, go_on)))
    more = "more" if pays else "less"
    return Draft(
        f"{spent},{cost},{value}",
        f"{question} {options}",
        answer,
        foil,
        f"What is spent is gone; only what is ahead counts, and {value} is {more} than {cost}.",
        f"After {spent} already lost it would be wrong to put in more."
        if pays
        else f"Else the {spent} would be wasted.",
    )


def _number(value: Fraction) -> str:
    return f"{float(value):g}"


TEMPLATES: tuple[Template, ...] = (
    *templates("expected_value", _GAMBLES, _expected_value),
    *templates("discounting", _DELAYS, _discounting),
    *templates("maximising", _PREDICTIONS, _maximising),
    *templates("sunk_cost", _SUNK, _sunk_cost),
)
