"""A person's session as questions to be answered anew: the person's own, or those of an environment."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np

from centaurlab.catalog.studies import Study, Trial, answered, ask_next, find_study
from centaurlab.data.options import SessionOptions, cut_at_responses, session_options
from centaurlab.data.transcripts import Transcript
from centaurlab.runtime.errors import UserError
from centaurlab.simulation.environments.environment import Environment, check_retold
from centaurlab.simulation.environments.find import ENVIRONMENTS
from centaurlab.simulation.play import DRAWS_APART, Chance, Play, PlayError, Question, rehearse, watched

Fit = Literal["exact", "environment", "approximate", "yoked", "unknown"]
"""Whether what a model is told answers what the model did: nothing does; an environment's does; it does, but others
stay as they were; the person's feedback instead; nobody has said, or the module that would does not read the text."""
_MOST_QUESTIONS = 200
"""A session that is this much longer than ten times the person's does not end."""
_TOKENS_OF_WORDS = 8


@dataclass(frozen=True)
class OpenLoop:
    """A person's session to be answered anew: the questions that the person was asked, in the person's order.

    ``options`` are those of the person's session, for studies without a module. With one, ``study``, what can be
    answered is asked of the module after each answer, since it may depend on it. An ``environment`` asks instead.
    ``program``: the digest of the simulator that asks, whose session answered by chance is the ``transcript``.
    """

    transcript: Transcript
    study: Study | None
    options: SessionOptions
    fit: Fit
    environment: Environment | None = None
    program: str = ""

    @property
    def n_answers(self) -> int:
        """How many questions the person answered."""
        return len(self.options.set_R)

    @property
    def n_passes(self) -> int:
        """About how many passes through a model its answers take: one for a choice, one for each token of words."""
        n_words = sum(self.options.of(number) is None for number in range(self.n_answers))
        return self.n_answers + (_TOKENS_OF_WORDS - 1) * n_words

    def play(self, chance: Chance) -> Play:
        """The session's questions.

        Raises ``UnreadableError`` where the study's module does not understand an answer given, and ``PlayError`` where
        an environment fails or does not end.
        """
        if self.environment is not None:
            return watched(self.environment.play(self.transcript, chance), _MOST_QUESTIONS + 10 * self.n_answers)
        return self._own_questions()

    def _own_questions(self) -> Play:
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
    own_environments: Mapping[str, Environment] | None = None,
) -> OpenLoop:
    """A person's session to be answered anew.

    Parameters
    ----------
    transcript
        The person's session.
    labels, own_studies
        As in ``data.options.session_options``.
    yoked
        Whether to give a model the person's feedback where feedback answers what was done and nobody knows better.
    own_environments
        The user's own environments by study, which go before ours.

    Raises
    ------
    UserError
        Where feedback answers what was done, there is no environment, and ``yoked`` is not given; or where an
        environment tells the person's own session otherwise than it was, or fails with answers drawn by chance.
    """
    options = session_options(transcript, labels, own_studies)
    study = find_study(transcript.study, own_studies)
    names = (transcript.study, study.name if study else transcript.study)
    environment = next(
        (of[name] for of in (own_environments or {}, ENVIRONMENTS) for name in names if name in of), None
    )
    known = study if options.rule == "module" else None
    if environment is not None:
        if environment.of_options is not None:
            if not options.sets:
                raise UserError(
                    f"{transcript.origin}: {transcript.key}: the answers do not show what could be chosen; name it in "
                    f"the environment of {transcript.study}, such as options=('J', 'F')"
                )
            environment = environment.of_options(options.sets[0])
        loop = OpenLoop(transcript, known, options, environment.fit, environment)
        said = cut_at_responses(transcript.text)[1]
        try:
            first, second = (
                rehearse(loop.play(Chance(rng, rng)), said, rng) for rng in map(np.random.default_rng, (0, 0))
            )
            if first != second:
                raise PlayError(DRAWS_APART)
            check_retold(environment, transcript)
        except ValueError as error:
            raise UserError(
                f"{transcript.origin}: {transcript.key}: {error}; correct the environment, or leave the study out with "
                "--studies"
            ) from error
        return loop
    fit: Fit = "unknown" if known is None else "exact"
    if study is not None and study.feedback in ("contingent", "branching"):
        if not yoked:
            raise UserError(
                f"{transcript.study} tells people what followed from their own answers, and there is no environment "
                "that would tell a model; give one of your own as --environment, leave the study out with --studies, "
                "or give --yoked to tell models what followed from the person's answers, which shows nothing of how "
                "they learn"
            )
        fit = "yoked"
    return OpenLoop(transcript, known, options, fit)
