"""What each module reads, on short sessions in the study's own layout with words of ours."""

import pytest

from centaurlab.catalog.studies import (
    UnreadableError,
    catalog_studies,
    find_study,
    read_trials,
)
from centaurlab.data.options import cut_at_responses
from helpers.studies import read_session

GAME = (
    "In this game, you will be in a group of 3 players.\nEach person is given a set amount of 20 coins at the "
    "start of "
    "each round.\nThe fund will be multiplied by the money multiplier of 1.5.\n{choice}\nPer unit deduction, the "
    "punisher spends 1 coin, causing the punished player to lose 3 coins.\n\n# GAME STARTS\n\n## Round 1 of 2:\n"
    "### Contribution Stage: Decide how much to contribute.\nYou contributed <<20 coins>>.\n### Redistribution "
    "Stage\n"
    "Total group contribution is 31 coins, multiplied by 1.5 => 46 coins in the public fund => divided.\n"
    "### Outcome Stage\nOWL contributed 1 coin.\nCOW contributed 10 coins.\n### Deduction Stage: Decide.\n"
    "You <<deducted 3 coins from OWL>>.\nYou <<deducted 6 coins from COW>>.\n### Round Summary\n"
    "You: 3 coins spent on deductions. Total round gains/losses are -8 coins.\nOWL: Total round gains/losses are +29 "
    "coins.\n\n## Round 2 of 2:\nYou <<exited the game>>.\n# GAME COMPLETE"
)


def test_public_goods_contributions_are_a_choice_and_sanctions_an_open_list():
    any_amount = "You can choose to contribute any integer amount from 0 up to your entire endowment of 20 coins."
    contribution, *sanctions, leaving = read_session("alsobay2025publicGoodsGame", GAME.format(choice=any_amount))
    assert contribution.options[:3] == ("0 coins", "1 coin", "2 coins")
    assert len(contribution.options) == 21
    assert contribution.role == "20"
    assert contribution.stimuli == {
        "players": 3.0,
        "endowment": 20.0,
        "multiplier": 1.5,
        "deduction_cost": 1.0,
        "deduction_size": 3.0,
    }
    assert contribution.outcome == {"total": 31.0, "others": (("OWL", 1.0), ("COW", 10.0))}
    assert [(t.options, t.role, t.trial) for t in sanctions] == [(None, "deduction", 1)] * 2
    assert sanctions[1].outcome == {"gain": -8.0}
    assert (leaving.kind, leaving.options, leaving.role, leaving.block, leaving.trial) == ("exit", None, "exit", 2, 2)


def test_public_goods_of_all_or_nothing():
    all_or_nothing = "You can choose to either contribute all of your 20 coins or nothing."
    assert read_session("alsobay2025publicGoodsGame", GAME.format(choice=all_or_nothing))[0].options == (
        "0 coins",
        "20 coins",
    )


def test_stroop_buttons_mean_colours():
    text = (
        "Press as told. Remember, press: left for red LETTERS, down for green LETTERS, right for blue LETTERS. \n\n "
        "The stimulus on the next trial is the word blue, the letters of the word are colored in green. You press "
        "<<right>> after 812 milliseconds. The correct answer was pressing down. \n"
        "The stimulus on the next trial is the word red, the letters of the word are colored in red. You press "
        "<<left>> after 455.5 milliseconds. The correct answer was pressing left."
    )
    wrong, right = read_session("busch2024_stroop", text)
    assert wrong.options == ("left", "down", "right")
    assert wrong.roles == ("red", "green", "blue")
    assert (wrong.role, wrong.item, wrong.stimuli["congruency"]) == ("blue", "blue in green", "incongruent")
    assert wrong.outcome == {"rt": 812.0, "correct": 0.0, "correct_answer": "down"}
    assert right.outcome == {"rt": 455.5, "correct": 1.0, "correct_answer": "left"}
    assert right.stimuli["congruency"] == "congruent"


@pytest.mark.parametrize(
    ("study", "keys", "roles"),
    [
        (
            "guenther2020LDT",
            "If the word presented to you exists, press the Q key on your keyboard. If the word does not exist, "
            "press "
            "the B key.",
            ("word", "nonword"),
        ),
        (
            "guenther2020TS",
            "If you feel that a word has a sensible interpretation, press the Q key on your keyboard. If you "
            "feel that "
            "a word does not make sense, press the B key.",
            ("sensible", "nonsense"),
        ),
    ],
)
def test_letters_of_a_person_mean_yes_and_no(study, keys, roles):
    first, second = read_session(
        study, f"You will see words.\n{keys}\nrainbow. You press <<B>>.\nmoonspoon. You press <<Q>>.\n\n"
    )
    assert first.options == second.options == ("Q", "B")
    assert first.roles == roles
    assert (first.role, second.role) == (roles[1], roles[0])
    assert (first.item, second.item) == ("rainbow", "moonspoon")


