"""Exact Bayes over particles against quadrature, populations, and parameters of simulated people."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import expit, logsumexp
from scipy.stats import norm

from centaurlab.catalog.studies import Trial
from centaurlab.cognitive.model import CognitiveModel, Likelihood, Prior, log_softmax
from centaurlab.cognitive.models.delta_rule import MODELS as DELTA_RULES
from centaurlab.cognitive.particles import Fitted, answers_of, fit, population, prequential
from centaurlab.cognitive.prediction import Prediction
from centaurlab.cognitive.rows import mixture, study_rows
from centaurlab.cognitive.session import Session
from centaurlab.data.persons import Persons
from centaurlab.data.transcripts import SessionKey
from centaurlab.stats.estimate import FloatArray
from helpers.trials import choices, session_of


def bias(trials: Sequence[Trial], knowledge: None) -> Likelihood:
    def log_p(theta_MP: FloatArray) -> FloatArray:
        utility = np.zeros((len(theta_MP), len(trials), 2))
        utility[:, :, 0] = theta_MP
        return log_softmax(utility)

    return log_p


COIN = CognitiveModel("coin", "a bias towards the first", "none", ("s",), (Prior("bias", 0, 1),), bias)


def test_predictions_add_up_to_the_evidence_by_quadrature() -> None:
    """One parameter: particles on a fine grid of the prior, against scipy's adaptive integral."""
    session = session_of(choices("aababaaabaaaab", "ab"))
    n_a, n = 10, 14
    z_M = np.linspace(-9, 9, 20_001)
    weight_M = norm.logpdf(z_M) - logsumexp(norm.logpdf(z_M))
    log_MRO, log_MR = answers_of(COIN, session, None).log_p(z_M[:, None])
    told = prequential(log_MRO, log_MR, weight_M)
    evidence, _ = quad(
        lambda b: norm.pdf(b) * expit(b) ** n_a * expit(-b) ** (n - n_a), -9, 9, epsabs=0, epsrel=1e-12, limit=400
    )
    assert told.log_R.sum() == pytest.approx(np.log(evidence), abs=1e-8)
    assert np.exp(told.log_RO).sum(axis=1) == pytest.approx(1)


def test_where_no_model_speaks_the_row_that_knows_nobody_has_the_item_marginal() -> None:
    """Two who begin differently, and come to the same question, of which the model says nothing."""
    items = ["easy"] * 4 + ["last"]
    silent = replace(COIN, covers=lambda trial: trial.item != "last")
    people = [session_of(choices(said, "ab", items), f"p{i}") for i, said in enumerate(["aaaab", "bbbbb", "abaab"] * 3)]
    sessions = {SessionKey("s", "e", str(i)): session for i, session in enumerate(people)}
    keys = list(sessions)
    found = study_rows(sessions, keys[:2], keys[2:], Persons(), 0, [silent]).predictions
    for row, is_alike in (("shared", True), ("adaptive", False)):
        last = [found[row][key].log_p_R[-1] for key in keys[:2]]
        assert (last[0] == pytest.approx(last[1])) == is_alike
    assert found["shared"][keys[0]].log_p_R[-1] == found["item-marginal"][keys[0]].log_p_R[-1]


def test_models_that_speak_of_different_answers_are_chosen_among_by_those_that_they_share() -> None:
    """One with a bias for all answers against one of the hard item alone, which knows nothing and has few to miss."""
    items = ["easy"] * 9 + ["hard"]
    ignorant = replace(
        COIN, name="ignorant", likelihood=lambda trials, knowledge: lambda theta: bias(trials, None)(0 * theta)
    )
    few = replace(ignorant, covers=lambda trial: trial.item == "hard")
    people = [session_of(choices("aaaabaaaaa", "ab", items), f"p{i}") for i in range(8)]
    sessions = {SessionKey("s", "e", str(i)): session for i, session in enumerate(people)}
    keys = list(sessions)
    found = study_rows(sessions, keys[:1], keys[1:], Persons(), 0, [COIN, few]).predictions["shared"][keys[0]]
    assert np.exp(found.log_p_R) == pytest.approx([0.1 if said == "b" else 0.9 for said in "aaaabaaaaa"], abs=1e-3)


def test_a_response_is_predicted_by_earlier_ones_alone() -> None:
    fitted = fit(COIN, [session_of(choices("aabb", "ab"), f"p{i}") for i in range(3)], n_particles=64)
    first, other = (fitted.tell(session_of(choices(said, "ab")))["adaptive"] for said in ("aaab", "aaaa"))
    assert first.log_RO == pytest.approx(other.log_RO)


