"""Environments tell people's own sessions byte for byte, and other answers what would have followed from them."""

import gzip
import json
from collections.abc import Sequence

import numpy as np
import pytest

from centaurlab.catalog.studies import find_study
from centaurlab.data.options import session_trials
from centaurlab.data.transcripts import Transcript
from centaurlab.simulation.environments.environment import check_retold
from centaurlab.simulation.environments.find import ENVIRONMENTS
from centaurlab.simulation.play import Chance, PlayError, Question, Recorded, replay
from helpers.actors import Agent, act
from helpers.paths import PSYCH_201

TWO_STEP = "shahar2019twosteptask"
TWO_STEP_OPENING = (
    "You will make choices in a two-stage decision task.\n"
    "In the first stage, you will choose between two options: S and H.\n"
    "Your first-stage choice will lead to one of two second-stage states: O or Z.\n"
    "In each second-stage state, you will make another choice between two options: P and E.\n\n"
)
TWO_STEP_TRIAL = "You are presented with first-stage options S and H. You choose <<{}>>. "
PAUSE = "\n\nYou are now back 4 months later to undertake the same task again but this time over 201 new trials.\n\n"
CASINO = (
    'One light is "lucky", with a 10.0% chance of switching after each round. '
    "Press S to observe, C to bet on the blue light, K to bet on the red light, or L to sleep.\n"
    "Set 1/1:\nIn this set, you have complete control, meaning that your bets will succeed (always). "
    "Round 1/4. You press <<S>>. You observed and see the red light up. \n"
    "Round 2/4. You press <<C>>. You bet on the blue light. You executed this bet successfully. \n"
    "Round 3/4. You press <<L>>. You slept and increased your control. \n"
    "Round 4/4. You press <<K>>. You bet on the red light. You executed this bet successfully. \n"
    "You have successfully completed this set and earned 1.0 coins."
)
PAPERS = (
    'You decide about papers.\nAbstract: "On "bells"." Intuitive answer: What is the likelihood that you would submit '
    "this article on a scale from 0 to 100? You enter <<69>>. Certainty about the intuitive answer: When I submitted "
    "the answer, I felt: You enter <<Certain>>. Please continue, or read again by clicking on the button "
    '"Re-read the abstract". You enter <<{}>>. {}Considered Answer: What is the likelihood that you would submit this '
    "article on a scale from 0 to 100? You enter <<70>>.\n"
)
GAME = """In this game, you will be in a group of 3 players.
Each person is given a set amount of 20 coins at the start of each round.
the amount in the public fund will be multiplied by the money multiplier of 1.5.
Per unit deduction, the punisher spends 1 coin, causing the punished player to lose 3 coins.

# GAME STARTS

## Round 1 of 2:
### Contribution Stage: Decide how much to contribute.
You contributed <<{own} coins>>.
### Redistribution Stage
Total group contribution is {total} coins, multiplied by 1.5 => {fund} coins in the public fund => divided and \
redistributed to each remaining player.
### Outcome Stage
SLOTH contributed 20 coins.
DUCK contributed 1 coin.
### Deduction Stage: Decide which players, if any, to deduct coins — and how much.
{said}
DUCK deducted 3 coins from you.
### Round Summary
You: {summary} coins.
SLOTH: Total round gains/losses are {sloth} coins.
DUCK: 1 coin spent on deductions. {duck} coins.

## Round 2 of 2:
You <<exited the game>>.
# GAME COMPLETE"""
PERSON = {
    **{"own": "9", "total": "30", "fund": "45", "sloth": "+15", "said": "You <<deducted 6 coins from DUCK>>."},
    "summary": "2 coins spent on deductions. 3 coins deducted by other players. Total round gains/losses are +21",
    "duck": "6 coins deducted by other players. Total round gains/losses are +27",
}
STINGY = {
    **{"own": "0", "total": "21", "fund": "31.5", "sloth": "+11"},  # 20 − 20 + 31.5 / 3 = 10.5, and halves go up
    "said": "You <<did not deduct coins from any player>>.",
    "summary": "3 coins deducted by other players. Total round gains/losses are +28",
    "duck": "Total round gains/losses are +29",
}


