"""A transcript into the trials that baselines predict, with nothing in them that was not known before the answer.

Trials are those of the study's module (``catalog.studies``). Roles that only the whole session shows (which stock was
the skewed one) are taken away again, since no model of the person could have known them; outcomes stay, each of which
is told after its answer.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from centaurlab.catalog.studies import Study, Trial, find_study, read_trials
from centaurlab.data.options import Rule, cut_at_responses, session_items, session_options
from centaurlab.data.persons import Unit
from centaurlab.data.transcripts import SessionKey, Transcript, is_blank

Cell = tuple[str, tuple[str, ...]]
"""Answers are comparable within a cell: the same question (``kind``) with the same answers on offer."""


@dataclass(frozen=True)
class Session:
    """One session as its trials, one per response of the text, and whose it is.

    ``rule``: how it is known what could be answered; ``problem``: why the study's module could not read the text.
    """

    key: SessionKey
    person: Unit
    trials: tuple[Trial, ...]
    rule: Rule
    problem: str | None = None


def read_session(
    transcript: Transcript, person: Unit, labels: Mapping[str, tuple[str, ...]], own_studies: Mapping[str, Study]
) -> Session:
    """The session of ``transcript``; ``labels`` and ``own_studies`` are those of ``data.options.session_options``."""
    options = session_options(transcript, labels, own_studies)
    study = find_study(transcript.study, own_studies)
    segments, answers = cut_at_responses(transcript.text)
    if study is not None and options.rule == "module":
        finished = read_trials(study, segments, answers)
        asked = read_trials(replace(study, finish=lambda trials: trials), segments, answers)
        trials = [
            known if known.options is None else replace(known, roles=then.roles, role=then.role)
            for known, then in zip(finished, asked, strict=True)
        ]
    else:
        items = session_items(transcript, options, study)
        trials = [
            Trial(
                options=(offered := options.of(number)),
                answer=answer,
                role=answer if offered and answer in offered else None,
                trial=number + 1,
                block=1,
                after=segments[number + 1],
                item=items[number],
            )
            for number, answer in enumerate(answers)
        ]
    return Session(transcript.key, person, tuple(trials), options.rule, options.problem)


def labels_of(trial: Trial) -> tuple[str, ...]:
    """What each option means, in the order of the options; the options themselves where they speak for themselves."""
    return trial.roles or trial.options or ()


def cell_of(trial: Trial) -> Cell:
    """The cell of a trial; its labels are sorted, so that the order of the options does not matter."""
    return trial.kind, tuple(sorted(labels_of(trial)))


def symbol_of(trial: Trial) -> str:
    """What was answered, comparable over people: the answer's role where it has one, else the answer."""
    return trial.answer if trial.role is None or trial.options is None else trial.role


def answer_index(trial: Trial) -> int | None:
    """The answer's place among the options; None where it is none of them, or where any word could be said."""
    if trial.options is None or trial.answer not in trial.options:
        return None
    return trial.options.index(trial.answer)


def is_predictable(trial: Trial) -> bool:
    """Whether a baseline gives the answer a probability: it says something, and is one of the options if there are."""
    return not is_blank(trial.answer) and (trial.options is None or trial.answer in trial.options)
