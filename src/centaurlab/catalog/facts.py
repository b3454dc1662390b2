"""What is known of a study beside its text: its paradigm, its siblings, whom it shares with others, what an id means.

One table, ``study_facts.csv``; a study that is not in it is one of which nothing of this is known. ``source`` says
how much a row weighs: "texts" was read from transcripts, "scripts" from the code that made them, "paper" is what the
publication says and nobody checked in the data.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from centaurlab.catalog.studies import find_study
from centaurlab.catalog.tables import _rows


@dataclass(frozen=True)
class StudyFacts:
    """A row of the table; what is not known is empty.

    ``family``: studies with the same items or told in the same sentences. ``sample``: studies with the same people,
    by the same ids. ``ids``: "person" where an id means one person in all experiments of the study, "anew" where it
    means another in each.
    """

    study: str
    paradigm: str = ""
    family: str = ""
    sample: str = ""
    ids: str = ""
    source: str = ""


@cache
def study_facts() -> dict[str, StudyFacts]:
    """The rows of the table, by study."""
    return {row["study"]: StudyFacts(**row) for row in _rows("study_facts")}


def facts_of(study: str) -> StudyFacts:
    """What is known of ``study``, by any of its names; empty fields where nothing is."""
    module = find_study(study)
    return study_facts().get(module.name if module else study, StudyFacts(study))


def siblings(study: str, others: Iterable[str]) -> list[str]:
    """Those of ``others`` that belong to the family of ``study``, share its paradigm or its people; sorted."""
    own = facts_of(study)

    def is_sibling(facts: StudyFacts) -> bool:
        pairs = ((own.family, facts.family), (own.paradigm, facts.paradigm), (own.sample, facts.sample))
        return any(mine and mine == theirs for mine, theirs in pairs)

    return sorted(other for other in set(others) - {study} if is_sibling(facts_of(other)))
