"""What a cognitive model is: how likely a session's answers are under parameters θ, and what θ may be.

Shapes: M values of θ, P parameters, R trials, O options.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy.special import expit

from centaurlab.catalog.studies import Trial, Value
from centaurlab.cognitive.session import Session
from centaurlab.stats.estimate import FloatArray

Likelihood = Callable[[FloatArray], FloatArray]
"""From θ (M, P) to log-probabilities (M, R, O): of every option in the trial's order, −inf beyond the last; of a trial
without options, or one that the model does not cover, the first alone counts, as that of the answer."""


@dataclass(frozen=True)
class Prior:
    """A weak prior of one parameter: normal, or the exponential or the logistic function of a normal variable."""

    name: str
    mean: float = 0.0
    sd: float = 1.0
    scale: Literal["line", "positive", "unit"] = "line"

    def at(self, z: FloatArray) -> FloatArray:
        """The parameter at standard normal ``z``."""
        x: FloatArray = self.mean + self.sd * z
        if self.scale == "line":
            return x
        values: FloatArray = np.exp(np.clip(x, -30, 30)) if self.scale == "positive" else expit(x)
        return values


def _no_knowledge(training: Sequence[Session]) -> None:
    return None


@dataclass(frozen=True)
class CognitiveModel:
    """One model, as a file gives it.

    ``priors``: of its parameters, in the order of θ's columns. ``studies``: those that it is a model of.
    ``covers``: whether it has something to say of a trial; others are left to the person's own history.
    ``likelihood(trials, knowledge)`` reads a session's trials once; the answer at a trial may be used only for later
    ones. ``know`` learns of the training people what is not a parameter of persons: scales, items. ``file``: the user's
    own that it is from.
    """

    name: str
    about: str
    source: str
    studies: tuple[str, ...]
    priors: tuple[Prior, ...]
    likelihood: Callable[[Sequence[Trial], Any], Likelihood]
    covers: Callable[[Trial], bool] = lambda trial: trial.options is not None
    know: Callable[[Sequence[Session]], Any] = _no_knowledge
    file: str | None = None

    def theta(self, z_MP: FloatArray) -> FloatArray:
        """(M, P) parameters at standard normal values."""
        return np.stack([prior.at(z_MP[:, p]) for p, prior in enumerate(self.priors)], axis=1)


def log_softmax(utility: FloatArray) -> FloatArray:
    """Log-probabilities of a logit choice over the last axis; utilities of −inf are no options."""
    top = utility.max(axis=-1, keepdims=True)
    shifted = utility - top
    logs: FloatArray = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return logs


def most_options(trials: Sequence[Trial]) -> int:
    """The size of the largest set of options, at least 1."""
    return max((len(trial.options or ()) for trial in trials), default=0) or 1


def numbers(value: Value | None) -> tuple[float, ...]:
    """A stimulus or outcome that holds a number for each option; empty where it is none."""
    return tuple(float(x) for x in value if isinstance(x, int | float)) if isinstance(value, tuple) else ()
