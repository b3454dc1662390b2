"""A model recalibrated to n people: what is known of its best, and of a model that needs none."""

import math
from collections.abc import Hashable
from itertools import product

import numpy as np
import pytest

from centaurlab.catalog.studies import Trial
from centaurlab.cognitive.recalibration import AT, Recalibration, ScoredSession, fit_recalibration, recalibrate
from centaurlab.cognitive.session import Session
from centaurlab.data.transcripts import SessionKey
from centaurlab.stats.estimate import FloatArray
from centaurlab.stats.realignment import curve_points

OPTIONS = ("A", "B", "C", "D")
P = np.array([0.4, 0.3, 0.2, 0.1])


def session(person: int, answers: list[int], nll_RK: FloatArray) -> ScoredSession:
    trials = tuple(
        Trial(options=OPTIONS, answer=OPTIONS[a], role=OPTIONS[a], trial=t + 1, block=1, after="")
        for t, a in enumerate(answers)
    )
    return ScoredSession(Session(SessionKey("s", "e", str(person)), (str(person),), trials, "module"), nll_RK)


def test_of_a_useless_model_the_excess_nll_is_that_of_estimating_a_multinomial_distribution() -> None:
    """(K − 1) / 2n nats per response after n responses (Clarke & Barron 1990, doi:10.1109/18.54897), here exactly."""
    draw, r = np.random.default_rng(0), 20
    useless = np.full((r, len(AT)), 50.0)  # the model never expects an answer
    asked = [session(-1 - a, [a] * r, useless) for a in range(4)]
    for n in (2, 8):
        excess = []
        for _ in range(60):
            people = [session(i, draw.choice(4, r, p=P).tolist(), useless) for i in range(n)]
            found, predictions = recalibrate(people, asked)
            assert (found.temperature, found.weight) == (1, 1)
            excess.append(-float(P @ [one.log_p_R[0] for one in predictions]) - float(-P @ np.log(P)))
        expected, error = 3 / (2 * n * r), np.std(excess) / math.sqrt(len(excess))
        assert np.mean(excess) == pytest.approx(expected, abs=3 * error + 0.05 * expected)


def test_the_curve_of_simulated_people_meets_what_is_known_of_it_within_its_intervals() -> None:
    """Held-out people under the estimates of ten orders of people, less what the truth gives them."""
    draw, r, n_orders = np.random.default_rng(2), 20, 10
    useless = np.full((r, len(AT)), 50.0)
    asked = [session(-1 - a, [a] * r, useless) for a in range(4)]
    counts_PO = draw.multinomial(r, P, size=100).astype(float)
    runs: list[tuple[Hashable, int]] = [("truth", 0)]
    sums = [np.full(100, float(r)), counts_PO @ -np.log(P)]
    for n, order in product((2, 8), range(n_orders)):
        people = [session(i, draw.choice(4, r, p=P).tolist(), useless) for i in range(n)]
        _, predictions = recalibrate(people, asked)
        runs.append((n, order))
        sums.append(counts_PO @ np.array([-one.log_p_R[0] for one in predictions]))
    points, _ = curve_points({"s": np.stack(sums, axis=1)}, runs, 500, 0)
    for n in (2, 8):
        _, excess = points.change(n, "truth")
        assert excess.low < 3 / (2 * n * r) < excess.high
        assert excess.high - excess.low < 8 / (2 * n * r)


def test_a_model_that_is_too_sure_is_given_the_temperature_that_it_lacks() -> None:
    """Answers drawn from p, a model that says p ** 2 renormalised: temperature 2 makes it right, and no mixing."""
    draw = np.random.default_rng(0)
    at = np.array(AT)
    tempered_OK = P[:, None] ** (2 / at)
    nll_OK = -np.log(tempered_OK / tempered_OK.sum(axis=0))
    people = []
    for i in range(60):
        answers = draw.choice(4, 20, p=P)
        people.append(session(i, answers.tolist(), nll_OK[answers]))
    found = fit_recalibration(np.concatenate([one.nll_RK for one in people]), np.full(1200, math.log(0.25)))
    assert found.temperature == pytest.approx(2, rel=0.2)
    assert found.weight < 0.15
    log_p_O = found.log_p(nll_OK, np.full(4, math.log(0.25)))
    assert np.exp(log_p_O).sum() == pytest.approx(1)


def test_of_nobody_nothing_is_learned_and_what_either_does_not_know_is_not_said() -> None:
    nll_RK = np.tile(np.arange(1.0, 4.0)[:, None], (1, len(AT)))
    found, (prediction,) = recalibrate([], [session(0, [0, 1, 2], nll_RK)])
    assert found == Recalibration()
    assert prediction.log_p_R.tolist() == [-1.0, -2.0, -3.0]
    half = Recalibration(1.0, 0.5).log_p(nll_RK, np.array([math.nan, 0.0, math.nan]))
    assert half.tolist() == pytest.approx([math.nan, math.log(0.5 * math.exp(-2) + 0.5), math.nan], nan_ok=True)
    assert fit_recalibration(np.full((2, len(AT)), math.nan), np.zeros(2)) == Recalibration()
