"""Simulated sessions and people's as parameters of a cognitive model: does a model learn, weigh and choose as they do?

Each session alone is fitted, people's and simulated ones alike and together, so that which is whose can be exchanged.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from centaurlab.catalog.studies import Study
from centaurlab.cognitive.models.all import models_of
from centaurlab.cognitive.particles import answers_of, even_normal
from centaurlab.cognitive.session import read_session
from centaurlab.data.transcripts import Transcript
from centaurlab.stats.estimate import FloatArray

POINTS = 1024
"""Values of the parameters, drawn from their prior, that each session weighs."""

# N: sessions, M: values of θ, P: parameters.


def parameters(
    sessions: Sequence[Transcript],
    labels: Mapping[str, tuple[str, ...]],
    own_studies: Mapping[str, Study] | None = None,
) -> FloatArray | None:
    """The posterior means (N, P) of the first cognitive model of the study, in SDs of its prior; None: it has no model.

    NaN of a session that the model says nothing of. What ``labels`` and ``own_studies`` are see ``data.options``.
    """
    models = models_of(sessions[0].study) if sessions else []
    if not models:
        return None
    model = models[0]
    read = [read_session(one, (one.study, one.participant), labels, own_studies or {}) for one in sessions]
    knowledge = model.know(read)
    z_MP = even_normal(len(model.priors), POINTS, seed=2)
    theta_MP = model.theta(z_MP)
    found = np.full((len(read), len(model.priors)), np.nan)
    for n, session in enumerate(read):
        answers = answers_of(model, session, knowledge)
        if answers.covered_R.any():
            log_M = answers.total(theta_MP)
            weight_M = np.exp(log_M - log_M.max())
            found[n] = weight_M @ z_MP / weight_M.sum()
    return found
