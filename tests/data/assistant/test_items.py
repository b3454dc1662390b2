"""Every answer is computed again from the question's own words, by another way than the generator's."""

import re
from collections import Counter
from collections.abc import Callable
from fractions import Fraction
from itertools import product

import pytest

from centaurlab.data.assistant.generator import TEMPLATES, TOPICS, assistant_items, is_held_out
from centaurlab.data.assistant.items import AssistantItem
from centaurlab.runtime.errors import UserError

ITEMS = [item for split in ("train", "new_cases", "new_templates") for item in assistant_items(split, 2500, seed=7)]


def numbers(text: str) -> list[int]:
    return [int(number.replace(",", "")) for number in re.findall(r"\d[\d,]*\d|\d", text)]


def options(item: AssistantItem) -> dict[str, str]:
    first, second = re.fullmatch(r".*\(A\) (.*) \(B\) (.*)", item.question).groups()
    return {"A": first, "B": second}


def stem(item: AssistantItem) -> str:
    return item.question.partition(" (A) ")[0]


def expected_value(item: AssistantItem) -> str:
    worth = {}
    for letter, text in options(item).items():
        payoff = numbers(text)
        chance = re.search(r"(\d+)%", text)
        worth[letter] = Fraction(payoff[0]) * (Fraction(int(chance[1]), 100) if chance else 1)
    return max(worth, key=worth.get)


def discounting(item: AssistantItem) -> str:
    (rate,) = numbers(stem(item))
    present = {}
    for letter, text in options(item).items():
        amount, *years = numbers(text)
        present[letter] = Fraction(amount) / (1 + Fraction(rate, 100)) ** (years[0] if years else 0)
    return max(present, key=present.get)


def maximising(item: AssistantItem) -> str:
    """By the probability of a right guess of each plan, over both outcomes."""
    p = Fraction(next(n for n in numbers(stem(item)) if 50 < n < 100), 100)
    right = {letter: p * p + (1 - p) ** 2 if numbers(text) else p for letter, text in options(item).items()}
    return max(right, key=right.get)


def sunk_cost(item: AssistantItem) -> str:
    _, cost, value = numbers(stem(item))
    going_on = ("finish it", "complete the tool", "attend the rest", "open the mine")
    gain = {letter: value - cost if text in going_on else 0 for letter, text in options(item).items()}
    return max(gain, key=gain.get)


def bayes(item: AssistantItem) -> str:
    """By counting 100,000 cases one group at a time."""
    base, thousand, hit, alarm = [n for n in numbers(stem(item)) if n != 1000][:1] + [1000] + [
        int(percent) for percent in re.findall(r"(\d+)%", stem(item))
    ]  # fmt: skip
    alarms = Counter()
    for has_it, people in ((True, base * 100), (False, (thousand - base) * 100)):
        alarms[has_it] += people * (hit if has_it else alarm) // 100
    likely = alarms[True] > alarms[False]
    negative = re.compile(r"not have|good|honest|common")
    return next(letter for letter, text in options(item).items() if bool(negative.search(text)) != likely)


def conjunction(item: AssistantItem) -> str:
    return min(options(item), key=lambda letter: len(options(item)[letter]))


def independence(item: AssistantItem) -> str:
    equal = re.compile(r"equally|same chance|just as likely")
    return next(letter for letter, text in options(item).items() if equal.search(text))


def frequency(item: AssistantItem) -> str:
    counts = [n for n in numbers(stem(item)) if n != 10 and n < 10]
    frequent = re.search(r"all (\w+)\.|at (\w+)\.", stem(item))
    assert counts[0] > 5
    colour = frequent[1] or frequent[2]
    return next(letter for letter, text in options(item).items() if colour in text)


def entailed(premises: list[Callable[[bool, bool], bool]], conclusion: Callable[[bool, bool], bool]) -> str:
    """By a truth table of two statements."""
    worlds = [world for world in product((True, False), repeat=2) if all(premise(*world) for premise in premises)]
    return "Yes" if all(conclusion(*world) for world in worlds) else "No"


def literal(text: str) -> Callable[[bool, bool], bool]:
    """On or off is the first statement, running or idle the second."""
    state = re.search(r"\b(on|off|running|idle)\b", text)[1]
    return {
        "on": lambda p, _: p,
        "off": lambda p, _: not p,
        "running": lambda _, q: q,
        "idle": lambda _, q: not q,
    }[state]


def fact_and_conclusion(item: AssistantItem) -> tuple[Callable[[bool, bool], bool], Callable[[bool, bool], bool]]:
    conclusion = re.search(r"(?:that|that the case that) (the \w+ \w+ is \w+)\?", item.question)[1]
    before = item.question[: item.question.rindex(conclusion)]
    fact = re.findall(r"[Tt]he \w+ \w+ is \w+", before)[-1]
    return literal(fact), literal(conclusion)


def conditional(item: AssistantItem) -> str:
    fact, conclusion = fact_and_conclusion(item)
    return entailed([lambda p, q: not p or q, fact], conclusion)


def disjunction(item: AssistantItem) -> str:
    fact, conclusion = fact_and_conclusion(item)
    return entailed([lambda p, q: p or q, fact], conclusion)


