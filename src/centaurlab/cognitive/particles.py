"""A cognitive model and training people into three predictions of a new person: shared, adaptive, own.

``shared``: one θ for everybody, by maximum likelihood of the training people, as models are published. ``adaptive``:
many values of θ, weighed by how many training people are like each (the nonparametric maximum-likelihood estimate of
the population; Kiefer & Wolfowitz 1956, doi:10.1214/aoms/1177728066), and reweighed by exact Bayes after every answer
of the person who is predicted. ``own``: the value that turns out best for the person, in hindsight: a bound.

Shapes: M values of θ, P parameters, I people, R responses, O options.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp, ndtri

from centaurlab.cognitive.model import CognitiveModel, Likelihood
from centaurlab.cognitive.session import Session, answer_index, is_predictable
from centaurlab.runtime.errors import UserError
from centaurlab.stats.estimate import BoolArray, FloatArray, IntArray

PARTICLES = 512
FITTED_ON = 300
"""Sessions at most that a model is fitted to: the first in the seeded order."""
_FEW = 2000  # answers that a first fit is to
_RIDGE = 1e-3  # of the squared distance from the prior's mean: keeps θ finite where answers are all alike
_FARTHEST = 8.0
_NEWTON_ROUNDS = 40
_EM_ROUNDS = 500


@dataclass(frozen=True)
class Answers:
    """One session's likelihood, and where in it the answers are: ``place_R`` among the options, ``covered_R``."""

    model: CognitiveModel
    session: Session
    likelihood: Likelihood
    place_R: IntArray
    covered_R: BoolArray

    def log_p(self, theta_MP: FloatArray) -> tuple[FloatArray, FloatArray]:
        """(M, R, O) of all options, and (M, R) of the answers, 0 where the model covers none.

        ``UserError`` where the session is impossible by every θ.
        """
        log_MRO = self.likelihood(theta_MP)
        log_MR = np.take_along_axis(log_MRO, self.place_R[None, :, None], axis=2)[:, :, 0]
        log_MR = np.where(self.covered_R, log_MR, 0.0)
        if not np.isfinite(log_MR.sum(axis=1)).any():
            trial = self.session.trials[int(np.argmin(np.isfinite(log_MR.cumsum(axis=1)).any(axis=0)))]
            raise UserError(
                f"{self.model.file or 'the catalog'}: the model {self.model.name!r} gives {trial.answer!r}, the answer "
                f"of {self.session.key} at trial {trial.trial}, no probability above zero; let every option have some"
            )
        return log_MRO, log_MR

    def total(self, theta_MP: FloatArray) -> FloatArray:
        """(M,) log-likelihood of the session."""
        total_M: FloatArray = self.log_p(theta_MP)[1].sum(axis=1)
        return total_M


def answers_of(model: CognitiveModel, session: Session, knowledge: object) -> Answers:
    """The session as the model sees it."""
    place = [answer_index(trial) or 0 for trial in session.trials]
    covered = [is_predictable(trial) and model.covers(trial) for trial in session.trials]
    likelihood = model.likelihood(session.trials, knowledge)
    return Answers(model, session, likelihood, np.array(place, np.int64), np.array(covered, bool))


@dataclass(frozen=True)
class Told:
    """What one row says of a session: (R, O) of all options, (R,) of the answers; where it is not covered, nothing."""

    log_RO: FloatArray
    log_R: FloatArray


