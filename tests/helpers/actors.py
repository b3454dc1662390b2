"""Whoever answers in an environment, and the session that comes of it."""

from collections.abc import Callable

import numpy as np

from centaurlab.data.transcripts import Transcript
from centaurlab.simulation.environments.find import ENVIRONMENTS
from centaurlab.simulation.play import Chance, Question

Agent = Callable[[Question], str]


def act(transcript: Transcript, agent: Agent, seed: int = 0) -> str:
    """The session of somebody who answers as ``agent`` does."""
    chance = Chance(np.random.default_rng(seed), np.random.default_rng(seed + 1))
    play = ENVIRONMENTS[transcript.study].play(transcript, chance)
    text, question = "", next(play)
    while True:
        answer = agent(question)
        text += f"{question.text}<<{answer}>>"
        try:
            question = play.send(answer)
        except StopIteration as ended:
            return text + str(ended.value)
