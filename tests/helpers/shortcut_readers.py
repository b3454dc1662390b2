"""Sessions of train trips and of statements, and readers of trips that use one thing alone: tables, not models.

A reader says how likely each option is from the text before a response, as a language model does. What it does not look
at cannot move it, so that what the battery says of it is known exactly.
"""

import random
import re
from collections.abc import Callable

from centaurlab.data.transcripts import Transcript

LETTERS = ("XT", "KB", "QM", "LD", "WZ", "HG")
_SURE = 0.8

Reader = Callable[[str, str, str], float]
"""The text before a response, the answer and the other option into the probability of the answer."""


def trips(person: int, n_trials: int = 8) -> Transcript:
    """A session in the words of benakiva1993trains: three of four choices are cheaper, most are as before."""
    draw = random.Random(person)
    one, two = LETTERS[person % len(LETTERS)]
    text = f"Imagine a train trip.\nIn each choice the first trip is called {one} and the second trip {two}.\n\n"
    for i in range(n_trials):
        answer, other = (one, two) if (i // 4 + person) % 2 else (two, one)
        low, high = sorted(draw.sample(range(20, 90), 2))
        prices = {answer: low, other: high} if i % 4 else {answer: high, other: low}
        told = "; ".join(
            f"trip {letter}: {prices[letter]}.00 guilders, {draw.randint(100, 190)} minutes, 1 change, high comfort"
            for letter in (one, two)
        )
        text += f"Choice {i + 1}: {told}. You choose <<{answer}>>.\n"
    return Transcript(text, "benakiva1993trains", "exp1.csv", str(person))


_STATEMENTS = ["Love children.", "Panic easily.", "Waste my time.", "Am full of ideas.", "Hate parties.", "Feel blue."]
_STATEMENTS += ["Talk a lot.", "Make friends."]


def statements(person: int, n_trials: int = 6) -> Transcript:
    """A session in the words of revelle2010personality: statements in an order drawn for the person."""
    draw = random.Random(person)
    said = draw.sample(_STATEMENTS[:n_trials], n_trials)
    rated = "".join(f'Statement: "{one}" You choose <<{draw.randint(1, 6)}>>.\n' for one in said)
    text = f"Say how accurately each statement describes you.\nChoose 1 to 6.\n\n{rated}"
    return Transcript(text.rstrip("\n"), "revelle2010personality", "exp1.csv", str(person))


def by_history(before: str, answer: str, other: str) -> float:
    """Bets on the answer that was given last; without one, on neither."""
    said = re.findall(r"<<(\w)>>", before)
    return 0.5 if not said else _SURE if said[-1] == answer else 1 - _SURE


def by_stimulus(before: str, answer: str, other: str) -> float:
    """Bets on the cheaper of the trips that the last line tells; without them, on neither."""
    prices = dict(re.findall(r"trip (\w): ([\d.]+) guilders", before.rpartition("\n")[2]))
    if not {answer, other} <= prices.keys():
        return 0.5
    return _SURE if float(prices[answer]) < float(prices[other]) else 1 - _SURE


def by_nothing(before: str, answer: str, other: str) -> float:
    """Bets on neither."""
    return 0.5


def by_instructions(before: str, answer: str, other: str) -> float:
    """Bets on the letter that it is told always to answer; where it is told no such thing, on neither."""
    told = re.search(r"always output the character (\w)", before)
    return 0.5 if not told else _SURE if told[1] == answer else 1 - _SURE
