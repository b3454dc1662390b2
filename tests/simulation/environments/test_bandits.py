"""Bandits from parameters: how arms change, and that what is told follows from them; the docs' own example."""

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from centaurlab.data.transcripts import Transcript
from centaurlab.runtime.errors import UserError
from centaurlab.simulation.environments.bandits import Reversal, Walk, bandit, two_step
from centaurlab.simulation.environments.environment import Environment
from centaurlab.simulation.environments.find import load_environments
from centaurlab.simulation.play import Chance, replay
from helpers.paths import ROOT

OPENING = "You press "
SESSION = Transcript(OPENING + "<<J>> and win 1. You press <<F>> and win 0.", "s", "e", "p")
WORDS = {"told": " and win {outcome}. You press ", "last": " and win {outcome}."}


def chance(seed: int = 0) -> Chance:
    return Chance(np.random.default_rng(seed), np.random.default_rng(seed + 1))


def test_walks_stay_within_their_bounds_and_step_as_far_as_they_are_told_to() -> None:
    walked = Walk(low=0.2, high=0.8, sd=0.025)(np.random.default_rng(0), 20_000, 2)
    assert walked.min() >= 0.2
    assert walked.max() <= 0.8
    inside = np.abs(walked[:-1] - 0.5) < 0.2
    assert np.diff(walked, axis=0)[inside].std() == pytest.approx(0.025, rel=0.03)
    assert stats.kstest(walked[::500, 0], stats.uniform(0.2, 0.6).cdf).pvalue > 0.001  # reflected walks are uniform


def test_reversals_leave_one_good_arm_and_come_as_often_as_they_are_told_to() -> None:
    arms = Reversal(high=0.8, low=0.2, hazard=0.05)(np.random.default_rng(0), 20_000, 3)
    assert ((arms == 0.8).sum(1) == 1).all()
    assert ((arms == 0.2).sum(1) == 2).all()
    changes = (np.diff(arms.argmax(1)) != 0).mean()
    assert changes == pytest.approx(0.05, abs=4 * np.sqrt(0.05 * 0.95 / 20_000))


def test_what_is_told_follows_from_the_arm_that_was_chosen() -> None:
    def sure(rng: np.random.Generator, n_trials: int, n_options: int) -> np.ndarray:
        return np.tile([1.0, 0.0], (n_trials, 1))

    environment = bandit("s", sure, **WORDS, options=("J", "F"))
    told = replay(environment.play(SESSION, chance()), ["F", "J"])
    assert told == OPENING + "<<F>> and win 0. You press <<J>> and win 1."
    paid = replay(
        bandit("s", lambda *_: np.array([[30.0, -5.0]] * 2), **WORDS, sd=1e-9).play(SESSION, chance()), ["J", "F"]
    )
    assert paid == OPENING + "<<J>> and win -5. You press <<F>> and win 30."  # options in the order of the alphabet


def test_arms_are_probabilities_or_points() -> None:
    assert (Walk(low=0.5, high=0.5)(np.random.default_rng(0), 5, 2) == 0.5).all()
    for arms in (Walk, Reversal):
        with pytest.raises(UserError, match=r"low=0\.8 is not below high=0\.2"):
            arms(low=0.8, high=0.2)
    points = bandit("s", Walk(low=20, high=80, sd=5), **WORDS, options=("J", "F"))
    with pytest.raises(UserError, match=r"its arms give \d\d.*, which is no probability of a reward; points: .*sd="):
        replay(points.play(SESSION, chance()), ["F", "J"])
    never = bandit("s", lambda *_: np.full((2, 2), np.nan), **WORDS, options=("J", "F"))
    with pytest.raises(UserError, match="its arms give nan"):
        replay(never.play(SESSION, chance()), ["F", "J"])


def test_two_steps_lead_to_the_states_that_first_choices_are_bound_to() -> None:
    environment = two_step(
        "s",
        ("J", "F"),
        ("red", "blue"),
        (("A", "B"), ("C", "D")),
        *(". You see {state}. You press ", ". You win {outcome}. You press ", ". You win {outcome}."),
        common=1.0,
        arms=lambda rng, n, k: np.tile([0.0, 1.0, 1.0, 0.0], (n, 1)),
        n_trials=2,
    )
    told = replay(environment.play(SESSION, chance()), ["J", "B", "F", "D"])
    assert told == (
        OPENING + "<<J>>. You see red. You press <<B>>. You win 1. You press <<F>>. You see blue. You press <<D>>. "
        "You win 0."
    )


def test_the_files_of_the_docs_are_environments(tmp_path: Path) -> None:
    page = (ROOT / "docs/simulating.md").read_text(encoding="utf-8")
    files = [block for block in page.split("```")[1::2] if "ENVIRONMENTS = (" in block]
    assert len(files) == 2
    for number, text in enumerate(files):
        path = tmp_path / f"task{number}.py"
        path.write_text(text, encoding="utf-8")
        (environment,) = load_environments(path).values()
        assert isinstance(environment, Environment)
        answers = ["J", "F"] if "bandit(" in text else ["J", "F"] * 10
        assert replay(environment.play(SESSION, chance()), answers).count("<<") == len(answers)
