"""guenther2023ViSpa: which of four pairs of words look the most similar, and which the least?

The second question excludes the pair that the first was answered with: its options depend on that earlier answer.
"""

from collections.abc import Sequence

from centaurlab.catalog.studies.study import Ask, Study, Trial, search


def _ask(segment: str, past: Sequence[Trial], opening: str) -> Ask:
    question, listed = search(r"Which look the (most|least) similar\? ([^\n?]+)\. You choose $", segment).groups()
    pairs = tuple(listed.split("; "))
    second = question == "least"
    return Ask(
        options=tuple(pair for pair in pairs if not (second and pair == past[-1].answer)),
        kind=f"{question} similar",
        continues=second,
        stimuli={"pairs": pairs},
        item="; ".join(sorted(pairs)),
    )


STUDIES = (Study("guenther2023ViSpa", _ask, first_trial=r"[^\n]*\Z"),)
