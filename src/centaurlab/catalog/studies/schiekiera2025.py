"""schiekiera2025metascience: would one submit (or read, and cite) a paper by its abstract: at once, then considered.

Likelihoods are whole numbers from 0 to 100. Certainty is one of seven steps; three of the five experiments
name them in the instructions, all use them. "Re-read the abstract" shows it once more and goes on as "Continue" does.
"""

import re
from collections.abc import Sequence

from centaurlab.catalog.studies.study import Ask, Study, Trial, UnreadableError

_LIKELIHOODS = tuple(map(str, range(101)))
_CERTAINTY = (
    "Very uncertain",
    "Uncertain",
    "Rather uncertain",
    "Neither certain nor uncertain",
    "Rather certain",
    "Certain",
    "Very certain",
)
_QUESTIONS = (
    (r"(Intuitive|Considered) [Aa]nswer: .*? that you would (READ|CITE|submit) th[^\n]*You enter $", _LIKELIHOODS),
    (r"(Certainty) about the intuitive answer: When I submitted the answer(?: to (READ|CITE))?, [^\n]*$", _CERTAINTY),
    (r"by clicking on the button \"(Re-read) the abstract\"\. You (enter) $", ("Continue", "Re-read the abstract")),
)


def _ask(segment: str, past: Sequence[Trial], opening: str) -> Ask:
    shown = re.search(r'Abstract: "(.*)" (Intuitive|Considered) [Aa]nswer: ', segment)
    begins = shown is not None and shown[2] == "Intuitive"
    abstract = shown[1] if shown else past[-1].stimuli["abstract"]
    last = segment[shown.end(1) :] if shown else segment
    for pattern, options in _QUESTIONS:
        if question := re.search(pattern, last):
            about = (question[2] or "submit").lower()
            kind = "go on" if about == "enter" else f"{question[1].lower()}, {about}"
            return Ask(
                options=options,
                kind=kind,
                continues=not begins,
                stimuli={"abstract": abstract},
                item=f"{kind}: {abstract}",
            )
    raise UnreadableError(f"no question of this study in {segment[-80:]!r}")


STUDIES = (Study("schiekiera2025metascience", _ask, first_trial=r'Abstract: "', feedback="branching"),)
