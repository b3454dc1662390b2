"""Trial records told again in their study's words, written from the texts and not from the modules.

Each teller gives the lines that hold responses. Where they are the session's own lines, byte for byte, the records
hold all that a line says.
"""

import re
from collections.abc import Callable, Sequence
from itertools import groupby

from centaurlab.catalog.studies import Trial

Teller = Callable[[Sequence[Trial], str], list[str]]


def _by_trial(trials: Sequence[Trial]) -> list[list[Trial]]:
    return [list(group) for _, group in groupby(trials, key=lambda trial: trial.trial)]


def number(value: object) -> str:
    """As these texts write numbers: whole ones without a decimal."""
    assert isinstance(value, float)
    return str(int(value)) if value.is_integer() else str(value)


def trains(trials: Sequence[Trial], opening: str) -> list[str]:
    lines = []
    for trial in trials:
        told = trial.stimuli
        trips = [
            f"trip {letter}: {told['guilders'][n]:.2f} guilders, {number(told['minutes'][n])} minutes, "
            f"{number(told['changes'][n])} {'change' if told['changes'][n] == 1 else 'changes'}, "
            f"{told['comfort'][n]} comfort"
            for n, letter in enumerate(trial.options)
        ]
        lines.append(f"Choice {trial.trial}: {'; '.join(trips)}. You choose <<{trial.answer}>>.")
    return lines


def groceries(decimals: int) -> Teller:
    def teller(trials: Sequence[Trial], opening: str) -> list[str]:
        lines = []
        for trial in trials:
            offers = []
            for n, letter in enumerate(trial.options):
                signs = [sign for sign in ("advertised", "displayed") if trial.stimuli[sign][n]]
                price = f"{letter} {trial.stimuli['price'][n]:.{decimals}f}"
                offers.append(f"{price} ({' and '.join(signs)})" if signs else price)
            lines.append(f"Trip {trial.trial}: {', '.join(offers)}. You buy <<{trial.answer}>>.")
        return lines

    return teller


def personality(trials: Sequence[Trial], opening: str) -> list[str]:
    return [f'Statement: "{trial.stimuli["statement"]}" You choose <<{trial.answer}>>.' for trial in trials]


def aggression(trials: Sequence[Trial], opening: str) -> list[str]:
    return [
        f"{t.stimuli['situation']} Would you {'want to ' if t.stimuli['wish'] else ''}{t.stimuli['reaction']}? "
        f"You answer <<{t.answer}>>."
        for t in trials
    ]


def abortion(trials: Sequence[Trial], opening: str) -> list[str]:
    return [f"Should it be possible if {t.stimuli['circumstance']}? You answer <<{t.answer}>>." for t in trials]


def recall(trials: Sequence[Trial], opening: str) -> list[str]:
    return ["You say " + ", ".join(f"<<{t.answer}>>" for t in words) + "." for words in _by_trial(trials)]


def stroop(trials: Sequence[Trial], opening: str) -> list[str]:
    return [
        f"The stimulus on the next trial is the word {t.stimuli['word']}, the letters of the word are colored in "
        f"{t.stimuli['ink']}. You press <<{t.answer}>> after {number(t.outcome['rt'])} milliseconds. The correct "
        f"answer was pressing {t.outcome['correct_answer']}."
        for t in trials
    ]


def pressed(trials: Sequence[Trial], opening: str) -> list[str]:
    return [f"{t.stimuli['word']}. You press <<{t.answer}>>." for t in trials]


def relations(trials: Sequence[Trial], opening: str) -> list[str]:
    return [f'What does "{" ".join(t.stimuli["words"])}" mean?. You answer <<{t.answer}>>.' for t in trials]


def pairs(trials: Sequence[Trial], opening: str) -> list[str]:
    return [
        " ".join(
            f"Which look the {t.kind}? {'; '.join(t.stimuli['pairs'])}. You choose <<{t.answer}>> as {t.kind}."
            for t in questions
        )
        for questions in _by_trial(trials)
    ]


def predictions(trials: Sequence[Trial], opening: str) -> list[str]:
    return [f"x={number(t.stimuli['x'])}, you predict y = <<{t.answer}>>." for t in trials]


def outcomes(thing: str) -> Teller:
    def teller(trials: Sequence[Trial], opening: str) -> list[str]:
        lines = []
        for trial in trials:
            points = zip(trial.options, trial.outcome["points"], strict=True)
            shown = " ".join(f"{thing} {letter} yields {number(value)} points." for letter, value in points)
            lines.append(f"You choose <<{trial.answer}>>. {shown}")
        return lines

    return teller


def stocks(trials: Sequence[Trial], opening: str) -> list[str]:
    """Studies 5 to 7 alone: in the others, lines with responses say little."""
    return outcomes("Stock")(trials, opening) if "repeated choices" in opening else []


def casino(trials: Sequence[Trial], opening: str) -> list[str]:
    lines = []
    for trial in trials:
        told = f"Round {number(trial.stimuli['round'])}/50. You press <<{trial.answer}>>. "
        if trial.role == "observe":
            told += f"You observed and see the {trial.outcome['lucky']} light up."
        elif trial.role == "sleep":
            told += "You slept and increased your control."
        else:
            failed = "You didn't execute this bet successfully and it is switched to the other light."
            executed = "You executed this bet successfully."
            told += f"You bet on the {trial.role} light. {executed if trial.outcome['executed'] else failed}"
        lines.append(told)
    return lines


def two_step(trials: Sequence[Trial], opening: str) -> list[str]:
    states = re.search(r"second-stage states: (\w) or (\w)\.", opening).groups()
    lines = []
    for first, second in _by_trial(trials):
        state = states[int(second.stimuli["state"][-1]) - 1]
        lines.append(
            f"You are presented with first-stage options {' and '.join(first.options)}. You choose <<{first.answer}>>. "
            f"This leads to state {state}. In state {state}, you choose <<{second.answer}>>. "
            f"You receive {'a' if second.outcome['reward'] else 'no'} reward."
        )
    return lines


def entered(trials: Sequence[Trial], opening: str) -> list[str]:
    return [f"{t.stimuli['word']}. You enter <<{t.answer}>>." for t in trials]


TELLERS: dict[str, Teller] = {
    "benakiva1993trains": trains,
    "jain1994crackers": groceries(0),
    "jain1994ketchup": groceries(1),
    "jain1994yogurt": groceries(1),
    "revelle2010personality": personality,
    "deboeck2004aggression": aggression,
    "smith2018abortion": abortion,
    "healey2014recall": recall,
    "busch2024_stroop": stroop,
    "guenther2020LDT": pressed,
    "guenther2020TS": pressed,
    "guenther2022relational": relations,
    "guenther2023ViSpa": pairs,
    "guenther2024substitutions": entered,
    "little2024functionestimation": predictions,
    "olschewski2024skewness": stocks,
    "sandbrink2024metacontrol": casino,
    "shahar2019twosteptask": two_step,
    "spektor2019contexteffects": outcomes("Option"),
}