def test_the_population_is_that_of_an_em_written_out() -> None:
    log_IM = np.log(np.random.default_rng(0).uniform(0.1, 1, (6, 4)))
    weight = np.full(4, 0.25)
    for _ in range(3000):
        share = weight * np.exp(log_IM)
        weight = (share / share.sum(axis=1, keepdims=True)).mean(axis=0)
    assert np.exp(population(log_IM)) == pytest.approx((6 * weight + 0.25) / 7, abs=2e-3)
    assert np.exp(population(np.zeros((0, 4)))) == pytest.approx(0.25)


def test_the_shared_parameter_is_the_maximum_of_the_likelihood() -> None:
    people = [session_of(choices("aaab", "ab"), f"p{i}") for i in range(50)]
    assert fit(COIN, people, n_particles=16).theta_P[0] == pytest.approx(np.log(3), abs=1e-3)


def test_own_is_never_below_adaptive_nor_shared() -> None:
    fitted = fit(COIN, [session_of(choices("aab", "ab"), f"p{i}") for i in range(5)], n_particles=64)
    told = fitted.tell(session_of(choices("bbbbab", "ab")))
    assert told["own"].log_RO.base is None  # or every session would keep what was computed for all values of θ
    assert told["own"].log_R.sum() >= max(told["adaptive"].log_R.sum(), told["shared"].log_R.sum())


def learner(seed: int, alpha: float, beta: float, counterfactual: float | None = None, n: int = 120) -> Session:
    """Somebody who learns by a delta rule which of two options pays, simulated by its equations; points of sd 1."""
    draw = np.random.default_rng(seed)
    value, outcomes, said = np.zeros(2), [], []
    for t in range(n):
        points = draw.normal([0.7, -0.7] if (t // 30) % 2 else [-0.7, 0.7], 0.714)
        choice = int(draw.random() > expit(beta * (value[0] - value[1])))
        value[choice] += alpha * (points[choice] - value[choice])
        if counterfactual is not None:
            value[1 - choice] += counterfactual * (points[1 - choice] - value[1 - choice])
        said.append("ab"[choice])
        outcomes.append({"points": tuple(points)})
    trials = choices(said, "ab")
    told = [Trial(**{**vars(trial), "outcome": outcome}) for trial, outcome in zip(trials, outcomes, strict=True)]
    return session_of(told, f"p{seed}")


def fitted_rules(people: list[Session]) -> dict[str, Fitted]:
    return {model.name: fit(model, people, n_particles=128) for model in DELTA_RULES}


def test_parameters_of_simulated_learners_are_recovered() -> None:
    people = [learner(seed, alpha=0.3, beta=2.5) for seed in range(16)]
    found = fit(DELTA_RULES[0], people, n_particles=64)
    assert found.theta_P[0] == pytest.approx(0.3, abs=0.07)
    assert found.theta_P[1] == pytest.approx(2.5, abs=0.5)


def test_the_model_that_made_the_choices_predicts_new_people_best() -> None:
    learners = {
        "delta-rule": [learner(seed, 0.4, 3) for seed in range(14)],
        "delta-rule-counterfactual": [learner(seed, 0.1, 3, counterfactual=0.4) for seed in range(14)],
    }
    for truth, people in learners.items():
        rules = fitted_rules(people[:8])
        nll = {name: -sum(one.tell(new)["shared"].log_R.sum() for new in people[8:]) for name, one in rules.items()}
        rival = next(name for name in learners if name != truth)
        assert nll[truth] < nll[rival]


def test_a_mixture_is_the_mean_of_evidences() -> None:
    a, b = np.log([0.5, 0.5, 0.5]), np.log([0.9, 0.1, 0.9])
    found = mixture([Prediction(logs, (None,) * 3) for logs in (a, b)])
    assert found.log_p_R.sum() == pytest.approx(np.log((0.5**3 + 0.9**2 * 0.1) / 2))


def test_a_mixture_does_not_know_what_none_of_its_predictions_know() -> None:
    """As of a blank response; without a warning, which would be an error here."""
    logs = [np.log(p) for p in ([0.5, np.nan, 0.5], [0.9, np.nan, 0.1])]
    found = mixture([Prediction(log_R, (None,) * 3) for log_R in logs]).log_p_R
    np.testing.assert_allclose(np.exp(found), [0.7, np.nan, (0.5**2 + 0.9 * 0.1) / 1.4])
