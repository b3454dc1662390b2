"""Trials of people who choose among options or say words, without a text around them."""

from collections.abc import Iterable, Sequence

from centaurlab.catalog.studies import Trial
from centaurlab.cognitive.session import Session
from centaurlab.data.transcripts import SessionKey


def choices(
    answers: Iterable[str],
    options: Sequence[str],
    items: Sequence[str] | None = None,
    roles: tuple[str, ...] | None = None,
    kind: str = "choice",
) -> list[Trial]:
    """A choice for each answer, always among the same options."""
    return [
        Trial(
            options=tuple(options),
            roles=roles,
            role=(roles or tuple(options))[list(options).index(answer)] if answer in options else None,
            answer=answer,
            trial=number + 1,
            block=1,
            after="",
            kind=kind,
            item=items[number] if items else None,
        )
        for number, answer in enumerate(answers)
    ]


def words(answers: Iterable[str], kind: str = "word") -> list[Trial]:
    """Answers to an open question."""
    return [
        Trial(options=None, answer=answer, role=None, trial=number + 1, block=1, after="", kind=kind)
        for number, answer in enumerate(answers)
    ]


def session_of(trials: Sequence[Trial], participant: str = "p1", study: str = "s") -> Session:
    """The session of one person."""
    key = SessionKey(study, "e", participant)
    return Session(key, (key.study, key.experiment, key.participant), tuple(trials), "module")
