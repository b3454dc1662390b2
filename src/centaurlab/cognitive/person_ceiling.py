"""What is predictable at an item for somebody who knows the person by all other answers: items and people together.

Items discriminate and are as easy as the people of three other folds of four show (2PL or graded response); each
answer of a person is then predicted from all others of the person, later ones too. Where people differ as one trait
does, this is below what the same items achieve for a stranger.

Shapes: R responses, I people, J items, Q nodes of ability.
"""

from collections import defaultdict
from collections.abc import Hashable, Sequence

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


def person_item_nll(person_R: Sequence[Hashable], item_R: Sequence[Hashable], grade_R: IntArray) -> FloatArray:
    """(R,) NLL of each answer by the person's other answers and by other people's at all items."""
    people = {person: i for i, person in enumerate(dict.fromkeys(person_R))}
    items = {item: j for j, item in enumerate(dict.fromkeys(item_R))}
    n_grades = int(grade_R.max()) + 1
    grade_IJ = np.full((len(people), len(items)), -1)
    rows_of: dict[int, list[int]] = defaultdict(list)
    for r, (person, item) in enumerate(zip(person_R, item_R, strict=True)):
        grade_IJ[people[person], items[item]] = grade_R[r]
        rows_of[people[person]].append(r)
    node_Q, weight_Q = np.polynomial.hermite_e.hermegauss(_NODES)
    log_weight_Q = np.log(weight_Q / weight_Q.sum())
    nll_R = np.empty(len(grade_R))
    number_R = np.array([items[item] for item in item_R])
    for fold in range(min(FOLDS, len(people))):
        others = [i for i in range(len(people)) if i % FOLDS != fold][:FITTED_ON]
        a_J, b_JK = fit_items(grade_IJ[others], n_grades)
        log_QJK = Items({}, a_J, b_JK, np.zeros(n_grades)).log_p(node_Q[:, None])
        for i in range(fold, len(people), FOLDS):
            rows = rows_of[i]
            log_QR = log_QJK[:, number_R[rows], grade_R[rows]]
            total_Q1 = (log_weight_Q + log_QR.sum(axis=1))[:, None]
            nll_R[rows] = logsumexp(total_Q1 - log_QR, axis=0) - logsumexp(total_Q1)
    return nll_R
