"""Transcripts into the mean NLL of a simple baseline: how often others gave an answer."""

import math
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import chain
from statistics import fmean

from centaurlab.catalog.studies import Study
from centaurlab.cognitive.marginals import learn_role_marginal
from centaurlab.cognitive.session import is_predictable, read_session
from centaurlab.data.options import shared_labels
from centaurlab.data.transcripts import SessionKey, Transcript


def marginal_nll(
    training: Sequence[Transcript],
    sessions: Sequence[Transcript],
    own_studies: Mapping[str, Study] | None = None,
    scored: AbstractSet[tuple[SessionKey, int]] | None = None,
) -> float:
    """Mean NLL under how often the training participants of the study gave each answer, by what the answer means.

    With n of N training answers to a kind of question with K options, p = (n + 1/2) / (N + K / 2). ``scored``: the
    responses that a model is held against it on, by session and number; None: all that it speaks of. NaN where it does
    not speak of all of them, and where there are no training answers, nothing to predict, or letters that nothing gives
    a meaning to: those of ``own answers``.
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
    known = {
        (one.key, number): log_p
        for one in asked
        for number, log_p in enumerate(predict(one).log_p_R.tolist())
        if math.isfinite(log_p)
    }
    wanted = known.keys() if scored is None else scored
    return -fmean(known[of] for of in wanted) if wanted and known.keys() >= wanted else math.nan