def test_relations_are_the_rows_of_the_instructions_table():
    text = (
        "Choose a relation.\nRelation\tExample\tExample with relation\nword2 MADE OF word1\tsnowman\tman MADE "
        "OF snow\n"
        "word2 HAS word1\tbookstore\tstore HAS book(s)\nword1 HAS word2\tdoorframe\tdoor HAS frame\n\nGo.\n"
        'What does "word box" mean?. You answer <<word HAS box>>.\n'
    )
    (trial,) = read_session("guenther2022relational", text)
    assert trial.options == ("box MADE OF word", "box HAS word", "word HAS box")
    assert trial.role == "word1 HAS word2"
    assert trial.item == "word box"


def test_the_second_question_excludes_the_first_answer():
    text = (
        "Which pairs look alike?\nWhich look the most similar? a - b; c d - e; f - g; h - i. You choose <<c d - "
        "e>> as "
        "most similar. Which look the least similar? a - b; c d - e; f - g; h - i. You choose <<h - i>> as "
        "least similar.\n"
        "Which look the most similar? j - k; l - m; n - o; p - q. You choose <<j - k>> as most similar.\n"
    )
    most, least, next_trial = read_session("guenther2023ViSpa", text)
    assert most.options == ("a - b", "c d - e", "f - g", "h - i")
    assert least.options == ("a - b", "f - g", "h - i")
    assert (most.kind, least.kind) == ("most similar", "least similar")
    assert (most.trial, least.trial, next_trial.trial) == (1, 1, 2)
    assert most.item == least.item


def test_associations_are_open_and_ratings_have_a_hundred_and_one_steps():
    text = (
        "Read.\nIn 1900, a fair opened. It was big. What are the first 3 words that come to your mind when you think "
        "about it?\n You enter <<wheel, tower, crowd>>.\nThat concludes the main part!\n\nIn 1900, a fair "
        "opened. It was "
        'big. How do you evaluate it on a scale from 0 to 100, where 0 is "very bad" and 100 is "very good"?\n '
        "You enter "
        "<<64.0>>."
    )
    words, rating = read_session("guenther2024associations_sentences_texts", text)
    assert (words.kind, words.options, words.block) == ("associations", None, 1)
    assert (rating.kind, len(rating.options), rating.role, rating.block) == ("rating", 101, "64.0", 2)
    assert words.stimuli == rating.stimuli == {"text": "In 1900, a fair opened. It was big."}
    assert words.item != rating.item


def test_comprehension_answers_are_typed_and_classed():
    question = "Ann saw Bo. In this context, was Bo seen? (Answer using just one word). You enter <<{}>>.\n"
    trials = read_session(
        "guenther2024comprehension", "Read.\n" + "".join(map(question.format, ["yes", "n", "Bo", "Yes "]))
    )
    assert [trial.role for trial in trials] == ["yes", "no", "other", "yes"]
    assert trials[0].options is None
    assert trials[0].item == "Ann saw Bo. was Bo seen?"


@pytest.mark.parametrize("line_break", ["\n", ""])
def test_a_substitute_is_any_word(line_break):
    trials = read_session(
        "guenther2024substitutions", f"Write another.{line_break}lake. You enter <<pond>>.\nhat. You enter <<cap>>."
    )
    assert [(trial.options, trial.item) for trial in trials] == [(None, "lake"), (None, "hat")]


def test_function_estimation_keeps_the_graph_for_all_predictions_of_a_task():
    text = (
        "Estimate.\n\nIn task 1, the two input-output pairs you saw on the graph were as follows:\nx=-0.5, "
        "y=0.25\nx=0.5, "
        "y=1e-05\nNow, you predict:\nx=-0.7, you predict y = <<0.3>>.\nx=-0.7, you predict y = <<0.3>>.\nx=0.1, you "
        "predict y = <<-0.1>>.\n\nIn task 3, the one input-output pairs:\nx=0, y=0\nNow:\nx=0.1, you predict y "
        "= <<0>>."
    )
    first, again, later, other = read_session("little2024functionestimation", text)
    assert first.stimuli == {"points": ((-0.5, 0.25), (0.5, 1e-05)), "x": -0.7, "repeated": 0.0}
    assert [trial.stimuli["repeated"] for trial in (again, later, other)] == [1.0, 0.0, 0.0]
    assert later.stimuli["points"] == first.stimuli["points"] != other.stimuli["points"]
    assert [trial.block for trial in (first, again, later, other)] == [1, 1, 1, 3]
    assert first.item == later.item != other.item