def two_step(n_trials: int) -> str:
    state = "This leads to state Z. In state Z, you choose <<P>>. You receive a reward.\n"
    trials = [TWO_STEP_TRIAL.format("S") + state] * n_trials
    return TWO_STEP_OPENING + "".join(trials[: n_trials // 2]) + PAUSE + "".join(trials[n_trials // 2 :])


def session(text: str, study: str) -> Transcript:
    return Transcript(text, study, "e", "p")


MADE_UP = {
    TWO_STEP: two_step(4),
    "sandbrink2024metacontrol": CASINO,
    "schiekiera2025metascience": PAPERS.format("Re-read the abstract", 'Abstract: "On "bells"." '),
    "alsobay2025publicGoodsGame": GAME.format(**PERSON),
}


@pytest.mark.parametrize("study", MADE_UP)
def test_a_session_is_told_as_it_was(study: str) -> None:
    check_retold(ENVIRONMENTS[study], session(MADE_UP[study], study))


@pytest.mark.skipif(not PSYCH_201.is_dir(), reason="needs real transcripts")
@pytest.mark.parametrize("study", MADE_UP)
def test_the_sessions_of_people_are_told_as_they_were(study: str) -> None:
    with gzip.open(PSYCH_201 / f"{study}.jsonl.gz", "rt", encoding="utf-8") as file:
        for line in file:
            check_retold(ENVIRONMENTS[study], session(json.loads(line)["text"], study))


def test_a_session_that_was_told_otherwise_is_named() -> None:
    text = CASINO.replace("You slept and increased your control", "You slept well and increased your control")
    with pytest.raises(PlayError, match="You slept"):
        check_retold(ENVIRONMENTS["sandbrink2024metacontrol"], session(text, "sandbrink2024metacontrol"))


def answering(answers: Sequence[str]) -> Agent:
    given = iter(answers)
    return lambda question: next(given)


def test_an_abstract_is_shown_again_to_who_asks_for_it() -> None:
    study = "schiekiera2025metascience"
    told = act(session(MADE_UP[study], study), answering(["69", "Certain", "Continue", "70"]))
    assert told == PAPERS.format("Continue", "")
    shown = act(session(told, study), answering(["69", "Certain", "Re-read the abstract", "70"]))
    assert shown == MADE_UP[study]


def test_coins_of_all_follow_from_what_one_contributes_and_deducts() -> None:
    study = "alsobay2025publicGoodsGame"
    answers = ["0 coins", "did not deduct coins from any player", "exited the game"]
    assert act(session(MADE_UP[study], study), answering(answers)) == GAME.format(**STINGY)
    back = act(session(GAME.format(**STINGY), study), answering(["9 coins", "deducted 6 coins from DUCK", "exited"]))
    assert back == MADE_UP[study].replace("exited the game", "exited")
    nothing = GAME.format(**STINGY | {"said": "You <<{}>>."})
    for said in ("3 coins from NOBODY", "2 coins from DUCK", "9999 coins from DUCK", "1.2.3 coins from DUCK"):
        answers[1] = f"deducted {said}"
        assert act(session(MADE_UP[study], study), answering(answers)) == nothing.format(answers[1])


def test_lights_bets_and_coins_are_of_one_world() -> None:
    """Who has complete control and sees the light, which never changes, wins every further round."""
    study = "sandbrink2024metacontrol"
    rounds = "".join(
        f"Round {n}/400. You press <<S>>. You observed and see the red light up. \n" for n in range(1, 400)
    )
    head, _, rest = CASINO.partition("Round 1/4")
    text = head.replace("10.0%", "0.0%") + rounds + "Round 400/400" + rest.rpartition("Round 4/4")[2]
    seen: list[str] = []

    def agent(question: Question) -> str:
        if not seen and "see the" in question.text:
            seen.append("C" if "blue light up" in question.text else "K")
        return seen[0] if seen else "S"

    assert act(session(text, study), agent, 5).endswith("earned 399.0 coins.")


def test_transitions_are_common_in_seven_of_ten_and_rewards_stay_within_their_bounds() -> None:
    rng = np.random.default_rng(3)
    transcript = session(two_step(600), TWO_STEP)
    told = act(transcript, lambda question: str(rng.choice(question.options or ())))
    study = find_study(TWO_STEP)
    assert study is not None
    trials = session_trials(session(told, TWO_STEP), study)
    second = [trial for trial in trials if trial.kind == "second stage"]
    assert len(second) == 600
    common = np.mean([trial.stimuli["transition"] == "common" for trial in second])
    assert abs(common - 0.7) < 3 * np.sqrt(0.21 / 600)
    assert 0.2 < np.mean([trial.outcome["reward"] for trial in second]) < 0.8
    assert "4 months later" in told


def learner(model_based: float, seed: int) -> Agent:
    """An agent of Daw et al. 2011 that learns values of the four last options, and of the first two by reward alone."""
    rng = np.random.default_rng(seed)
    q_first, q_second, last = np.zeros(2), np.full((2, 2), 0.5), [0, 0]
    places = {"O": 0, "Z": 1}

    def choose(values: np.ndarray, beta: float) -> int:
        return int(rng.random() < 1 / (1 + np.exp(-beta * (values[1] - values[0]))))

    def agent(question: Question) -> str:
        if "You receive" in question.text:
            reward = float("a reward" in question.text)
            q_second[tuple(last[1:])] += 0.7 * (reward - q_second[tuple(last[1:])])
            q_first[last[0]] += 0.7 * (reward - q_first[last[0]])
        if "first-stage" in question.text:
            best = q_second.max(1)
            based = np.array([0.7 * best[1] + 0.3 * best[0], 0.7 * best[0] + 0.3 * best[1]])
            choice = choose(model_based * based + (1 - model_based) * q_first, 6)
            last[:] = [choice]
            return "SH"[choice]
        place = places[question.text.rpartition("In state ")[2][0]]
        last[1:] = [place, choose(q_second[place], 4)]
        return "PE"[last[2]]

    return agent


@pytest.mark.parametrize("model_based", [0.0, 1.0])
def test_the_signature_of_planning_is_recovered_from_who_plans(model_based: float) -> None:
    """Daw et al. 2011: rewards after rare transitions keep learners by reward at their choice, and move planners."""
    study = find_study(TWO_STEP)
    assert study is not None
    transcript = session(two_step(400), TWO_STEP)
    found = []
    for seed in range(8):
        told = session(act(transcript, learner(model_based, seed), 100 * seed), TWO_STEP)
        trials = session_trials(told, study)
        found.append({name: compute(trials) for name, compute in study.effects.items()})
    by_reward, by_both = (np.array([one[name] for one in found]) for name in study.effects)
    if model_based:
        error = by_both.std(ddof=1) / np.sqrt(len(by_both))
        assert by_both.mean() > max(0.25, 6 * error)
    else:  # not quite zero: an option's value is in its history (Akam et al. 2015, doi:10.1371/journal.pcbi.1004648)
        assert abs(by_both.mean()) < 0.12
        assert by_reward.mean() > 0.25


def test_what_all_people_meet_is_the_same_for_all() -> None:
    play = ENVIRONMENTS[TWO_STEP].play
    transcript = session(two_step(100), TWO_STEP)
    rewards = []
    for own in range(30):
        text = replay(play(transcript, Chance(np.random.default_rng(own), np.random.default_rng(7))), ["S", "P"] * 100)
        rewards.append(text.count("a reward"))
    others = [
        replay(play(transcript, Chance(np.random.default_rng(n), np.random.default_rng(n + 100))), ["S", "P"] * 100)
        for n in range(30)
    ]
    assert np.var(rewards) < 0.5 * np.var([text.count("a reward") for text in others])


def test_a_replay_that_runs_out_of_what_happened_says_so() -> None:
    with pytest.raises(PlayError, match="no further state"):
        replay(ENVIRONMENTS[TWO_STEP].play(session(two_step(2), TWO_STEP), Recorded({})), ["S", "P", "S", "P"])
