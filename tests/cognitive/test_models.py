"""The cognitive models that come with the package: probabilities, causality, and fits against other programs."""

import shutil
import subprocess
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.linalg import cho_factor, cho_solve
from scipy.special import expit
from scipy.stats import logistic

from centaurlab.catalog.studies import Trial, catalog_studies
from centaurlab.cognitive.model import CognitiveModel
from centaurlab.cognitive.models.all import MODELS, models_of
from centaurlab.cognitive.models.function_learning import know_answers
from centaurlab.cognitive.models.function_learning import likelihood as gaussian_process
from centaurlab.cognitive.models.graded_response import fit_items
from centaurlab.cognitive.models.logit import MODELS as LOGITS
from centaurlab.cognitive.models.logit import trip_features
from centaurlab.cognitive.models.recall import likelihood as temporal_context
from centaurlab.cognitive.models.recall import other_words
from centaurlab.cognitive.models.risk import prospects
from centaurlab.cognitive.particles import answers_of, fit
from centaurlab.cognitive.session import Session, labels_of, read_session
from centaurlab.data.source import DataArguments, open_source
from centaurlab.stats.estimate import FloatArray
from helpers.simulated import DESIGNS, two_step
from helpers.trials import session_of, words


def starter(study: str, n_people: int = 4) -> list[Session]:
    source = open_source(DataArguments(studies=study, max_participants=n_people))
    return [read_session(transcript, ("p",), {}, {}) for transcript in source]


def sessions_for(model: CognitiveModel) -> list[Session]:
    if model.name not in DESIGNS:
        return [graphs()] if model.name == "gaussian-process" else [recalls()]
    draw = np.random.default_rng(0)
    trials = DESIGNS[model.name](draw)
    said = draw.integers(0, [len(trial.options or ()) for trial in trials])
    return [
        session_of(
            [
                replace(trial, answer=(trial.options or ())[i], role=labels_of(trial)[i])
                for trial, i in zip(trials, said, strict=True)
            ]
        )
    ]


def recalls(n_lists: int = 3) -> Session:
    """Words of lists of eight, in any order, with a repetition and an intrusion in each."""
    draw = np.random.default_rng(0)
    trials: list[Trial] = []
    for number in range(n_lists):
        shown = tuple(f"word{number}{place}" for place in range(1, 9))
        places = draw.permutation(8)[:5] + 1
        said = [(shown[place - 1], str(place)) for place in places]
        said += [(said[0][0], "repetition"), (f"thing{number}", "intrusion")]
        for t, ((word, role), trial) in enumerate(zip(said, words([w for w, _ in said], "recall"), strict=True)):
            about = {"stimuli": {"words": shown}, "block": number + 1, "continues": t > 0}
            trials.append(replace(trial, answer=word, role=role, **about))
    return session_of(trials)