@dataclass(frozen=True)
class Fitted:
    """A model that has seen the training people of a study.

    ``theta_P`` is shared, the priors' values at ``z_P``; ``theta_MP`` with ``log_weight_M`` is the population. ``fit``:
    log-likelihood of the training people under ``theta_P``, in nats; ``n_answers`` of them are covered.
    """

    model: CognitiveModel
    knowledge: object
    z_P: FloatArray
    theta_P: FloatArray
    theta_MP: FloatArray
    log_weight_M: FloatArray
    fit: float
    n_answers: int

    @property
    def bic(self) -> float:
        """Schwarz's criterion of the shared fit, in nats: lower is better."""
        return bic(self.fit, len(self.theta_P), self.n_answers)

    def tell(self, session: Session) -> dict[str, Told]:
        """What ``shared``, ``adaptive`` and ``own`` say of a session."""
        answers = answers_of(self.model, session, self.knowledge)
        shared_MRO, shared_MR = answers.log_p(self.theta_P[None])
        log_MRO, log_MR = answers.log_p(self.theta_MP)
        adaptive = prequential(log_MRO, log_MR, self.log_weight_M)
        best = int(np.argmax(log_MR.sum(axis=1)))
        own = Told(log_MRO[best].copy(), log_MR[best].copy())  # views would keep all values of θ in memory
        shared = Told(shared_MRO[0], shared_MR[0])
        return {"shared": shared, "adaptive": adaptive, "own": max(own, shared, key=lambda one: one.log_R.sum())}


def bic(log_likelihood: float, n_parameters: int, n_answers: int) -> float:
    """Schwarz's criterion, in nats: lower is better; only of the same answers."""
    return -2 * log_likelihood + n_parameters * float(np.log(max(n_answers, 1)))


def prequential(log_MRO: FloatArray, log_MR: FloatArray, log_weight_M: FloatArray) -> Told:
    """What is predicted of every answer by what was before it.

    p(y_t | y_<t) = Σ_m w_m exp(Σ_{s≤t} ℓ_ms) / Σ_m w_m exp(Σ_{s<t} ℓ_ms), whose logarithms add up to that of the
    evidence Σ_m w_m exp(Σ_s ℓ_ms).
    """
    before_MR = log_weight_M[:, None] + np.cumsum(log_MR, axis=1) - log_MR
    before_MR = before_MR - logsumexp(before_MR, axis=0)
    log_RO = logsumexp(before_MR[:, :, None] + log_MRO, axis=0)
    return Told(log_RO, logsumexp(before_MR + log_MR, axis=0))


def fit(
    model: CognitiveModel,
    training: Sequence[Session],
    n_particles: int = PARTICLES,
    start_P: FloatArray | None = None,
) -> Fitted:
    """Fit a model to the first training people of a study; sessions of one person count as so many people.

    ``start_P``: standard normal values to begin at, such as ``Fitted.z_P`` of a fit to other people of the study.
    """
    training = training[:FITTED_ON]
    knowledge = model.know(training)
    people = [answers_of(model, session, knowledge) for session in training]
    people = [one for one in people if one.covered_R.any()]
    z_P, fitted = _shared(model, people, start_P)
    z_MP = _particles(z_P, n_particles)
    theta_MP = model.theta(z_MP)
    log_IM = np.array([one.total(theta_MP) for one in people]).reshape(len(people), len(theta_MP))
    n_answers = int(sum(one.covered_R.sum() for one in people))
    return Fitted(model, knowledge, z_P, model.theta(z_P[None])[0], theta_MP, population(log_IM), fitted, n_answers)


def population(log_IM: FloatArray) -> FloatArray:
    """(M,) log-weights that make the training people likeliest, by EM; a person unlike all of them counts as one more.

    w_m ∝ Σ_i w_m L_im / Σ_m' w_m' L_im', to convergence; without people all weights are equal.
    """
    n_people, n_particles = log_IM.shape
    weight_M = np.full(n_particles, 1 / n_particles)
    if n_people:
        likelihood_IM = np.exp(log_IM - log_IM.max(axis=1, keepdims=True))
        known = -np.inf
        for _ in range(_EM_ROUNDS):
            evidence_I = likelihood_IM @ weight_M
            weight_M = weight_M * (likelihood_IM / evidence_I[:, None]).mean(axis=0)
            total = float(np.log(evidence_I).sum())
            if total - known < 1e-6 * n_people:
                break
            known = total
    log_M: FloatArray = np.log((n_people * weight_M + 1 / n_particles) / (n_people + 1))
    return log_M


