"""What follows from an answer: a person's session told anew, answer by answer.

What does not depend on answers, such as numbers of rounds, instructions and pauses, stays the person's. An environment
that is given the person's own answers, and what happened to the person, tells the person's session byte for byte.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from centaurlab.catalog.studies import Ask, Study, Trial, answered, ask_next
from centaurlab.data.options import cut_at_responses
from centaurlab.data.transcripts import Transcript
from centaurlab.simulation.play import Chance, Play, PlayError, Question, Recorded, replay, watched


@dataclass(frozen=True)
class Environment:
    """What would have followed in a ``study`` from other answers than the person's.

    ``play(session, chance)`` asks the person's questions anew; whatever happens beside the answers comes from
    ``chance``, and what is told of it passes through ``chance.told``. ``happened(text)`` finds the same, by name and in
    order, in a person's session, so that the environment can be held against what people were told; None: not known.
    ``fit``: "environment", or "approximate" where others, who would have answered the answers, stay as they were.
    ``of_options``: the same with the options that were offered in a session, where the environment does not name them.
    """

    study: str
    play: Callable[[Transcript, Chance], Play]
    happened: Callable[[str], Mapping[str, Sequence[object]]] | None = None
    fit: Literal["environment", "approximate"] = "environment"
    of_options: "Callable[[tuple[str, ...]], Environment] | None" = None


Retell: TypeAlias = Callable[[Ask, str, Sequence[Trial], str], str]
"""What is told after an answer: of the question, the answer, the trials before and what the person was told there."""


def retold(study: Study, session: Transcript, retell: Retell) -> Play:
    """The person's questions, each after what ``retell`` tells of the answer before."""
    segments, _ = cut_at_responses(session.text)
    past: list[Trial] = []
    text = segments[0]
    for told in segments[1:]:
        asked = ask_next(study, text, past, segments[0])
        answer = yield Question(text, asked.options, told)
        text = retell(asked, answer, past, told)
        past.append(answered(asked, past, answer, text))
    return text


def check_retold(environment: Environment, session: Transcript) -> None:
    """Have the environment tell a person's own session. Raises ``PlayError`` where it tells another one."""
    if environment.happened is None:
        return
    _, answers = cut_at_responses(session.text)
    play = environment.play(session, Recorded(environment.happened(session.text)))
    text = replay(watched(play, len(answers) + 1), answers)
    if text != session.text:
        place = next(
            (n for n, (a, b) in enumerate(zip(text, session.text, strict=False)) if a != b),
            min(len(text), len(session.text)),
        )
        raise PlayError(
            f"its environment tells {text[place - 20 : place + 20]!r} where the person was told "
            f"{session.text[place - 20 : place + 20]!r}"
        )