def graphs(n: int = 12) -> Session:
    """Predictions on a grid of 0.0002 for two graphs, of which the second is asked about twice at the same x."""
    draw = np.random.default_rng(0)
    trials: list[Trial] = []
    for t in range(n):
        points = tuple((x, float(np.round(np.sin(3 * x + t // 6), 4))) for x in (-0.8, -0.4, 0.0, 0.4, 0.8))
        x = -1 + 2 * min(t % 6, 4) / 4
        stimuli = {"points": points, "x": x, "repeated": float(t % 6 == 5)}
        y = trials[-1].answer if t % 6 == 5 else f"{0.0002 * draw.integers(-5000, 5000):g}"
        (trial,) = words([y], kind="prediction")
        trials.append(replace(trial, stimuli=stimuli, block=1 + t // 6, trial=t + 1))
    return session_of(trials)


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
    session = session_of(two_step(np.random.default_rng(0), n=2))
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


def test_the_value_of_a_prospect_is_that_of_the_equations_written_out() -> None:
    exponent, gamma, aversion, beta = 0.7, 0.6, 2.0, 1.5
    outcomes = ((4.0, -2.0, 1.0), (0.5, 0.0, 3.0, -1.0))
    size = np.mean(np.abs(np.concatenate([np.array(one) for one in outcomes])))

    def value(points: tuple[float, ...]) -> float:
        def w(p: float) -> float:
            return float(np.exp(-((-np.log(p)) ** gamma))) if p else 0.0

        total, n = 0.0, len(points)
        for rank, x in enumerate(sorted(points, reverse=True)):
            better, worse = rank / n, (n - 1 - rank) / n
            step = w(better + 1 / n) - w(better) if x >= 0 else w(worse + 1 / n) - w(worse)
            total += step * (abs(x) / size) ** exponent * (1 if x >= 0 else -aversion)
        return total

    trial = replace(DESIGNS["prospect-theory"](np.random.default_rng(0), 1)[0], stimuli={"points": outcomes})
    log_p = prospects([trial], None)(np.array([[exponent, gamma, aversion, beta]]))[0, 0]
    assert log_p[0] - log_p[1] == pytest.approx(beta * (value(outcomes[0]) - value(outcomes[1])))


def test_the_gaussian_process_is_that_of_its_textbook_and_all_answers_share_one_probability() -> None:
    session = graphs()
    known = know_answers([session])
    assert known.step == pytest.approx(0.0002)
    trial = session.trials[0]
    points = np.array(trial.stimuli["points"], float)
    y = points[:, 1] - points[:, 1].mean()

    def kernel(a: FloatArray, b: FloatArray, scale: float) -> FloatArray:
        return np.asarray(np.exp(-((a[:, None] - b) ** 2) / (2 * scale**2)))

    scale = float(np.geomspace(0.08, 2.5, 12)[6])  # one of the grid, between whose values means are interpolated
    x_N, x = points[:, 0], np.array([float(str(trial.stimuli["x"]))])
    mean = points[:, 1].mean() + kernel(x, x_N, scale) @ cho_solve(
        cho_factor(kernel(x_N, x_N, scale) + 0.05 * np.eye(5)), y
    )
    sigma = 0.3
    answers = 0.0002 * np.arange(-40_000, 40_001)
    theta = np.array([[scale, 0.5, sigma, 0.1, 0.9]])
    some = answers[::4000]
    log_p = [
        gaussian_process([replace(trial, answer=f"{answer:g}")], known)(theta)[0, 0, 0] for answer in np.round(some, 4)
    ]
    spread = sigma * points[:, 1].std()
    cells = np.diff(logistic.cdf((np.append(answers, answers[-1] + 0.0002) - 0.0001 - mean[0]) / spread))
    assert np.exp(log_p) == pytest.approx(0.999 * cells[::4000], rel=1e-6)
    assert 0.98 < cells.sum() <= 1


def test_recalled_words_and_others_share_one_probability() -> None:
    session = recalls()
    trials = [trial for trial in session.trials if trial.block == session.trials[0].block]
    others = other_words([session])
    theta = np.array([[1.0, 2.0, 0.5, 1.5, 0.7, -2.0]])
    listed = [str(word) for word in trials[0].stimuli["words"]]  # type: ignore[union-attr]
    total = 0.0
    for place, word in enumerate(listed, start=1):
        if any(trial.answer == word for trial in trials[:3]):
            continue
        asked = [*trials[:3], replace(trials[3], answer=word, role=str(place))]
        total += float(np.exp(temporal_context(asked, others)(theta)[0, 3, 0]))
    assert total == pytest.approx(expit(2.0))
    other = [*trials[:3], replace(trials[3], answer="zebra", role="intrusion")]
    assert temporal_context(other, others)(theta)[0, 3, 0] == pytest.approx(np.log(expit(-2.0)) + others.log_p("zebra"))


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


@pytest.mark.parametrize(
    ("name", "location", "n_grades"),
    [("2PL", "difficulty", 2), pytest.param("GRM", "thresholds", 4, marks=pytest.mark.slow)],
)
def test_items_are_those_of_mirt(name: str, location: str, n_grades: int) -> None:
    """The Python package of that name: its own EM, in another parametrisation, a (θ − location)."""
    mirt = pytest.importorskip("mirt")
    draw = np.random.default_rng(5)
    b = np.array([[-1.5, 0.0, 1.2], [-0.5, 0.5, 2.0], [-1.0, -0.3, 0.4], [0.0, 1.0, 2.5]])[:, : n_grades - 1]
    a = np.array([1.0, 2.0, 1.5, 0.7])
    above = expit(a[None, :, None] * draw.normal(size=500)[:, None, None] - b)
    grade_IJ = (draw.random((500, 4))[:, :, None] < above).sum(axis=2)
    asked = {"n_quadpts": 61, "tol": 1e-9, "max_iter": 20_000, "compute_standard_errors": False}
    theirs = mirt.fit_mirt(grade_IJ, model=name, **asked).model.parameters
    a_J, b_JK = fit_items(grade_IJ, n_grades)
    assert a_J == pytest.approx(theirs["discrimination"], abs=1e-3)
    assert b_JK == pytest.approx(a_J[:, None] * theirs[location].reshape(b_JK.shape), abs=1e-3)


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


@pytest.mark.slow
def test_the_conditional_logit_is_that_of_statsmodels() -> None:
    from statsmodels.discrete.conditional_models import ConditionalLogit  # here: the fast tests would wait for it

    sessions = starter("benakiva1993trains", 60)
    trials = [trial for session in sessions for trial in session.trials]
    features_ROP = trip_features(trials)
    chosen = np.array([[option == trial.answer for option in trial.options or ()] for trial in trials], float)
    groups = np.repeat(np.arange(len(trials)), 2)
    with warnings.catch_warnings(action="ignore"):
        found = ConditionalLogit(chosen.ravel(), features_ROP.reshape(-1, 5), groups=groups).fit(disp=0)
    assert fit(LOGITS[0], sessions, n_particles=16).theta_P == pytest.approx(found.params, abs=1e-3)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("Rscript") is None, reason="R is not installed")
def test_rasch_items_are_those_of_lme4(tmp_path: Path) -> None:
    """Rasch's model is a logistic regression with a normal effect of the person: lme4's glmer with 25 nodes."""
    draw = np.random.default_rng(4)
    ability, easiness = 1.3 * draw.normal(size=400), np.array([-1.2, -0.3, 0.4, 0.9, 1.5])
    grade_IJ = (draw.random((400, 5)) < expit(ability[:, None] + easiness)).astype(np.int64)
    rows = [{"person": i, "item": f"i{j}", "y": int(grade_IJ[i, j])} for i in range(400) for j in range(5)]
    pd.DataFrame(rows).to_csv(tmp_path / "answers.csv", index=False)
    program = (
        f'd <- read.csv("{tmp_path}/answers.csv"); m <- lme4::glmer(y ~ 0 + item + (1 | person), d, binomial, '
        'nAGQ = 25, control = lme4::glmerControl("bobyqa", tolPwrss = 1e-10, optCtrl = list(rhoend = 1e-9))); '
        'cat(format(c(lme4::fixef(m), attr(lme4::VarCorr(m)$person, "stddev")), digits = 10))'
    )
    if subprocess.run(["Rscript", "-e", "library(lme4)"], capture_output=True, check=False).returncode:
        pytest.skip("lme4 is not installed")
    done = subprocess.run(["Rscript", "-e", program], capture_output=True, text=True, check=True)
    *expected, spread = map(float, done.stdout.split())
    a_J, b_JK = fit_items(grade_IJ, 2, alike=True)
    assert -b_JK[:, 0] == pytest.approx(expected, abs=1e-3)
    assert a_J == pytest.approx(spread, abs=1e-3)
