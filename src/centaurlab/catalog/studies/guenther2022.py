"""guenther2022relational: which of sixteen relations does a compound such as "snow man" express?

The instructions have a table of the relations ("word2 MADE OF word1"); an option is such a row with the compound's
words in it, and its role is the row. Four compounds (tea time, snow man, ...) check attention: everybody sees them.
"""

import re
from collections.abc import Sequence

from centaurlab.catalog.studies.study import Ask, Study, Trial, UnreadableError, search


def _ask(segment: str, past: Sequence[Trial], opening: str) -> Ask:
    relations = tuple(re.findall(r"^(word[12] [A-Z ]+ word[12])\t", opening, re.MULTILINE))
    if not relations:
        raise UnreadableError("the instructions have no table of relations")
    first, second = search(r'What does "(\S+) (\S+)" mean\?\. You answer $', segment).groups()
    options = tuple(row.replace("word1", first, 1).replace("word2", second, 1) for row in relations)
    return Ask(options=options, roles=relations, stimuli={"words": (first, second)}, item=f"{first} {second}")


STUDIES = (
    Study(
        "guenther2022relational",
        _ask,
        first_trial=r'What does "[^"\n]*" mean\?\. You answer \Z',
        also_called=("guenther2022Relational",),
    ),
)
