"""Contradictions that are planted in sound sessions are found, all of them, and nothing is found in sound ones."""

import random
from collections import Counter

import pytest

from centaurlab.data.checks import CHECKS, FORCED, LETTERS, RESPONSE_TIMES, REWARD_LABELS, Doubt, doubts, session_doubts
from centaurlab.data.lookalikes import KINDS
from centaurlab.data.source import DataArguments, open_source
from centaurlab.data.transcripts import Transcript
from helpers.paths import PSYCH_201

SOUND = "You choose between two options, J and F. Press J for left, press F for right.\nYou press <<J>>.\n"


def session(text: str, participant: str = "1", **metadata: object) -> Transcript:
    return Transcript(text, "bandit2020", "bandit2020/1", participant, metadata, origin=f"s.jsonl:{participant}")


def found(text: str, **metadata: object) -> list[Doubt]:
    return list(session_doubts(session(text, **metadata)))


@pytest.mark.parametrize("times", [[500], [500, 412, 390], "[500, 412, 390]", []])
def test_response_times_are_to_be_as_many_as_the_responses(times: object) -> None:
    text = SOUND + "You press <<F>>.\n"
    (doubt,) = found(text, RTs=times)
    assert doubt.check == RESPONSE_TIMES
    assert str(doubt).startswith("s.jsonl:1: response times: `RTs` lists ")
    assert "the text has 2 responses (participant '1'" in doubt.reason
    assert not found(text, RTs=[500, 412])
    assert not found(text, rt="[500, 412]", age=[1], RTs="fast", art=[1, 2, 3])


@pytest.mark.parametrize(
    "trial",
    [
        "You are instructed to press F.\nYou are instructed to press <<F>>.",
        "You must choose option F. You press <<F>>.",
        "You were forced to choose F. You press <<F>>.",
        "The computer chooses <<F>> for you.",
        "You can only choose F. You press <<F>>.",
        "Only option F is available. You press <<F>>.",
    ],
)
def test_what_was_no_choice_is_not_to_stand_between_markers(trial: str) -> None:
    (doubt,) = found(SOUND + trial)
    assert doubt.check == FORCED
    assert "1 of 2 responses, first response 2: …" in doubt.reason
    assert doubt.reason.partition(" (participant")[0].endswith("<<F>>")


@pytest.mark.parametrize(
    "trial",
    [
        "You are instructed to press J or F. You press <<F>>.",
        "You must choose J. You press <<F>>.",
        "The computer chose J. You choose <<F>>.",
        "You are instructed to press F. You press F.\nYou press <<J>>.",
    ],
)
def test_an_order_that_leaves_a_choice_or_is_of_another_trial_is_none(trial: str) -> None:
    assert not found(SOUND + trial)


@pytest.mark.parametrize(
    "text",
    [
        "The options' names are J, G, and J.\nYou press <<J>>.",
        "You choose between J and J. You press <<J>>.",
        "There are two slot machines labelled 'K' and 'K'.\nYou press <<K>>.",
        "Press J for a word, press J for a nonword.\nYou press <<J>>.",
        "Press J for a word and J for a nonword.\nYou press <<J>>.",
        "The options are J and G.\nYou press <<J>>.\nNow the options are B and B.\nYou press <<B>>.",
    ],
)
def test_one_letter_is_not_to_name_two_options(text: str) -> None:
    (doubt,) = found(text)
    assert doubt.check == LETTERS


@pytest.mark.parametrize(
    "text",
    [
        SOUND,
        "The options' names are J, G, and F.\nYou press <<J>>.",
        "You see the letters J, K, J, one after the other. You press <<J>>.",
        "Press J for a word and F for a nonword. Again: press J for a word.\nYou press <<J>>.",
    ],
)
def test_letters_that_are_shown_or_named_again_are_no_contradiction(text: str) -> None:
    assert not found(text)


def reward_task(participant: int, rewarded: float, stays_after_reward: float, instructions: str = "") -> Transcript:
    """A person who stays after a reward, and after none, with probabilities that add up to 1."""
    draw = random.Random(participant)
    answer, lines = "L", [instructions or "Press L or R."]
    for _ in range(100):
        outcome = draw.random() < rewarded
        lines.append(f"You pressed <<{answer}>> and received {'a' if outcome else 'no'} food reward.")
        stays = draw.random() < (stays_after_reward if outcome else 1 - stays_after_reward)
        answer = answer if stays else "LR"[answer == "L"]
    return session("\n".join(lines), str(participant))


def test_rewards_that_nearly_every_response_gets_by_chance_are_doubted() -> None:
    told = "Each choice is associated with a probability of earning a food reward."
    (doubt,) = doubts([reward_task(i, 0.89, 0.5, told) for i in range(5)])
    assert (doubt.check, doubt.origin) == (REWARD_LABELS, "study bandit2020")
    assert "told as rewarded, in a task of chance" in doubt.reason
    assert not list(doubts([reward_task(i, 0.6, 0.5, told) for i in range(5)]))
    assert not list(doubts([reward_task(i, 0.89, 0.5) for i in range(5)]))


def test_rewards_that_people_leave_are_doubted_and_those_that_they_return_to_are_not() -> None:
    (doubt,) = doubts([reward_task(i, 0.5, 0.3) for i in range(5)])
    assert doubt.check == REWARD_LABELS
    assert "of the responses told as rewarded and" in doubt.reason
    assert not list(doubts([reward_task(i, 0.5, 0.7) for i in range(5)]))


def test_people_who_do_not_care_about_rewards_are_doubted_in_few_of_many_studies() -> None:
    studies = [[reward_task(100 * study + i, 0.5, 0.5) for i in range(4)] for study in range(100)]
    assert sum(bool(list(doubts(people))) for people in studies) <= 2


def test_every_doubt_has_a_meaning() -> None:
    planted = [
        session(SOUND, "1", RTs=[]),
        session(SOUND + "You must press F. You press <<F>>.", "2"),
        session("Choose between J and J.\nYou press <<J>>.", "3"),
    ]
    assert Counter(doubt.check for doubt in doubts(planted)) == Counter([RESPONSE_TIMES, FORCED, LETTERS])
    assert set(CHECKS) == {RESPONSE_TIMES, FORCED, LETTERS, REWARD_LABELS, *KINDS}


def test_a_module_of_the_catalog_knows_where_there_was_one_option() -> None:
    from centaurlab.catalog.studies import Ask, Study

    own = Study("bandit2020", lambda segment, past, opening: Ask(options=("J",) if past else ("J", "F")), r"You")
    (doubt,) = session_doubts(session(SOUND + "You press <<J>>."), {"bandit2020": own})
    assert doubt.check == FORCED


@pytest.mark.skipif(not PSYCH_201.exists(), reason="needs the shared transcripts")
def test_real_transcripts_that_are_sound_raise_no_doubt() -> None:
    assert not list(doubts(open_source(DataArguments(data=str(PSYCH_201), on_malformed="skip"))))
