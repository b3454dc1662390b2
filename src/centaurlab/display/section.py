"""What a report consists of, before it is a page: sections of one question each, with answer, figures and tables.

A cell keeps the number behind its text, so that tables sort, and can be read back, in full precision.
"""

import re
from dataclasses import dataclass

from centaurlab.display.chart import Chart
from centaurlab.display.tables import Table
from centaurlab.stats.words import INTERVAL, NEW_PEOPLE, STUDIES_LIKE_THESE

NLL = (
    "NLL is the negative log-likelihood, in nats, that a model gives a person's response after everything that this "
    "person saw and did before. Lower is more human-like; 0.693 is a coin toss between two options."
)
INTERVALS = (
    f"A {INTERVAL} of a study comes from drawing its people again and again: the responses of one person are not "
    "independent. A mean over studies, in which each counts equally, has two: of "
    f"{STUDIES_LIKE_THESE}, from drawing whole studies, and of {NEW_PEOPLE}, from drawing people alone. The first "
    "rests on as many values as there are studies: with few it is wide, or by chance too narrow; the second says "
    "nothing of others. Neither is about other items than these people met, or about other models, except where new "
    "items or models like these are named. "
    "An interval that includes zero means: these data do not tell the two sides apart. Of many studies some would "
    "exclude zero by chance: q is below .05 for those of which at most 5 % are expected to be such "
    "(Benjamini & Hochberg, 1995), and their markers are filled."
)


@dataclass(frozen=True)
class ReportFigure:
    """An image: ``kind`` is svg or png, ``name`` that of its file where it is written to one.

    Where there is a ``chart`` of the same rows, the page draws that instead.
    """

    name: str
    caption: str
    kind: str
    content: bytes
    chart: Chart | None = None

    @property
    def gist(self) -> str:
        """What it shows, in a few words: its caption up to the first mark."""
        return re.split(r"[,;:.] |[.]$", self.caption, maxsplit=1)[0]


@dataclass(frozen=True)
class Card:
    """A number that a reader wants first: what it is, the number, and its interval or whatever else belongs to it."""

    label: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class Section:
    """One question; ``provenance`` says what was measured with what, ``commands`` what to type to have it again.

    ``cards``: the numbers of the answers, at a glance.
    """

    title: str
    question: str
    answers: tuple[str, ...]
    explanation: tuple[str, ...]
    figures: tuple[ReportFigure, ...]
    tables: tuple[Table, ...]
    provenance: tuple[tuple[str, str], ...]
    commands: tuple[str, ...]
    cards: tuple[Card, ...] = ()
