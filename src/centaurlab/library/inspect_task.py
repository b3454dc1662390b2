"""People's sessions as a task of inspect_ai: a model behind an API is told a record and asked what comes next.

It is for models that nobody can load. Each response is a request of its own with the whole history, and a model that
was made to chat is asked about the person instead of going on with the text; so that what comes out is a measure of its
own, to be compared with no NLL of ``centaurlab score``. inspect_ai finds it as ``centaurlab/people``, in an environment
of its own that has of ours no more than what reads data (docs/engines.md).
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import ChatMessageUser, GenerateConfig
from inspect_ai.scorer import SampleScore, Score, Target, mean, metric, scorer, stderr
from inspect_ai.solver import TaskState, generate

from centaurlab.catalog.studies.find import load_studies
from centaurlab.data.source import DataArguments, open_source
from centaurlab.library.replies import choices, chosen, option_nll_at_least
from centaurlab.prompts.context import Reading
from centaurlab.runtime.errors import UserError
from centaurlab.scoring.survey import Survey

QUESTION = (
    "What follows is the record of one person's session in a study of human behaviour. Every answer of the person "
    "stands between << and >>. The record ends where the person is about to answer. Which of these answers does the "
    "person give: {options}? Reply with the answer and nothing else.\n\n{record}"
)


@task
def people(
    data: str = "starter",
    responses: int = 10,
    studies: str | None = None,
    participants: str = "all",
    max_participants: int | None = None,
    protocol: str = "full",
    study_module: str | None = None,
    max_tokens: int | None = 16,
    logprobs: bool = True,
) -> Task:
    """Ask for answers of people that are a choice among known options.

    Parameters
    ----------
    data, studies, participants, max_participants, study_module
        Whose, as options of ``centaurlab score``.
    responses
        How many of a session, evenly spread.
    protocol
        How sessions are read: ``full`` or ``paper``.
    max_tokens
        Of a reply; None for models that think before it.
    logprobs
        Whether to ask for the twenty likeliest tokens, which some models refuse to tell.
    """
    asked = DataArguments(data, studies=studies, participants=participants, max_participants=max_participants)
    samples = list(_samples(asked, responses, Reading(protocol, None), study_module))
    if not samples:
        raise UserError(
            f"{data} holds no response that is a choice among options that are known otherwise than by its session"
        )
    config = GenerateConfig(temperature=0.0, max_tokens=max_tokens)
    if logprobs:
        config = config.merge(GenerateConfig(logprobs=True, top_logprobs=20))
    return Task(dataset=MemoryDataset(samples, name=data), solver=generate(), scorer=answers(), config=config)


def _samples(asked: DataArguments, n_responses: int, reading: Reading, study_module: str | None) -> Iterator[Sample]:
    source = open_source(asked)
    survey = Survey(source, load_studies(Path(study_module)) if study_module else {})
    for transcript in (one for window in survey.windows() for one in window):
        prompt, options = reading.prompt(transcript), survey.options.of(transcript)
        asked_for = choices(prompt, options)
        for i in np.unique(np.linspace(0, len(asked_for) - 1, min(n_responses, len(asked_for))).round()).astype(int):
            response, offered = asked_for[i]
            record = prompt.text[: response.start]
            yield Sample(
                input=[ChatMessageUser(content=QUESTION.format(options=", ".join(offered), record=record))],
                target=prompt.text[response.start : response.end].strip(),
                id=f"{transcript.key} / {response.number}",
                metadata={
                    **{"study": transcript.study, "experiment": transcript.experiment},
                    **{"participant": transcript.participant, "person": str(source.persons.unit(transcript.key))},
                    **{"response": response.number, "options": list(offered)},
                },
            )


@metric
def mean_of_known() -> Any:
    """The mean over the samples of which the number is known; NaN where it is known of none."""

    def compute(scores: list[SampleScore]) -> float:
        known = [value for one in scores if not math.isnan(value := one.score.as_float())]
        return sum(known) / len(known) if known else math.nan

    return compute


@scorer(
    metrics={
        "accuracy": [mean(), stderr(cluster="person")],
        "valid": [mean()],
        "nll_at_least": [mean_of_known()],
        "nll_known": [mean()],
    }
)
def answers() -> Any:
    """Whether the reply is the person's answer, whether it is one of the options, and how likely the answer was."""

    async def score(state: TaskState, target: Target) -> Score:
        options, answer = state.metadata["options"], target.text
        said = chosen(state.output.completion, options)
        logprobs = state.output.choices[0].logprobs if state.output.choices else None
        first = logprobs.content[0].top_logprobs if logprobs and logprobs.content else None
        nll = option_nll_at_least({one.token: one.logprob for one in first or ()}, options, answer)
        return Score(
            value={
                "accuracy": float(said == answer),
                "valid": float(said is not None),
                "nll_at_least": math.nan if nll is None else nll,
                "nll_known": float(nll is not None),
            },
            answer=said or state.output.completion[:100],
        )

    return score
