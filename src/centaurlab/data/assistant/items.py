"""A question to an assistant with one right answer, and the wrong one that people tend to give."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import TypeVar

Wording = TypeVar("Wording")


@dataclass(frozen=True)
class AssistantItem:
    """``answer`` is normatively right; ``foil`` is wrong: what people typically say, where research knows of it.

    ``case`` are the numbers or words that fill the template, whatever the order of the options: cases of a topic
    are either trained on or held out, in every template alike.
    """

    topic: str
    template: str
    case: str
    question: str
    answer: str
    foil: str
    reason: str
    foil_reason: str

    @property
    def reply(self) -> str:
        """What a helpful assistant says."""
        return f"{self.answer}. {self.reason}"

    @property
    def rejected_reply(self) -> str:
        """The same for the foil."""
        return f"{self.foil}. {self.foil_reason}"


@dataclass(frozen=True)
class Draft:
    """An item before it has a template's name."""

    case: str
    question: str
    answer: str
    foil: str
    reason: str
    foil_reason: str


@dataclass(frozen=True)
class Template:
    """``draft`` fills the template from a random generator; a held-out one is never trained on."""

    topic: str
    name: str
    held_out: bool
    draft: Callable[[Random], Draft]

    def item(self, rng: Random) -> AssistantItem:
        """One item, at random."""
        drawn = self.draft(rng)
        return AssistantItem(self.topic, f"{self.topic}/{self.name}", **vars(drawn))


def templates(topic: str, wordings: dict[str, Wording], draft: Callable[[Random, Wording], Draft]) -> list[Template]:
    """One template per wording; the last is held out."""
    *_, last = wordings
    return [Template(topic, name, name == last, partial(_worded, draft, wording)) for name, wording in wordings.items()]


def _worded(draft: Callable[[Random, Wording], Draft], wording: Wording, rng: Random) -> Draft:
    return draft(rng, wording)


def two_options(rng: Random, right: str, wrong: str) -> tuple[str, str, str]:
    """Both options in random order as text, the letter of the right one, and that of the wrong one."""
    if rng.random() < 0.5:
        return f"(A) {right} (B) {wrong}", "A", "B"
    return f"(A) {wrong} (B) {right}", "B", "A"
