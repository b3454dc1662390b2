"""Cognitive models, and models that are others with parameters left out."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from centaurlab.catalog.studies import Trial
from centaurlab.cognitive.model import CognitiveModel, Likelihood
from centaurlab.cognitive.models.all import MODELS
from centaurlab.stats.estimate import FloatArray


def model(name: str) -> CognitiveModel:
    return next(one for one in MODELS if one.name == name)


def only(whole: CognitiveModel, name: str, zero: Sequence[str]) -> CognitiveModel:
    """The same model with some parameters held at zero, whatever their priors."""
    kept = [p for p, prior in enumerate(whole.priors) if prior.name not in zero]

    def likelihood(trials: Sequence[Trial], knowledge: Any) -> Likelihood:
        log_p = whole.likelihood(trials, knowledge)

        def of_kept(theta_MP: FloatArray) -> FloatArray:
            all_MP = np.zeros((len(theta_MP), len(whole.priors)))
            all_MP[:, kept] = theta_MP
            return log_p(all_MP)

        return of_kept

    return replace(whole, name=name, priors=tuple(whole.priors[p] for p in kept), likelihood=likelihood)


DUAL = model("dual-systems")
HABIT = only(DUAL, "model-free", ["planning"])
PLANNING = only(DUAL, "model-based", ["habit", "eligibility trace"])
