"""Which of nested models made the choices: one is another with parameters left out, and fits no better than it.

Rows that have learned from training people cannot tell (tests/cognitive/test_rivals.py): there the larger model learns
that it is the smaller one. Evidence can, where parameters are integrated over weak priors and there is nobody to learn
from; and of items, which all people share, Schwarz's criterion of what the people at hand say. A group of people is
won by the model with the highest evidence over them, or by whom most of them follow.

``pytest -m "slow or release" -s tests/cognitive/test_special_cases.py`` prints the shares that docs/baselines.md has.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from scipy.special import log_expit, logsumexp

from centaurlab.catalog.studies import Trial
from centaurlab.cognitive.model import CognitiveModel
from centaurlab.cognitive.models.delta_rule import MODELS as DELTA_RULES
from centaurlab.cognitive.models.graded_response import fit_items
from centaurlab.cognitive.particles import answers_of
from centaurlab.stats.estimate import FloatArray, IntArray
from centaurlab.stats.selection import select
from helpers.followers import People, followed, learner, two_stepper
from helpers.nested import DUAL, HABIT, PLANNING
from helpers.simulated import Rng, bandit, prior_draws, two_step

GROUPS, PEOPLE = 20, 12


@dataclass(frozen=True)
class Family:
    """Nested models and people who follow each; ``draws`` from the priors integrate the parameters."""

    models: Sequence[CognitiveModel]
    followers: Sequence[People]
    design: Callable[[Rng], list[Trial]]
    draws: int


LEARNERS = Family(
    DELTA_RULES,
    [learner(perseverates=k > 0, counterfactual=k > 1) for k in range(3)],
    bandit,
    256,
)
PLANNERS = Family(
    [DUAL, HABIT, PLANNING],
    [two_stepper(plans=plans, has_habit=habit) for plans, habit in ((True, True), (False, True), (True, False))],
    two_step,
    512,
)


def cases(family: Family, *marks: pytest.MarkDecorator) -> list[object]:
    return [pytest.param(family, k, id=model.name, marks=marks) for k, model in enumerate(family.models)]


@pytest.mark.parametrize(
    ("family", "truth"), [*cases(LEARNERS, pytest.mark.slow), *cases(PLANNERS, pytest.mark.release)]
)
def test_the_model_that_made_the_choices_wins_in_nineteen_groups_of_twenty(family: Family, truth: int) -> None:
    draw = np.random.default_rng(truth)
    n, follower = GROUPS * PEOPLE, family.followers[truth]
    people = [followed(family.design(draw), follower, draw, f"p{i}") for i in range(n)]
    log_evidence_IK = np.empty((n, len(family.models)))
    for k, model in enumerate(family.models):
        theta_MP = model.theta(prior_draws(len(model.priors), family.draws))
        for i, person in enumerate(people):
            log_evidence_IK[i, k] = logsumexp(answers_of(model, person, None).total(theta_MP)) - np.log(family.draws)
    groups = log_evidence_IK.reshape(GROUPS, PEOPLE, len(family.models))
    won = (groups.sum(axis=1).argmax(axis=1) == truth).mean()
    names = [model.name for model in family.models]
    chosen = np.mean([select(names, group).frequency_K.argmax() == truth for group in groups])
    print(f"{names[truth]}: {100 * won:.0f} % by evidence, {100 * chosen:.0f} % by frequency")
    assert min(won, chosen) >= 0.95


N_ITEMS, ASKED = 30, 200
NODES_Q, WEIGHT_Q = np.polynomial.hermite_e.hermegauss(41)


def log_likelihood(grade_IJ: IntArray, a_J: FloatArray, b_J: FloatArray) -> float:
    """Of all answers, abilities integrated over the standard normal distribution."""
    z_QJ = a_J * NODES_Q[:, None] - b_J
    log_IQ = grade_IJ @ log_expit(z_QJ).T + (1 - grade_IJ) @ log_expit(-z_QJ).T
    return float(logsumexp(log_IQ, b=WEIGHT_Q / WEIGHT_Q.sum(), axis=1).sum())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("truth", "a_J"),
    [
        ("item-marginal", np.zeros(N_ITEMS)),
        ("rasch", np.full(N_ITEMS, 1.3)),
        ("graded-response", np.random.default_rng(1).permutation(np.linspace(0.3, 2.5, N_ITEMS))),
    ],
)
def test_schwarz_finds_how_items_differ_in_nineteen_groups_of_twenty(truth: str, a_J: FloatArray) -> None:
    draw = np.random.default_rng(len(truth))
    b_J, found = np.linspace(-1.5, 1.5, N_ITEMS), []
    for _ in range(GROUPS):
        p_IJ = np.exp(log_expit(a_J * draw.normal(size=(ASKED, 1)) - b_J))
        grade_IJ = (draw.random((ASKED, N_ITEMS)) < p_IJ).astype(np.int64)
        share_J = grade_IJ.mean(axis=0)
        fits = {"item-marginal": (np.zeros(N_ITEMS), np.log(1 - share_J) - np.log(share_J), N_ITEMS)}
        for name, n_parameters in (("rasch", N_ITEMS + 1), ("graded-response", 2 * N_ITEMS)):
            slopes_J, thresholds_JK = fit_items(grade_IJ, 2, alike=name == "rasch")
            fits[name] = slopes_J, thresholds_JK[:, 0], n_parameters
        schwarz = {name: n * np.log(ASKED) - 2 * log_likelihood(grade_IJ, a, b) for name, (a, b, n) in fits.items()}
        found.append(min(schwarz, key=schwarz.__getitem__))
    print(f"{truth}: {found.count(truth) / GROUPS:.0%}")
    assert found.count(truth) >= 0.95 * GROUPS
