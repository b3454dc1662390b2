"""Graded response (Samejima 1969), which is the 2PL where there are two answers: one ability a person, items apart.

Where all items discriminate alike and there are two answers, it is Rasch's model.

    P(answer ≥ k | θ) = logistic(a_j θ − b_jk),   θ standard normal over people,

with a and b of each item by marginal maximum likelihood of the training people (Bock & Aitkin 1981), and θ the
person's own. Answers are graded by the order of their options, as the study's module gives it.

Shapes: I people, J items, K grades, Q nodes of the quadrature, M values of θ, R trials.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from scipy.special import expit

from centaurlab.catalog.studies import Trial
from centaurlab.cognitive.model import CognitiveModel, Likelihood, Prior, most_options
from centaurlab.cognitive.session import Session, answer_index
from centaurlab.stats.estimate import FloatArray, IntArray

_NODES = 31
_RIDGE = 1e-3  # keeps items that all answered alike finite
_LEAST = 1e-12


@dataclass(frozen=True)
class Items:
    """Discrimination ``a_J`` and thresholds ``b_JK`` (K − 1 of them) of the items, by name; ``log_share_K``: how often
    each grade is given, for an item that nobody of the training people answered.
    """

    number: dict[str, int]
    a_J: FloatArray
    b_JK: FloatArray
    log_share_K: FloatArray
    _last: list[tuple[bytes, FloatArray]] = field(default_factory=list, repr=False, compare=False)

    def log_p(self, theta_MP: FloatArray) -> FloatArray:
        """(M, J, K) of every grade of every item; those of the last abilities are kept, which many people share."""
        name = theta_MP.tobytes()
        if not self._last or self._last[0][0] != name:
            above_MJK = expit(self.a_J[:, None] * theta_MP[:, :, None] - self.b_JK)
            edge = np.ones((len(theta_MP), len(self.a_J), 1))
            p_MJK = np.maximum(-np.diff(np.concatenate([edge, above_MJK, 0 * edge], axis=2), axis=2), _LEAST)
            self._last[:] = [(name, np.log(p_MJK / p_MJK.sum(axis=2, keepdims=True)))]
        return self._last[0][1]


def know_items(training: Sequence[Session], alike: bool = False) -> Items:
    """The items as the training people answered them; ``alike``: they discriminate alike."""
    trials = [trial for session in training for trial in session.trials if trial.item is not None]
    number = {item: j for j, item in enumerate(dict.fromkeys(str(trial.item) for trial in trials))}
    n_grades = most_options(trials)
    grade_IJ = np.full((len(training), len(number)), -1)
    for i, session in enumerate(training):
        for trial in session.trials:
            grade = answer_index(trial)
            if grade is not None and trial.item is not None:
                grade_IJ[i, number[trial.item]] = grade
    counts_K = np.array([(grade_IJ == k).sum() for k in range(n_grades)]) + 0.5
    a_J, b_JK = fit_items(grade_IJ, n_grades, alike) if number and n_grades > 1 else (np.zeros(0), np.zeros((0, 1)))
    return Items(number, a_J, b_JK, np.log(counts_K / counts_K.sum()))


def fit_items(
    grade_IJ: IntArray, n_grades: int, alike: bool = False, ridge: float = _RIDGE
) -> tuple[FloatArray, FloatArray]:
    """(J,) discriminations and (J, K − 1) thresholds; −1 is no answer. By the gradient that Fisher's identity gives.

    ``alike``: one discrimination for all items. ``ridge``: of squares; 1 / (2 · variance) of a normal prior.
    """
    node_Q, weight_Q = np.polynomial.hermite_e.hermegauss(_NODES)
    log_weight_Q = np.log(weight_Q / weight_Q.sum())
    n_items, n_steps = grade_IJ.shape[1], n_grades - 1
    given_KIJ = np.array([grade_IJ == k for k in range(n_grades)], float)

    def unpacked(x: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        table = x.reshape(n_items, n_grades)
        widths = np.exp(table[:, 2:])
        return table[:, 0], np.cumsum(np.concatenate([table[:, 1:2], widths], axis=1), axis=1), widths

    def descent(x: FloatArray) -> tuple[float, FloatArray]:
        a_J, b_JK, width_JK = unpacked(x)
        above_JQK = expit(a_J[:, None, None] * node_Q[None, :, None] - b_JK[:, None, :])
        slope_JQK = above_JQK * (1 - above_JQK)
        edge = np.ones((n_items, _NODES, 1))
        p_JQK = np.maximum(-np.diff(np.concatenate([edge, above_JQK, 0 * edge], axis=2), axis=2), _LEAST)
        log_IQ = np.einsum("kij,jqk->iq", given_KIJ, np.log(p_JQK)) + log_weight_Q
        top_I1 = log_IQ.max(axis=1, keepdims=True)
        posterior_IQ = np.exp(log_IQ - top_I1)
        evidence_I1 = posterior_IQ.sum(axis=1, keepdims=True)
        total = float((np.log(evidence_I1) + top_I1).sum())
        share_JQK = np.einsum("kij,iq->jqk", given_KIJ, posterior_IQ / evidence_I1) / p_JQK
        rise_JQK = slope_JQK * (share_JQK[:, :, 1:] - share_JQK[:, :, :-1])  # of the total with a_j θ − b_jk
        of_b_JK = -rise_JQK.sum(axis=1)
        later_JK = np.cumsum(of_b_JK[:, ::-1], axis=1)[:, ::-1]
        gradient = np.empty((n_items, n_grades))
        gradient[:, 0] = (rise_JQK * node_Q[None, :, None]).sum(axis=(1, 2))
        gradient[:, 1] = later_JK[:, 0]
        gradient[:, 2:] = later_JK[:, 1:] * width_JK
        gradient = -gradient + 2 * ridge * x.reshape(gradient.shape)
        if alike:
            gradient[:, 0] = gradient[:, 0].mean()
        return -total + ridge * float(x @ x), gradient.ravel()

    from scipy.optimize import minimize  # here: --help would wait for it

    start = np.zeros((n_items, n_grades))
    start[:, 0] = 1.0
    start[:, 1] = -0.5 * (n_steps - 1)
    found = minimize(descent, start.ravel(), jac=True, method="L-BFGS-B", options={"maxiter": 300, "ftol": 1e-11})
    a_J, b_JK, _ = unpacked(found.x)
    return a_J, b_JK


def likelihood(trials: Sequence[Trial], items: Items) -> Likelihood:
    """θ: the ability."""
    n_options, n_grades = most_options(trials), items.b_JK.shape[1] + 1
    numbers = [items.number.get(str(trial.item)) for trial in trials]
    sizes = [len(trial.options or ()) for trial in trials]
    known = [t for t, (j, n) in enumerate(zip(numbers, sizes, strict=True)) if j is not None and n == n_grades]
    known_items = np.array([numbers[t] for t in known], np.int64)
    other_RK = np.full((len(trials), n_options), -np.inf)
    for t, n in enumerate(sizes):
        if n:
            other_RK[t, :n] = items.log_share_K if n == len(items.log_share_K) else -np.log(n)

    def log_p(theta_MP: FloatArray) -> FloatArray:
        log_MRK = np.repeat(other_RK[None], len(theta_MP), axis=0)
        if known:
            log_MRK[:, known, :n_grades] = items.log_p(theta_MP)[:, known_items]
        return log_MRK

    return log_p


MODELS = (
    CognitiveModel(
        "rasch",
        "one trait a person, and items that differ in how easily they show it",
        "Rasch 1960, Probabilistic Models for Some Intelligence and Attainment Tests",
        ("smith2018abortion",),
        (Prior("ability", 0, 1),),
        likelihood,
        know=partial(know_items, alike=True),
    ),
    CognitiveModel(
        "graded-response",
        "one trait a person, and items that differ in how easily and how sharply they show it",
        "Samejima 1969, doi:10.1007/BF03372160; Bock & Aitkin 1981, doi:10.1007/BF02293801",
        ("deboeck2004aggression", "smith2018abortion", "revelle2010personality"),
        (Prior("ability", 0, 1),),
        likelihood,
        know=know_items,
    ),
)
