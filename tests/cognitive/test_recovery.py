"""Parameters of simulated people: bias and coverage.

``pytest -m slow -s tests/cognitive/test_recovery.py`` prints what docs/baselines.md sums up. Posteriors are integrated
by importance sampling from a proposal that follows them: draws from the prior meet those of seven parameters too
rarely (of 2,048 draws two to eleven count), whose intervals would then hold 75 % of the truth.
"""

import numpy as np
import pytest
from scipy.special import softmax
from scipy.stats import binom, multivariate_t

from centaurlab.cognitive.model import CognitiveModel
from centaurlab.cognitive.models.all import MODELS
from centaurlab.cognitive.particles import answers_of
from centaurlab.cognitive.session import Session
from centaurlab.stats.estimate import FloatArray
from helpers.simulated import DESIGNS, answering, knowledge_of, prior_draws

PEOPLE, PARTICLES = 20, 2048
OF_CHOICES = [model for model in MODELS if model.name in DESIGNS]


def posterior(model: CognitiveModel, person: Session) -> tuple[FloatArray, FloatArray]:
    """Standard normal values (M, P) of the parameters and their weights (M,) after all answers.

    Draws from the prior are weighed by a power of posterior / proposal that a twentieth of them survives; the next are
    from Student's t with 5 degrees of freedom around these, until the power is 1.
    """
    answers = answers_of(model, person, knowledge_of(model, [person]))
    z_MP = prior_draws(len(model.priors), PARTICLES)
    log_proposal_M = -(z_MP**2).sum(axis=1) / 2
    for number in range(20):
        log_M = answers.total(model.theta(z_MP)) - (z_MP**2).sum(axis=1) / 2 - log_proposal_M
        power = 1.0
        while 1 / (softmax(power * log_M) ** 2).sum() < PARTICLES / 20:
            power *= 0.8
        weight_M = softmax(power * log_M)
        if power == 1:
            return z_MP, weight_M
        spread_PP = 1.2 * np.cov(z_MP.T, aweights=weight_M) + 1e-4 * np.eye(len(model.priors))
        proposal = multivariate_t(weight_M @ z_MP, spread_PP, df=5, seed=number)
        z_MP = np.clip(proposal.rvs(PARTICLES), -8, 8)
        log_proposal_M = proposal.logpdf(z_MP)
    raise AssertionError("no proposal follows the posterior")


def recovered(model: CognitiveModel) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Over simulated people, by parameter: bias and its standard error in prior SDs, and coverage of 95 % intervals."""
    n = len(model.priors)
    errors, covered = [], []
    for number in range(PEOPLE):
        draw = np.random.default_rng([number, n])
        truth_P = draw.normal(0, 1, n)
        person = answering(model, DESIGNS[model.name](draw), truth_P, draw, f"p{number}")
        z_MP, weight_M = posterior(model, person)
        errors.append(weight_M @ z_MP - truth_P)
        below_P = ((z_MP < truth_P) * weight_M[:, None]).sum(axis=0)
        covered.append((below_P > 0.025) & (below_P < 0.975))
    error_IP = np.array(errors)
    return error_IP.mean(axis=0), error_IP.std(axis=0, ddof=1) / PEOPLE**0.5, np.array(covered).mean(axis=0)


@pytest.mark.slow
@pytest.mark.parametrize("model", OF_CHOICES, ids=lambda model: model.name)
def test_parameters_are_found_without_bias_in_intervals_that_hold_them(model: CognitiveModel) -> None:
    bias_P, error_P, coverage_P = recovered(model)
    print(f"| `{model.name}` | {np.abs(bias_P).max():.2f} | {100 * coverage_P.mean():.0f} % |")
    for prior, bias, error, coverage in zip(model.priors, bias_P, error_P, coverage_P, strict=True):
        print(f"  {prior.name}: {bias:+.2f} ± {error:.2f}, {100 * coverage:.0f} %")
    assert np.abs(bias_P).max() < 0.1 + 3.3 * error_P.max()
    n = PEOPLE * len(model.priors)
    assert coverage_P.mean() * n >= binom.ppf(0.001, n, 0.95)
