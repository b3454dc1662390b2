"""Scores of two models, of simulated people, and their effects."""

from collections.abc import Sequence

import numpy as np

from centaurlab.results.joined import StudyScores
from centaurlab.stats.contrast import Contrast
from centaurlab.stats.effects import Effect, estimate_effects
from centaurlab.stats.sums import ComparedPair, sum_study

N_RESAMPLES = 200


def study(name: str, participants: Sequence[int], base: Sequence[float], post: Sequence[float]) -> StudyScores:
    return StudyScores(name, np.array(participants), np.array(base, np.float32), np.array(post, np.float32), 2, 3)


def effects_of(*studies: StudyScores, n_resamples: int = N_RESAMPLES, seed: int = 0) -> dict[str, Effect]:
    pair = ComparedPair(Contrast("post", "base"), [sum_study(scores) for scores in studies])
    effects = estimate_effects([pair], n_resamples, seed, domains=lambda name: (name[0],))
    return {effect.name if effect.level != "domain" else f"domain {effect.name}": effect for effect in effects}


def simulated(name: str, seed: int, n_participants: int = 12, n_responses: int = 8, shift: float = 0.3) -> StudyScores:
    rng = np.random.default_rng(seed)
    participant = np.repeat(np.arange(n_participants), n_responses)
    base = rng.gamma(2.0, 0.5, len(participant)) + rng.gamma(1.0, 0.5, n_participants)[participant]
    post = base + shift + rng.normal(0, 0.5, len(participant)) + rng.normal(0, 0.2, n_participants)[participant]
    return study(name, participant, base, post)
