"""A session as questions, one after another: what is told next may depend on what was answered.

Whoever answers, a model or a person whose answers are replayed, is sent one question at a time and sends back one
answer, so that hundreds of sessions wait for one pass through a model. Text is only ever added.
"""

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, TypeAlias

from centaurlab.catalog.studies import Study, Trial, answered, ask_next, find_study
from centaurlab.data.options import SessionOptions, cut_at_responses, session_options
from centaurlab.data.transcripts import CLOSE, OPEN, Transcript
from centaurlab.runtime.errors import UserError

Fit = Literal["exact", "yoked", "unknown"]
"""Whether what a model is told answers what the model did: always; the person's feedback instead; nobody has said."""


@dataclass(frozen=True)
class Question:
    """What is told since the last answer, without markers, and what can be answered; None: any words.

    ``after``: the text that will follow the answer, where it is known already.
    """

    text: str
    options: tuple[str, ...] | None
    after: str = ""


Play: TypeAlias = Generator[Question, str, str]
"""Yields questions, is sent answers, and returns the text after the last answer."""


@dataclass(frozen=True)
class OpenLoop:
    """A person's session to be answered anew: the questions that the person was asked, in the person's order.

    ``options`` are those of the person's session, for studies without a module. With one, ``study``, what can be
    answered is asked of the module after each answer, since it may depend on it.
    """

    transcript: Transcript
    study: Study | None
    options: SessionOptions
    fit: Fit

    @property
    def n_answers(self) -> int:
        """How many questions the person answered."""
        return len(self.options.set_R)

    def play(self) -> Play:
        """The session's questions; ``UnreadableError`` where the module does not understand an answer given."""
        segments, _ = cut_at_responses(self.transcript.text)
        past: list[Trial] = []
        for number, (segment, after) in enumerate(pairwise(segments)):
            if self.study is None:
                yield Question(segment, self.options.of(number), after)
                continue
            asked = ask_next(self.study, segment, past, segments[0])
            answer = yield Question(segment, asked.options, after)
            past.append(answered(asked, past, answer, after))
        return segments[-1]


def open_loop(
    transcript: Transcript,
    labels: Mapping[str, tuple[str, ...]],
    own_studies: Mapping[str, Study] | None = None,
    yoked: bool = False,
) -> OpenLoop:
    """A person's session to be answered anew.

    Parameters
    ----------
    transcript
        The person's session.
    labels, own_studies
        As in ``data.options.session_options``.
    yoked
        Whether to give a model the person's feedback where feedback answers what was done.

    Raises
    ------
    UserError
        Where feedback answers what was done, and ``yoked`` is not given.
    """
    options = session_options(transcript, labels, own_studies)
    study = find_study(transcript.study, own_studies)
    fit: Fit = "unknown" if study is None else "exact"
    if study is not None and study.feedback in ("contingent", "branching"):
        if not yoked:
            raise UserError(
                f"{transcript.study} tells people what followed from their own answers, and there is no environment "
                "that would tell a model; leave the study out with --studies, or give --yoked to tell models what "
                "followed from the person's answers, which shows nothing of how they learn"
            )
        fit = "yoked"
    return OpenLoop(transcript, study if options.rule == "module" else None, options, fit)


def replay(play: Play, answers: list[str]) -> str:
    """The text of a session whose questions are answered with ``answers``, with markers."""
    text, reply = "", None
    try:
        for answer in (*answers, None):
            question = next(play) if reply is None else play.send(reply)
            if answer is None:
                return text
            text += f"{question.text}{OPEN}{answer}{CLOSE}"
            reply = answer
    except StopIteration as ended:
        return text + str(ended.value)
    return text
