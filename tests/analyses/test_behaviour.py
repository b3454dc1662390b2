"""Sessions as behaviour: what is counted of answers, what is not, and what sessions of one person are together."""

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from centaurlab.analyses.behaviour import Behaviour, behaviours, joined, readable
from centaurlab.catalog.studies import Ask, Study, Trial, UnreadableError
from centaurlab.data.transcripts import SessionKey, Transcript


def test_a_reward_is_a_number_above_zero_however_a_module_writes_it() -> None:
    """What somebody's own module says was received, as whole or other numbers; what is no number says nothing."""

    def told(trials: list[Trial]) -> list[Trial]:
        received: list[Any] = [1, 0, -1, 2.5, 0.0, True, "a coin", 1]
        return [replace(trial, outcome={"reward": one}) for trial, one in zip(trials, received, strict=True)]

    own = Study("own2026", lambda *_: Ask(options=("J", "F")), first_trial="You", feedback="contingent", finish=told)
    text = "".join(f"You press <<{key}>>. " for key in "JJFFJFFJ")
    (found,) = behaviours([Transcript(text, "own2026", "e", "p")], {}, {"own2026": own})["own2026"]
    stays = {item: n for (item, answer), n in found.dynamics.items() if "reward" in item and answer == "the same again"}
    leaves = {item: n for (item, answer), n in found.dynamics.items() if "reward" in item and answer == "another"}
    assert stays == {"choice after a reward": 2, "choice after no reward": 1}  # 1 and True; -1
    assert leaves == {"choice after a reward": 1, "choice after no reward": 2}  # 2.5; 0 and 0.0


def test_a_number_or_words_are_the_same_again_where_they_are() -> None:
    """Of answers without roles, as of open questions."""

    def told(trials: list[Trial]) -> list[Trial]:
        return [replace(trial, outcome={"reward": 1}) for trial in trials]

    own = Study("own2026", lambda *_: Ask(options=None), first_trial="You", feedback="contingent", finish=told)
    text = "".join(f"You say <<{number}>>. " for number in (10, 20, 30, 40, 40, 50))
    (found,) = behaviours([Transcript(text, "own2026", "e", "p")], {}, {"own2026": own})["own2026"]
    stays = {answer: n for (item, answer), n in found.dynamics.items() if "reward" in item}
    assert stays == {"the same again": 1, "another": 4}


def test_an_answer_left_blank_is_no_choice() -> None:
    def told(trials: list[Trial]) -> list[Trial]:
        return [replace(trial, outcome={"reward": 1}) for trial in trials]

    own = Study("own2026", lambda *_: Ask(options=("J", "F")), first_trial="You", feedback="contingent", finish=told)
    text = "".join(f"You press <<{key}>>. " for key in ["J", "", "", "J", "J", "F"])
    (found,) = behaviours([Transcript(text, "own2026", "e", "p")], {}, {"own2026": own})["own2026"]
    assert found.features["choice J"] == 3 / 4
    assert not [name for name in found.features if name.removeprefix("choice").strip() == ""]
    stays = {answer: n for (item, answer), n in found.dynamics.items() if "reward" in item}
    assert stays == {"the same again": 1, "another": 1}


def test_a_session_that_the_module_cannot_read_is_left_out_and_said() -> None:
    def ask(segment: str, *_: object) -> Ask:
        if "They" in segment:
            raise UnreadableError("somebody else")
        return Ask(options=("J", "F"))

    own = Study("own2026", ask, first_trial="You", effects={"share of J": lambda of: 0.5})
    told = [Transcript(f"{who} press <<J>>.", "own2026", "e", who) for who in ("You", "You all", "You both", "They")]
    found, notes = readable(behaviours(told, {}, {"own2026": own}), "these")
    assert [one.key.participant for one in found["own2026"]] == ["You", "You all", "You both"]
    assert all(one.effects for one in found["own2026"])
    (note,) = notes
    assert note.startswith("1 of 4 sessions of these cannot be read by the module of own2026")
    none, _ = readable(behaviours(told[3:], {}, {"own2026": own}), "these")
    assert len(none["own2026"]) == 1
    _, (note,) = readable(behaviours(told, {}), "these")  # without a module, of labels that nobody else has
    assert note.startswith("nothing of own2026 is compared in these")


def test_sessions_of_a_person_are_summed_and_averaged() -> None:
    first = Behaviour(SessionKey("s", "1", "p"), Counter({("i", "a"): 3}), Counter({("r", "b"): 0}), {"k a": 1.0}, {})
    second = replace(first, marginal=Counter({("i", "b"): 1}), features={"k b": 1.0, "k repeated": 0.5})
    third = replace(second, features={"k b": 1.0}, effects={"e": 2.0})
    kinds = ({"k a": "k"}, {"k b": "k"}, {"k b": "k"})
    sessions = [replace(of, kinds=one) for of, one in zip((first, second, third), kinds, strict=True)]
    found = joined([replace(sessions[0], effects={"e": 1.0}), replace(sessions[1], effects={"e": np.nan}), sessions[2]])
    assert found.marginal == {("i", "a"): 3, ("i", "b"): 2}
    assert [*found.dynamics] == [("r", "b")]
    assert found.features == pytest.approx({"k a": 1 / 3, "k b": 2 / 3, "k repeated": 0.5})
    assert found.effects == {"e": 1.5}
