"""What is known of each study: what was offered at each response, what it means, what a trial consists of.

One module per study, or per group that is told in the same words, which ends in ``STUDIES``. Of the interface
sketched first (``options(text_before)``, ``roles``, ``trials(text)``, ``feedback``) one function is left: ``ask``
(see ``study``). Options, roles and stimuli stand in the same lines of text, so three functions would read them three
times; and since ``ask`` is given only what comes before an answer, no option set can depend on that answer, which
three functions over a whole text would have to be trusted with. What a whole session shows (outcomes; roles that only
outcomes tell) is filled in afterwards by ``finish``, which changes no option.

What is known of a study beside its text (paradigm, siblings, shared people) is in ``catalog.facts``.
"""

from centaurlab.catalog.studies.find import catalog_studies, find_study, load_studies
from centaurlab.catalog.studies.study import (
    Ask,
    Feedback,
    Study,
    Trial,
    UnreadableError,
    Value,
    answered,
    ask_next,
    contrast,
    instructions,
    letters,
    read_trials,
    search,
)

__all__ = [
    "Ask",
    "Feedback",
    "Study",
    "Trial",
    "UnreadableError",
    "Value",
    "answered",
    "ask_next",
    "catalog_studies",
    "contrast",
    "find_study",
    "instructions",
    "letters",
    "load_studies",
    "read_trials",
    "search",
]
