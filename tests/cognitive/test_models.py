"""The cognitive models that come with the package: probabilities, causality, and fits against other programs."""

import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize
from scipy.special import expit
from scipy.stats import norm

from centaurlab.catalog.studies import Trial, catalog_studies
from centaurlab.cognitive.model import CognitiveModel
from centaurlab.cognitive.models.all import MODELS, models_of
from centaurlab.cognitive.models.graded_response import fit_items
from centaurlab.cognitive.models.logit import MODELS as LOGITS
from centaurlab.cognitive.models.logit import trip_features
from centaurlab.cognitive.particles import answers_of, fit
from centaurlab.cognitive.session import Session, read_session
from centaurlab.data.source import DataArguments, open_source
from centaurlab.stats.estimate import FloatArray
from helpers.trials import choices, session_of


def starter(study: str, n_people: int = 4) -> list[Session]:
    source = open_source(DataArguments(studies=study, max_participants=n_people))
    return [read_session(transcript, ("p",), {}, {}) for transcript in source]


def with_(trials: list[Trial], **fields: object) -> list[Trial]:
    """Trials with fields that are functions of the trial's number."""
    return [replace(t, **{k: f(i) if callable(f) else f for k, f in fields.items()}) for i, t in enumerate(trials)]


def two_step(n: int = 30, seed: int = 0) -> Session:
    draw = np.random.default_rng(seed)
    trials: list[Trial] = []
    for number in range(n):
        state = int(draw.integers(1, 3))
        first, second = draw.choice(list("ab")), draw.choice(list("cd"))
        trials += with_(choices([first], "ab", roles=("option 1", "option 2")), kind="first stage", trial=number + 1)
        told: Mapping[str, object] = {"state": f"state {state}"}
        outcome = {"reward": float(draw.integers(0, 2))}
        trials += with_(choices([second], "cd"), kind="second stage", stimuli=told, outcome=outcome, trial=number + 1)
    return session_of(trials)


def gamble(n: int = 40) -> Session:
    draw = np.random.default_rng(0)
    outcomes = [{"points": tuple(draw.normal(10, 4, 3))} for _ in range(n)]
    return session_of(with_(choices(draw.choice(list("abc"), n), "abc"), outcome=outcomes.__getitem__))


def draws() -> Session:
    said = choices("ABAABBABA", "AB", roles=("frequent", "rare"))
    return session_of(with_(said, stimuli={"count": (7.0, 3.0)}))


def inks() -> Session:
    said = choices("lrmllrmr", "lrm", roles=("red", "blue", "green"))
    return session_of(with_(said, stimuli=lambda i: {"ink": ("red", "blue")[i % 2], "word": "green"}))


def words() -> Session:
    shown = ("starfish", "Bookxyz", "doorbell", "qqq")
    said = choices("YNYN", "YN", items=shown, roles=("word", "nonword"))
    return session_of(with_(said, stimuli=lambda i: {"word": shown[i]}))


def sessions_for(model: CognitiveModel) -> list[Session]:
    made = {"shahar2019twosteptask": two_step, "spektor2019contexteffects": gamble}
    made |= {"guenther2020LDT": words}
    made |= {"thoma2025riskychoice": draws, "busch2024_stroop": inks}
    study = model.studies[0]
    return [made[study]()] if study in made else starter(study)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_a_model_gives_probabilities_that_no_later_answer_changes(model: CognitiveModel) -> None:
    sessions = sessions_for(model)
    session, knowledge = sessions[0], model.know(sessions)
    theta_MP = model.theta(np.random.default_rng(1).normal(size=(5, len(model.priors))))
    whole = answers_of(model, session, knowledge).log_p(theta_MP)[0]
    covered = [model.covers(trial) for trial in session.trials]
    assert any(covered)
    sizes = [len(trial.options or ()) for trial in session.trials]
    for t in np.flatnonzero(np.array(covered) & (np.array(sizes) > 0)):
        assert np.exp(whole[:, t, : sizes[t]]).sum(axis=1) == pytest.approx(1)
    n = len(session.trials) // 2
    half = replace(session, trials=session.trials[:n])
    assert answers_of(model, half, knowledge).log_p(theta_MP)[0] == pytest.approx(whole[:, :n])


def test_every_model_is_of_studies_that_the_catalog_knows_and_says_whose_it_is() -> None:
    for model in MODELS:
        assert set(model.studies) <= set(catalog_studies())
        assert model.source
        assert model.about
        assert model in models_of(model.studies[0])


