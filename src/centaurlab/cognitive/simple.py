"""Transcripts into the mean NLL of a simple baseline: how often others gave an answer."""

import math
from collections.abc import Mapping, Sequence
from itertools import chain

import numpy as np

from centaurlab.catalog.studies import Study
from centaurlab.cognitive.marginals import learn_role_marginal
from centaurlab.cognitive.session import is_predictable, read_session
from centaurlab.data.options import shared_labels
from centaurlab.data.transcripts import Transcript


def marginal_nll(
    training: Sequence[Transcript], sessions: Sequence[Transcript], own_studies: Mapping[str, Study] | None = None
) -> float:
    """Mean NLL under how often the training participants of the study gave each answer, by what the answer means.

    With n of N training answers to a kind of question with K options, p = (n + 1/2) / (N + K / 2). NaN where there are
    no training answers, nothing to predict, or letters that nothing gives a meaning to: those of ``own answers``.
    """
    labels = shared_labels(chain(training, sessions), own_studies)
    told, asked = (
        [read_session(one, (one.study, one.experiment, one.participant), labels, own_studies or {}) for one in of_kind]
        for of_kind in (training, sessions)
    )
    has_own = any(one.rule == "own answers" and any(trial.options for trial in one.trials) for one in asked)
    if has_own or not any(is_predictable(trial) for one in told for trial in one.trials):
        return math.nan
    predict = learn_role_marginal(told)
    log_p_R = np.array([log_p for one in asked for log_p in predict(one).log_p_R if math.isfinite(log_p)])
    return -float(log_p_R.mean()) if len(log_p_R) else math.nan
