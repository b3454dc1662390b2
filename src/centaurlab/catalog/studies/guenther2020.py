"""guenther2020LDT and guenther2020TS: is a compound a word of English; does it make sense? 520 of 3,018 per person.

Two letters stand for yes and no; they are drawn for each person. Both studies show the same compounds.
"""

from collections.abc import Sequence
from functools import partial

from centaurlab.catalog.studies.study import Ask, Study, Trial, search


def _ask(keys: str, roles: tuple[str, str], segment: str, past: Sequence[Trial], opening: str) -> Ask:
    pressed = search(keys, opening)
    word = search(r"(\S+)\. You press $", segment)[1]
    return Ask(options=pressed.groups(), roles=roles, stimuli={"word": word}, item=word)


_LAST_LINE = r"[^\n]*\Z"

STUDIES = (
    Study(
        "guenther2020LDT",
        partial(
            _ask,
            r"presented to you exists, press the (\w) key on your keyboard\. If the word does not exist, press the "
            r"(\w) key",
            ("word", "nonword"),
        ),
        first_trial=_LAST_LINE,
    ),
    Study(
        "guenther2020TS",
        partial(
            _ask,
            r"has a sensible interpretation, press the (\w) key on your keyboard\. If you feel that a word does not "
            r"make sense, press the (\w) key",
            ("sensible", "nonsense"),
        ),
        first_trial=_LAST_LINE,
    ),
)
