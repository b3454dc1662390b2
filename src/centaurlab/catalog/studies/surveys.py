"""The questionnaires of starter: revelle2010personality, deboeck2004aggression, smith2018abortion.

Personality: the numbers 1 to 6 are the same for everybody. The other two have letters, drawn for each person, that
stand for answers ("P for yes, F for perhaps, O for no"); their options are ordered by what they mean, most assent
last, so that a graded model finds its categories in order. Everybody answers the same items, some leave some out; the
statements' order was drawn for each person when they were transcribed, that of the other two is the questionnaire's.
"""

import re
from collections.abc import Sequence
from functools import partial

from centaurlab.catalog.studies.study import Ask, Study, Trial, Value, search


def _ask_rating(segment: str, past: Sequence[Trial], opening: str) -> Ask:
    statement = search(r'Statement: "([^"\n]*)" You choose $', segment)[1]
    return Ask(options=tuple("123456"), kind="rating", stimuli={"statement": statement}, item=statement)


def _ask_letter(
    pattern: str, names: tuple[str, ...], answers: tuple[str, ...], segment: str, past: Sequence[Trial], opening: str
) -> Ask:
    means = {
        role: letter for letter, role in re.findall(r"\b([A-Z]) for (\w+)", search(r"answers are: .*", opening)[0])
    }
    question = search(pattern, segment)
    stimuli: dict[str, Value] = dict(zip(names, (part or "" for part in question.groups()), strict=True))
    return Ask(
        options=tuple(means[role] for role in answers),
        roles=answers,
        kind="answer",
        stimuli=stimuli,
        item=question[0].removesuffix(" You answer "),
    )


STUDIES = (
    Study("revelle2010personality", _ask_rating, first_trial=r"Statement: ", drawn_order=True),
    Study(
        "deboeck2004aggression",
        partial(
            _ask_letter,
            r"([^\n]*) Would you (want)?(?: to )?(\w+)\? You answer $",
            ("situation", "wish", "reaction"),
            ("no", "perhaps", "yes"),
        ),
        first_trial=r"[^\n]*\Z",
    ),
    Study(
        "smith2018abortion",
        partial(
            _ask_letter,
            r"Should it be possible if ([^\n]*)\? You answer $",
            ("circumstance",),
            ("no", "yes"),
        ),
        first_trial=r"[^\n]*\Z",
    ),
)
