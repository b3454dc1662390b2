"""The three studies guenther2024*: associations to texts and ratings of them, comprehension questions, substitutions.

Words are open answers. Ratings are whole numbers from 0 to 100, written with a decimal ("37.0"). Comprehension
questions were answered by typing, too ("y", "kissed", "np" are there): open, with what means yes and no classed.
"""

from collections.abc import Sequence
from dataclasses import replace

from centaurlab.catalog.studies.study import Ask, Study, Trial, search

_RATINGS = tuple(f"{rating}.0" for rating in range(101))
_YES_OR_NO = {"yes": "yes", "y": "yes", "yy": "yes", "yeas": "yes", "no": "no", "n": "no", "nop": "no", "np": "no"}


def _ask_about_text(segment: str, past: Sequence[Trial], opening: str) -> Ask:
    asked = (
        r"([^\n]*?) (What are the first 3 words that|How do you evaluate (?:it|them) on a scale)[^\n]*\n? You enter $"
    )
    passage, question = search(asked, segment).groups()
    rates = question.startswith("How")
    kind = "rating" if rates else "associations"
    return Ask(
        options=_RATINGS if rates else None,
        kind=kind,
        block=2 if rates else 1,
        stimuli={"text": passage},
        item=f"{kind}: {passage}",
    )


def _ask_comprehension(segment: str, past: Sequence[Trial], opening: str) -> Ask:
    sentences, question = search(r"([^\n]*) In this context, ([^\n]*?\?)[^\n]*\. You enter $", segment).groups()
    return Ask(
        options=None, kind="answer", stimuli={"text": sentences, "question": question}, item=f"{sentences} {question}"
    )


def _class_yes_and_no(trials: list[Trial]) -> list[Trial]:
    return [replace(trial, role=_YES_OR_NO.get(trial.answer.strip().lower(), "other")) for trial in trials]


def _ask_substitute(segment: str, past: Sequence[Trial], opening: str) -> Ask:
    # One experiment lacks a line break between its instructions and the first word.
    word = search(r"([^\s.]+)\. You enter $", segment)[1]
    return Ask(options=None, kind="word", stimuli={"word": word}, item=word)


STUDIES = (
    Study(
        "guenther2024associations_sentences_texts",
        _ask_about_text,
        first_trial=r"[^\n]*What are the first 3 words[^\n]*\n? You enter \Z",
        also_called=("guenther2024associations",),
    ),
    Study("guenther2024comprehension", _ask_comprehension, first_trial=r"[^\n]*\Z", finish=_class_yes_and_no),
    Study("guenther2024substitutions", _ask_substitute, first_trial=r"[^\s.]+\. You enter \Z"),
)