def syllogism(item: AssistantItem) -> str:
    """By every world in which each of the eight kinds of thing exists or not."""
    found = re.findall(r"\b(all|no|some) (\w+) are (\w+)", item.question.lower())
    terms = sorted({term for _, *pair in found for term in pair})
    kinds = list(product((True, False), repeat=3))

    def holds(statement: tuple[str, str, str], world: tuple[bool, ...]) -> bool:
        quantifier, x, y = statement
        inside = [kind for kind, exists in zip(kinds, world, strict=True) if exists and kind[terms.index(x)]]
        both = [kind for kind in inside if kind[terms.index(y)]]
        return {"all": len(both) == len(inside), "no": not both, "some": bool(both)}[quantifier]

    *premises, conclusion = found
    assert len(premises) == 2
    assert len(terms) == 3
    worlds = [w for w in product((True, False), repeat=8) if all(holds(premise, w) for premise in premises)]
    return "Yes" if all(holds(conclusion, world) for world in worlds) else "No"


def difference(item: AssistantItem) -> str:
    total, more = numbers(item.question)
    return next(str(small) for small in range(total) if small + (small + more) == total)


def workers(item: AssistantItem) -> str:
    shown = sorted(numbers(item.question))
    (minutes,) = [number for number, times in Counter(shown).items() if times % 2]
    n, m = next(number for number in shown if number != minutes or shown.count(number) > 1), max(shown)
    rate = Fraction(1, minutes)  # parts per machine and minute, as n machines make n parts
    assert rate * n * minutes == n
    return str(Fraction(m) / (rate * m))


def growth(item: AssistantItem) -> str:
    (n,) = set(numbers(item.question))
    return str(next(day for day in range(n) if Fraction(1, 2 ** (n - day)) == Fraction(1, 2)))


def change(item: AssistantItem) -> str:
    start, up, down = numbers(item.question)[:3] if len(numbers(item.question)) > 2 else numbers(item.question)[:2] * 2
    return str(start * (1 + Fraction(up, 100)) * (1 - Fraction(down, 100)))


def multiplied(item: AssistantItem) -> str:
    a, b = numbers(item.question)
    return str(sum(b for _ in range(a)))


def assumption(item: AssistantItem) -> str:
    return "No"


def equality(item: AssistantItem) -> str:
    return "Yes"


def selection(item: AssistantItem) -> str:
    points = {letter: numbers(text)[0] for letter, text in options(item).items()}
    return max(points, key=points.get)


ORACLES = {
    "expected_value": expected_value,
    "discounting": discounting,
    "maximising": maximising,
    "sunk_cost": sunk_cost,
    "bayes": bayes,
    "conjunction": conjunction,
    "independence": independence,
    "frequency": frequency,
    "conditional": conditional,
    "disjunction": disjunction,
    "syllogism": syllogism,
    "difference": difference,
    "workers": workers,
    "growth": growth,
    "change": change,
    "product": multiplied,
    "assumption": assumption,
    "equality": equality,
    "selection": selection,
}


@pytest.mark.parametrize("topic", TOPICS)
def test_answers_are_right_and_foils_wrong(topic: str) -> None:
    items = [item for item in ITEMS if item.topic == topic]
    assert len(items) > 50
    for item in items:
        assert item.answer == ORACLES[topic](item), item
        assert item.foil != item.answer, item
        assert item.reply.startswith(item.answer + ". "), item
        assert item.rejected_reply.startswith(item.foil + ". "), item


def test_thousands_of_distinct_items_over_many_templates() -> None:
    items = assistant_items("train", 5000)
    assert len({item.question for item in items}) == 5000
    assert len({item.template for item in items}) >= 40


def test_the_same_seed_gives_the_same_items_and_fewer_are_the_first_of_more() -> None:
    assert assistant_items("train", 300, seed=1) == assistant_items("train", 900, seed=1)[:300]
    assert assistant_items("train", 300, seed=1) != assistant_items("train", 300, seed=2)


def test_held_out_cases_are_never_trained_on() -> None:
    trained = assistant_items("train", 4000, seed=1)
    cases = {(item.topic, item.case) for item in trained}
    templates = {item.template for item in trained}
    for seed in (1, 2):
        new_cases, new_templates = (
            assistant_items("new_cases", 1500, seed),
            assistant_items("new_templates", 1500, seed),
        )
        assert not cases & {(item.topic, item.case) for item in (*new_cases, *new_templates)}
        assert {item.template for item in new_cases} <= templates
        assert not templates & {item.template for item in new_templates}
    assert all(is_held_out(item.topic, item.case) for item in new_cases)


def test_every_topic_has_a_held_out_template() -> None:
    assert {template.topic for template in TEMPLATES if template.held_out} == set(TOPICS)


def test_no_letter_or_word_is_the_right_one_more_often_than_chance() -> None:
    """Always saying A, or Yes, is right in about half of the items with these options."""
    for split in ("train", "new_cases", "new_templates"):
        answers = Counter(item.answer for item in assistant_items(split, 2400))
        for one, other in (("A", "B"), ("Yes", "No")):
            assert 0.44 < answers[one] / (answers[one] + answers[other]) < 0.56


def test_more_items_than_there_are_is_a_users_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("centaurlab.data.assistant.generator._TRIES", 1)  # or there are 91,127
    with pytest.raises(UserError, match="no more than"):
        assistant_items("new_templates", 10**6)
    with pytest.raises(UserError, match="at least 1"):
        assistant_items("train", 0)