def test_dividends_before_a_choice_give_roles_and_an_item_without_order_and_letters():
    head = "The stocks' names are K and Q.\n\n"
    market = "Stock market 1:\n{}You choose Stock <<{}>>."
    lines = [
        "Stock K yields 1 points. Stock Q yields 9 points.\n",
        "Stock K yields 1 points. Stock Q yields 9 points.\n",
    ]
    extreme = "Stock K yields 4 points. Stock Q yields 6 points.\n"
    (trial,) = read_session("olschewski2024skewness", head + market.format(lines[0] + extreme + lines[1], "Q"))
    assert trial.options == ("K", "Q")
    assert trial.roles == ("right-skewed", "left-skewed")
    assert trial.role == "left-skewed"
    assert trial.stimuli == {"points": ((1.0, 4.0, 1.0), (9.0, 6.0, 9.0))}
    other_letters = (head + market.format(extreme + "".join(lines), "Q")).replace("K", "A").replace("Q", "K")
    assert read_session("olschewski2024skewness", other_letters)[0].item == trial.item


def test_repeated_choices_among_stocks_have_roles_by_all_their_dividends():
    told = "Stock A yields {} points. Stock C yields {} points.\n"
    text = (
        "You will make repeated choices.\nThe stocks' names are A, C, and E.\n\nStock market 1:\nThere are two "
        "stocks to "
        "choose from.\nYou choose <<C>>. "
        + told.format(5, 5)
        + "You choose <<A>>. "
        + told.format(5, 5)
        + "You choose "
        "<<C>>. " + told.format(50, 1) + "\nStock market 2:\nThere are three stocks to choose from.\nYou choose "
        "<<E>>. "
        "Stock A yields 1 points. Stock C yields 2 points. Stock E yields 3 points."
    )
    trials = read_session("olschewski2024skewness", text)
    assert [trial.options for trial in trials] == [("A", "C")] * 3 + [("A", "C", "E")]
    assert [trial.role for trial in trials[:3]] == ["left-skewed", "right-skewed", "left-skewed"]
    assert trials[2].outcome == {"points": (50.0, 1.0)}
    assert trials[3].roles == ("symmetric, lower, first", "symmetric, lower, second", "symmetric, higher")


def test_the_casino_tells_the_lucky_light_to_who_looks():
    text = (
        "A casino. Press X to observe, Y to bet on the blue light, Z to bet on the red light, or W to "
        "sleep.\nSet 1/2:\nIn "
        "this set, you have a little control, meaning that your bets will succeed (often). Round 1/50. You "
        "press <<X>>. "
        "You observed and see the red light up. \nRound 2/50. You press <<Y>>. You bet on the blue light. You didn't "
        "execute this bet successfully and it is switched to the other light. Round 3/50. You press <<W>>. You "
        "slept and "
        "increased your control. \nYou have successfully completed this set and earned 7.0 coins. \nSet "
        "2/2:\nIn this "
        "set, you will have to infer the level of control. Round 1/50. You press <<Z>>. You bet on the red "
        "light. You "
        "executed this bet successfully."
    )
    look, failed, sleep, bet = read_session("sandbrink2024metacontrol", text)
    assert look.options == ("X", "Y", "Z", "W")
    assert [trial.role for trial in (look, failed, sleep, bet)] == ["observe", "blue", "sleep", "red"]
    assert look.outcome == {"lucky": "red"}
    assert failed.outcome == {"executed": 0.0}
    assert sleep.outcome == {"coins": 7.0}
    assert bet.outcome == {"executed": 1.0}
    assert (failed.block, failed.stimuli) == (1, {"round": 2.0, "control": 1.0})
    assert (bet.block, bet.stimuli) == (2, {"round": 1.0})


def test_abstracts_are_judged_at_once_and_considered_after_a_look_back():
    abstract = 'Abstract: "On "The Bell": a case. Considered in full." '
    text = (
        f"Imagine.\n{abstract}Intuitive answer: What is the likelihood that you would submit this article for "
        f"publication "
        "on a scale from 0 to 100? You enter <<70>>. Certainty about the intuitive answer: When I submitted the "
        "answer, I "
        'felt: You enter <<Rather certain>>. Please rethink by clicking "Continue" or reading the abstract again by '
        'clicking on the button "Re-read the abstract". You enter <<Re-read the abstract>>. '
        f"{abstract}Considered Answer: What is the likelihood that you would submit this article on a scale "
        f"from 0 to 100? "
        "You enter <<55>>.\n"
        f"{abstract}Intuitive answer: What is the likelihood that you would READ this article on a scale from 0 "
        f"to 100? You "
        "enter <<0>>."
    )
    trials = read_session("schiekiera2025metascience", text)
    assert [trial.kind for trial in trials] == [
        *("intuitive, submit", "certainty, submit", "go on", "considered, submit", "intuitive, read")
    ]
    assert [len(trial.options) for trial in trials] == [101, 7, 2, 101, 101]
    assert [trial.trial for trial in trials] == [1, 1, 1, 1, 2]
    assert {trial.stimuli["abstract"] for trial in trials} == {'On "The Bell": a case. Considered in full.'}