def _shared(model: CognitiveModel, people: Sequence[Answers], start_P: FloatArray | None) -> tuple[FloatArray, float]:
    """Standard normal values of the θ under which the training people are likeliest, and how likely they are.

    Many values of θ cost little more than one, so Newton's method gets gradient and Hessian from one reading of all
    answers; it begins at what is likeliest for a few people.
    """
    n = len(model.priors)
    if not people:
        return np.zeros(n), 0.0

    def total(z_MP: FloatArray, of: Sequence[Answers]) -> FloatArray:
        theta_MP = model.theta(z_MP)
        total_M: FloatArray = np.sum([one.total(theta_MP) for one in of], axis=0) - _RIDGE * (z_MP**2).sum(axis=1)
        return total_M

    if start_P is None:
        n_R = np.cumsum([one.covered_R.sum() for one in people])
        few = people[: int(np.searchsorted(n_R, _FEW)) + 1]
        starts_MP = even_normal(n, 32, seed=0)
        start_P = starts_MP[int(np.argmax(total(starts_MP, few)))]
        if len(few) < len(people):
            start_P = newton(lambda z_MP: total(z_MP, few), start_P)
    z_P = newton(lambda z_MP: total(z_MP, people), start_P)
    return z_P, float(total(z_P[None], people)[0] + _RIDGE * z_P @ z_P)


def newton(total: Callable[[FloatArray], FloatArray], start_P: FloatArray) -> FloatArray:
    """The maximum of a function of many points at once (M, P) to (M,), by Newton's method with steps that never fall.

    Differences of 1e-4 give the gradient, of 1e-2 the Hessian, made negative definite by its eigenvalues.
    """
    n = len(start_P)
    near, far = 1e-4 * np.eye(n), 1e-2 * np.eye(n)
    pairs = [(i, j) for i in range(n) for j in range(i)]
    both = np.array([far[i] + far[j] for i, j in pairs]).reshape(len(pairs), n)
    offsets = np.concatenate([np.zeros((1, n)), near, -near, far, -far, both, -both])
    cuts = np.cumsum([1, n, n, n, n, len(pairs)])
    z_P = np.clip(start_P, -_FARTHEST, _FARTHEST)
    here, up, down, out, back, plus, minus = np.split(total(z_P + offsets), cuts)
    for _ in range(_NEWTON_ROUNDS):
        slope_P = (up - down) / 2e-4
        bend_PP = np.diag((out - 2 * here + back) / 1e-4)
        for (i, j), p, m in zip(pairs, plus, minus, strict=True):
            bend_PP[i, j] = bend_PP[j, i] = (p + m - out[i] - out[j] - back[i] - back[j] + 2 * here[0]) / 2e-4
        value_P, axis_PP = np.linalg.eigh(bend_PP)
        stiff_P = np.maximum(np.abs(value_P), 1e-3)
        step_P = axis_PP @ ((axis_PP.T @ slope_P) / stiff_P)
        step_P *= min(1.0, 2.0 / max(float(np.abs(step_P).max()), 1e-300))
        for length in (1.0, 0.3, 0.1, 0.01):
            to_P = np.clip(z_P + length * step_P, -_FARTHEST, _FARTHEST)
            found = np.split(total(to_P + offsets), cuts)
            if found[0][0] > here[0]:
                break
        else:
            break
        gain, moved = float(found[0][0] - here[0]), float(np.abs(to_P - z_P).max())
        z_P, (here, up, down, out, back, plus, minus) = to_P, found
        if moved < 1e-4 or gain < 1e-7:
            break
    return z_P


def even_normal(n: int, count: int, seed: int) -> FloatArray:
    """(count, n) standard normal values that fill the space evenly."""
    from scipy.stats import qmc  # here: --help would wait for it

    uniform = qmc.Sobol(n, seed=seed).random(2 ** int(np.ceil(np.log2(count))))[:count]
    values: FloatArray = ndtri(np.clip(uniform, 1e-6, 1 - 1e-6))
    return values


def _particles(z_P: FloatArray, n_particles: int) -> FloatArray:
    """Half of them over the weak prior, half nearer to the shared θ, from the same low-discrepancy sequence always."""
    z_MP = even_normal(len(z_P), n_particles, seed=1)
    z_MP[1::2] = z_P + 0.5 * z_MP[1::2]
    z_MP[0] = z_P
    result: FloatArray = np.clip(z_MP, -_FARTHEST, _FARTHEST)
    return result
