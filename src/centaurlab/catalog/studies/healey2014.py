"""healey2014recall (starter): lists of 16 words, then all that one remembers of them, in any order: open answers.

The role of a word is its place in the list ("1" to "16"), "repetition" if it was said before in this list,
"earlier list" or "intrusion". That the person stopped is told by the end of the list of words, not as a response.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from centaurlab.catalog.studies.study import Ask, Study, Trial, Value, search

_LIST = re.compile(r"List (\d+)\. You see: ([^\n]*)\.(?:\n|$)")


def _ask(segment: str, past: Sequence[Trial], opening: str) -> Ask:
    lists = _LIST.findall(segment)
    if not lists:
        search(r"^, $", segment)
        return Ask(options=None, kind="recall", continues=True, stimuli=past[-1].stimuli)
    number, shown = lists[-1]
    skipped = tuple(word for _, words in lists[:-1] for word in words.split(", "))
    stimuli: dict[str, Value] = {"words": tuple(shown.split(", ")), "of_lists_without_recall": skipped}
    return Ask(options=None, kind="recall", block=int(number), stimuli=stimuli)


def _class_words(trials: list[Trial]) -> list[Trial]:
    earlier: set[Value] = set()
    words: tuple[Value, ...] = ()
    said: list[str] = []
    classed = []
    for trial in trials:
        if not trial.continues:
            earlier |= {*words, *_words(trial, "of_lists_without_recall")}
            words, said = _words(trial, "words"), []
        classed.append(replace(trial, role=_role(trial.answer, words, said, earlier)))
        said.append(trial.answer)
    return classed


def _words(trial: Trial, name: str) -> tuple[Value, ...]:
    words = trial.stimuli[name]
    assert isinstance(words, tuple)
    return words


def _role(word: str, words: tuple[Value, ...], said: list[str], earlier: set[Value]) -> str:
    if word in said:
        return "repetition"
    if word in words:
        return str(words.index(word) + 1)
    return "earlier list" if word in earlier else "intrusion"


def _recalled(places: range, trials: Sequence[Trial]) -> float:
    """Words at these places of their lists that are recalled, minus words in the middle, each as a share."""
    last = trials[-1]  # lists of which nothing was recalled count, too
    n_lists = (last.block or 0) + len(_LIST.findall(last.after))
    said = [int(trial.role) for trial in trials if trial.role and trial.role.isdecimal()]
    shares = [sum(place in of for place in said) / (n_lists * len(of)) for of in (places, range(5, 13))]
    return shares[0] - shares[1]


STUDIES = (
    Study(
        "healey2014recall",
        _ask,
        first_trial=r"List 1\. You see: ",
        finish=_class_words,
        effects={"primacy": partial(_recalled, range(1, 5)), "recency": partial(_recalled, range(13, 17))},
    ),
)