def test_two_step_roles_are_places_and_transitions_common_or_rare():
    trial = (
        "You are presented with first-stage options S and H. You choose <<{}>>. This leads to state {}. In "
        "state {}, you "
        "choose <<{}>>. You receive {} reward.\n"
    )
    text = (
        "In the first stage, you will choose between two options: S and H.\nYour choice will lead to one of two "
        "second-stage states: O or Z.\nIn each second-stage state, you will make another choice between two "
        "options: P "
        "and E.\n\n"
        + trial.format("S", "Z", "Z", "P", "no")
        + trial.format("H", "Z", "Z", "E", "a")
        + "\nYou are now back 18 months later.\n\n"
        + trial.format("H", "O", "O", "E", "a")
    )
    trials = read_session("shahar2019twosteptask", text)
    assert [trial.options for trial in trials] == [("S", "H"), ("P", "E")] * 3
    assert [trial.role for trial in trials] == [
        *("option 1", "state 2, option 1", "option 2", "state 2, option 2", "option 2", "state 1, option 2")
    ]
    assert [trial.stimuli.get("transition") for trial in trials] == [None, "common", None, "rare", None, "common"]
    assert [trial.outcome.get("reward") for trial in trials] == [None, 0.0, None, 1.0, None, 1.0]
    assert [(trial.block, trial.trial) for trial in trials] == [(1, 1), (1, 1), (1, 2), (1, 2), (2, 3), (2, 3)]


def test_options_of_a_block_stay_until_the_next():
    text = (
        "Three blocks.\nThe options' names are J, G, and F.\n\nBlock 1:\nThere are two options to choose from, "
        "J and G.\n"
        "You choose <<G>>. Option J yields 50 points. Option G yields 0 points.\nYou choose <<J>>. Option J yields 0 "
        "points. Option G yields -2 points.\n\nBlock 2:\nThere are three options to choose from, J, G, and "
        "F.\nYou choose "
        "<<F>>. Option J yields 1 points. Option G yields 2 points. Option F yields 3.5 points.\n"
    )
    trials = read_session("spektor2019contexteffects", text)
    assert [trial.options for trial in trials] == [("J", "G"), ("J", "G"), ("J", "G", "F")]
    assert [trial.role for trial in trials] == ["safer", "riskier", "safest"]
    assert [trial.outcome["points"] for trial in trials] == [(50.0, 0.0), (0.0, -2.0), (1.0, 2.0, 3.5)]
    assert [trial.block for trial in trials] == [1, 1, 2]


def test_the_frequent_letter_differs_by_trial():
    text = (
        "Predict.\nYou are presented with ten coins in a bag.\nThree coins are marked 'U' and seven coins are "
        "marked 'F'. "
        "One coin is randomly drawn. Is the randomly drawn coin marked 'U' or marked 'F'? You predict "
        "<<F>>.\nYou are "
        "presented with a wheel of fortune with ten sections.\nSeven sections are marked 'E' and three sections "
        "are marked "
        "'X'. The wheel is spun. Is the section that the wheel stops on marked 'E' or marked 'X'? You predict "
        "<<X>>.\n"
    )
    coins, wheel = read_session("thoma2025riskychoice", text)
    assert (coins.options, coins.roles, coins.role) == (("U", "F"), ("rare", "frequent"), "frequent")
    assert (wheel.options, wheel.roles, wheel.role) == (("E", "X"), ("frequent", "rare"), "rare")
    assert wheel.stimuli == {"object": "sections", "count": (7.0, 3.0)}


@pytest.mark.parametrize("study", sorted({study.name for study in catalog_studies().values()}))
@pytest.mark.parametrize("text", ["Something else: <<1>>.", "<<1>>", "Block 1:\nYou press <<a>>, You choose <<b>>"])
def test_a_text_told_otherwise_is_refused_and_says_where(study, text):
    module = find_study(study)
    assert module is not None
    with pytest.raises(UnreadableError, match=r"^response 1: "):
        read_trials(module, *cut_at_responses(text))
