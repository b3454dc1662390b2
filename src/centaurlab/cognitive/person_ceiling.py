"""What is predictable at an item for somebody who knows the person by all other answers: items and people together.

Items discriminate and are as easy as the people of three other folds of four show (2PL or graded response, with a weak
prior: without one, what few people show would predict others worse than chance); each answer of a person is then
predicted from all others of the person, later ones too. Where people differ as one trait does, this is below what the
same items achieve for a stranger.

Shapes: R responses, I people, J items, Q nodes of ability.
"""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from scipy.special import logsumexp

from centaurlab.catalog.studies import Trial
from centaurlab.cognitive.models.graded_response import MODELS, Items, fit_items
from centaurlab.cognitive.particles import FITTED_ON
from centaurlab.cognitive.session import answer_index, cell_of, symbol_of
from centaurlab.cognitive.training_people import FOLDS
from centaurlab.stats.estimate import FloatArray, IntArray

_MOST_ITEMS = 200
_NODES = 41
_RIDGE = 0.3  # a normal prior of standard deviation 1.3 of what items are
ORDERED = frozenset(study for model in MODELS for study in model.studies)
"""Studies whose answers are steps of one scale, in the order of the options."""


def grades(study: str, trials: Sequence[Trial]) -> IntArray | None:
    """(R,) the step of each answer; None where answers are no steps of one scale, or items are too many."""
    if len({cell_of(trial) for trial in trials}) != 1 or len({trial.item for trial in trials}) > _MOST_ITEMS:
        return None
    if study in ORDERED:
        return np.array([answer_index(trial) for trial in trials], np.int64)
    labels = cell_of(trials[0])[1]
    return np.array([labels.index(symbol_of(trial)) for trial in trials], np.int64) if len(labels) == 2 else None


def person_item_nll(person_R: IntArray, item_R: IntArray, grade_R: IntArray, n_grades: int) -> FloatArray:
    """(R,) NLL of each answer by the person's other answers and by other people's at all items.

    The number of a person says the fold, so that nobody else's changes where a person is left out.
    """
    people, place_R = np.unique(person_R, return_inverse=True)
    grade_IJ = np.full((len(people), int(item_R.max()) + 1), -1)
    grade_IJ[place_R, item_R] = grade_R
    rows_of: dict[int, list[int]] = defaultdict(list)
    for r, place in enumerate(place_R.tolist()):
        rows_of[place].append(r)
    node_Q, weight_Q = np.polynomial.hermite_e.hermegauss(_NODES)
    log_weight_Q = np.log(weight_Q / weight_Q.sum())
    nll_R = np.empty(len(grade_R))
    n_folds = min(FOLDS, len(people))
    for fold in range(n_folds):
        is_here_I = people % n_folds == fold
        a_J, b_JK = fit_items(grade_IJ[~is_here_I][:FITTED_ON], n_grades, ridge=_RIDGE)
        log_QJK = Items({}, a_J, b_JK, np.zeros(n_grades)).log_p(node_Q[:, None])
        for place in np.flatnonzero(is_here_I).tolist():
            rows = rows_of[place]
            log_QR = log_QJK[:, item_R[rows], grade_R[rows]]
            total_Q1 = (log_weight_Q + log_QR.sum(axis=1))[:, None]
            nll_R[rows] = logsumexp(total_Q1 - log_QR, axis=0) - logsumexp(total_Q1)
    return nll_R
