"""Which of several models most people follow: group Bayesian model selection, each person drawn from a population.

Every person follows one of K models, and how many follow each, r, is unknown with a flat prior (Dirichlet of ones).
From each person's log evidence of each model the posterior of r is found by variational Bayes (Stephan et al. 2009,
doi:10.1016/j.neuroimage.2009.03.025). ``exceedance``: the probability that a model is the most frequent one.
``omnibus_risk``: the probability that all models are equally frequent, so that differences are chance; ``protected``
exceedance probabilities are drawn towards 1/K by it (Rigoux, Stephan, Friston & Daunizeau 2014,
doi:10.1016/j.neuroimage.2013.08.065, eqs. 7 and A.6 to A.9).

Shapes: N people, K models.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import digamma, expit, gammainc, gammaincinv, gammaln, logsumexp, softmax

from centaurlab.stats.estimate import FloatArray

_ROUNDS = 10_000
_NODES = 256


@dataclass(frozen=True)
class Selection:
    """Of each model: ``frequency_K``, how many people follow it, as expected, with ``exceedance_K`` and
    ``protected_K``, the probability that it is the most frequent; ``share_NK``: that it is the person's.
    """

    names: tuple[str, ...]
    alpha_K: FloatArray
    share_NK: FloatArray
    exceedance_K: FloatArray
    omnibus_risk: float

    @property
    def frequency_K(self) -> FloatArray:
        """Posterior mean of the share of people who follow each model."""
        frequency_K: FloatArray = self.alpha_K / self.alpha_K.sum()
        return frequency_K

    @property
    def protected_K(self) -> FloatArray:
        """Protected exceedance probabilities; they add up to 1."""
        protected_K: FloatArray = (1 - self.omnibus_risk) * self.exceedance_K + self.omnibus_risk / len(self.names)
        return protected_K


def select(names: Sequence[str], log_evidence_NK: FloatArray) -> Selection:
    """Group Bayesian model selection.

    Parameters
    ----------
    names : sequence of str
        The models, in the order of the columns.
    log_evidence_NK : array (N, K)
        Of each person under each model, in nats: what was predicted of the person's answers, added up.

    Examples
    --------
    >>> found = select(["a", "b"], np.array([[0.0, -6.0]] * 12))
    >>> [round(float(p), 2) for p in found.protected_K]
    [1.0, 0.0]
    """
    n_people, n_models = log_evidence_NK.shape
    alpha_K = np.ones(n_models)
    share_NK = np.full((n_people, n_models), 1 / n_models)
    for _ in range(_ROUNDS):
        share_NK = softmax(log_evidence_NK + digamma(alpha_K), axis=1)
        before_K, alpha_K = alpha_K, 1 + share_NK.sum(axis=0)
        if np.abs(alpha_K - before_K).max() < 1e-10:
            break
    chance = float((logsumexp(log_evidence_NK, axis=1) - np.log(n_models)).sum())
    risk = float(expit(chance - _free_energy(log_evidence_NK, alpha_K, share_NK)))
    return Selection(tuple(names), alpha_K, share_NK, exceedance(alpha_K), risk)


def exceedance(alpha_K: FloatArray) -> FloatArray:
    """(K,) the probability under a Dirichlet that each share is the largest, by quadrature.

    Shares are gamma variables over their sum, so that r_k is the largest where the k-th gamma variable is:
    ∫ Π_j≠k F_j(F_k⁻¹(u)) du over 0 < u < 1, in u = (1 + tanh x)/2, where both ends are smooth.
    """
    x_U, weight_U = np.polynomial.legendre.leggauss(_NODES)
    x_U, weight_U = 16 * x_U, 16 * weight_U
    upper_U = expit(2 * x_U)
    slope_U = 2 * upper_U * expit(-2 * x_U)
    found_K = np.empty(len(alpha_K))
    for k, alpha in enumerate(alpha_K):
        g_U = gammaincinv(alpha, upper_U)
        below_U = np.prod([gammainc(a, g_U) for j, a in enumerate(alpha_K) if j != k], axis=0)
        found_K[k] = float((weight_U * slope_U * below_U).sum())
    result_K: FloatArray = found_K / found_K.sum()
    return result_K


def _free_energy(log_evidence_NK: FloatArray, alpha_K: FloatArray, share_NK: FloatArray) -> float:
    """A lower bound of the log evidence that people differ in the model that they follow, tight at convergence."""
    log_r_K = digamma(alpha_K) - digamma(alpha_K.sum())
    joint = gammaln(len(alpha_K)) + float((share_NK * (log_evidence_NK + log_r_K)).sum())  # Dirichlet of ones
    of_r = float(gammaln(alpha_K).sum() - gammaln(alpha_K.sum()) - ((alpha_K - 1) * log_r_K).sum())
    of_models = -float((share_NK * np.log(np.maximum(share_NK, 1e-300))).sum())
    return float(joint + of_r + of_models)