def test_planning_alone_prefers_the_option_that_leads_to_the_better_state() -> None:
    """After a reward in state 2, option 1, which leads there in 70 %, by the equations: 0.7·x + 0.3/2 and so on."""
    (model,) = models_of("shahar2019twosteptask")
    session = two_step(n=2)
    trials = [
        replace(t, stimuli={"state": "state 2"}, outcome={"reward": 1.0}) if i == 1 else t
        for i, t in enumerate(session.trials)
    ]
    alpha, beta = 0.6, 3.0
    theta = np.array([[alpha, beta, 0.0, 1.0, 0.0, 0.0, 0.0]])
    log_p = answers_of(model, replace(session, trials=tuple(trials)), None).log_p(theta)[0][0, 2]
    better = 0.5 + alpha * 0.5
    odds = beta * ((0.7 * better + 0.3 * 0.5) - (0.3 * better + 0.7 * 0.5))
    assert log_p[0] - log_p[1] == pytest.approx(odds)


def newton(features_ROP: FloatArray, chosen_R: FloatArray) -> FloatArray:
    """The conditional logit by Newton's method on its gradient and Hessian, written out."""
    theta_P = np.zeros(features_ROP.shape[2])
    for _ in range(40):
        gradient, hessian = np.zeros(len(theta_P)), np.zeros((len(theta_P),) * 2)
        for x_OP, y in zip(features_ROP, chosen_R, strict=True):
            p_O = np.exp(x_OP @ theta_P)
            p_O /= p_O.sum()
            mean_P = p_O @ x_OP
            gradient += x_OP[int(y)] - mean_P
            hessian += (x_OP - mean_P).T @ ((x_OP - mean_P) * p_O[:, None])
        theta_P = theta_P + np.linalg.solve(hessian, gradient)
    return theta_P


def test_the_conditional_logit_is_that_of_newtons_method() -> None:
    sessions = starter("benakiva1993trains", 60)
    trials = [trial for session in sessions for trial in session.trials]
    chosen = np.array([(trial.options or ()).index(trial.answer) for trial in trials])
    expected = newton(trip_features(trials), chosen)
    assert fit(LOGITS[0], sessions, n_particles=16).theta_P == pytest.approx(expected, abs=1e-3)


def test_items_are_those_of_a_direct_maximisation() -> None:
    """The marginal likelihood of a 2PL over a plain grid of abilities, maximised without a gradient."""
    draw = np.random.default_rng(3)
    ability = draw.normal(size=250)
    a, b = np.array([0.8, 1.5, 1.1]), np.array([-0.7, 0.2, 1.0])
    grade_IJ = (draw.random((250, 3)) < expit(a * ability[:, None] - b)).astype(np.int64)
    grid = np.linspace(-7, 7, 281)
    weight = norm.pdf(grid) / norm.pdf(grid).sum()

    def negative(x: FloatArray) -> float:
        p_QJ = expit(x[:3] * grid[:, None] - x[3:])
        each = np.where(grade_IJ[:, None] == 1, p_QJ, 1 - p_QJ).prod(axis=2) @ weight
        return -float(np.log(each).sum()) + 1e-3 * float(x @ x)

    expected = minimize(
        negative, np.ones(6), method="Nelder-Mead", options={"maxiter": 9000, "xatol": 1e-6, "fatol": 1e-9}
    )
    found_a, found_b = fit_items(grade_IJ, 2)
    assert np.concatenate([found_a, found_b[:, 0]]) == pytest.approx(expected.x, abs=1e-3)


def test_items_of_four_grades_are_recovered() -> None:
    draw = np.random.default_rng(5)
    b = np.array([[-1.5, 0.0, 1.2], [-0.5, 0.5, 2.0], [-1.0, -0.3, 0.4], [0.0, 1.0, 2.5]])
    a = np.array([1.0, 2.0, 1.5, 0.7])
    above = expit(a[None, :, None] * draw.normal(size=3000)[:, None, None] - b)
    grade_IJ = (draw.random((3000, 4))[:, :, None] < above).sum(axis=2)
    found_a, found_b = fit_items(grade_IJ, 4)
    assert found_a == pytest.approx(a, abs=0.25)
    assert found_b == pytest.approx(b, abs=0.25)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("Rscript") is None, reason="R is not installed")
def test_the_conditional_logit_is_that_of_r(tmp_path: Path) -> None:
    """Among two trips it is a logistic regression on their difference: R's glm, on every trip of the study."""
    sessions = starter("benakiva1993trains", 300)
    trials = [trial for session in sessions for trial in session.trials]
    features_ROP = trip_features(trials)
    rows = [
        {"first": int(trial.answer == (trial.options or ())[0])} | {f"x{p}": x for p, x in enumerate(difference_P)}
        for trial, difference_P in zip(trials, features_ROP[:, 0] - features_ROP[:, 1], strict=True)
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "trips.csv", index=False)
    program = f'd <- read.csv("{tmp_path}/trips.csv"); cat(coef(glm(first ~ 0 + x0 + x1 + x2 + x3 + x4, binomial, d)))'
    done = subprocess.run(["Rscript", "-e", program], capture_output=True, text=True, check=True)
    expected = [float(word) for word in done.stdout.split()]
    assert fit(LOGITS[0], sessions, n_particles=16).theta_P == pytest.approx(expected, abs=1e-3)
