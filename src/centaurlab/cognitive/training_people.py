"""Who is learned from to predict whom: the training people of a split, and never the person who is predicted.

Held-out people are predicted from all training people. Training people, where they are asked for too, are predicted
from the training people of the other folds (of four, dealt in the seeded order), so that nobody's own
answers are in what predicts them.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from centaurlab.data.persons import Persons
from centaurlab.data.splits import person_order
from centaurlab.data.transcripts import SessionKey

FOLDS = 4


@dataclass(frozen=True)
class Lesson:
    """Sessions to learn from, and those to predict by it; no person is in both."""

    training: tuple[SessionKey, ...]
    predicted: tuple[SessionKey, ...]


def lessons(
    predicted: Collection[SessionKey], training: Collection[SessionKey], persons: Persons, seed: int
) -> Iterator[Lesson]:
    """The lessons of one study; every session of ``predicted`` is predicted in one of them."""
    order = [people for of_study in person_order(training, persons, seed).values() for people in of_study]
    fold_of = {persons.unit(people[0]): number % FOLDS for number, people in enumerate(order)}
    wanted = sorted(set(predicted), key=str)
    for fold in (None, *range(FOLDS)):
        asked = tuple(key for key in wanted if fold_of.get(persons.unit(key)) == fold)
        if asked:
            others = (people for number, people in enumerate(order) if fold is None or number % FOLDS != fold)
            yield Lesson(tuple(key for people in others for key in people), asked)
