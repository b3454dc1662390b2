import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from centaurlab.catalog.studies import Ask, Study, find_study, letters
from centaurlab.data.options import (
    MAX_LABELS,
    LabelsSeen,
    SessionOptions,
    cut_at_responses,
    session_items,
    session_options,
    shared_labels,
)
from centaurlab.data.transcripts import Transcript


def told(text: str, participant: str = "1", study: str = "mine2026") -> Transcript:
    return Transcript(text, study, study, participant)


def answers(*said: str, participant: str = "1", study: str = "mine2026") -> Transcript:
    return told("Choose.\n" + "\n".join(f"You choose <<{answer}>>." for answer in said), participant, study)


def ask(segment: str, past: object, opening: str) -> Ask:
    return Ask(options=letters(opening), roles=("sun", "rain"))


WEATHER = Study("mine2026", ask, first_trial="You choose")


@given(st.lists(st.text(alphabet="ab \n<>."), min_size=1, max_size=6), st.data())
def test_a_text_is_its_segments_and_responses(segments, data):
    words = st.text(alphabet="xyz\n", max_size=3)
    text = segments[0].replace("<<", "")
    for segment in segments[1:]:
        text += f"<<{data.draw(words)}>>{segment.replace('<<', '')}"
    between, said = cut_at_responses(text)
    assert len(between) == len(said) + 1
    rebuilt = between[0] + "".join(f"<<{a}>>{after}" for a, after in zip(said, between[1:], strict=True))
    assert rebuilt == text


def test_a_module_goes_first_and_never_looks_at_the_answers():
    transcript = told("J is sun, F is rain.\nYou choose <<J>>. You choose <<J>>.")
    options = session_options(transcript, {"mine2026": ("A", "B")}, {"mine2026": WEATHER})
    assert options.rule == "module"
    assert options.sets == (("J", "F"),)
    assert options.set_R.tolist() == [0, 0]
    assert options.role_R == ("sun", "sun")
    assert options.of(1) == ("J", "F")


def test_a_study_of_the_catalog_is_found_by_its_name():
    text = 'Choose 1 to 6.\n\nStatement: "Am calm." You choose <<2>>.'
    options = session_options(told(text, study="revelle2010personality"), {})
    assert (options.rule, options.sets, options.role_R) == ("module", (tuple("123456"),), ("2",))


def test_a_remark_after_many_choices_takes_nobody_out_of_them():
    """Who says in the end how they chose has the same options as who does not; a rare choice stays one."""
    choices = "JFJJFJFFJFJ"
    with_remark = session_options(answers(*choices, "the larger one, mostly"), {})
    assert with_remark.sets == session_options(answers(*choices), {}).sets == (("F", "J"),)
    assert [with_remark.of(r) is None for r in range(12)] == [False] * 11 + [True]
    assert session_options(answers(*choices, "K"), {}).sets == (("F", "J", "K"),)
    survey = ("Every day", "Every day", "A lot", "The noise in summer", "Neither")
    assert session_options(answers(*survey), {}).sets == (tuple(sorted(set(survey))),), "too few are the same"


TEXTS = (
    "I mostly took the sure points. Losing felt bad.",
    "It was fine.",
    "No complaints, thanks!",
    "Honestly I just guessed.",
    "25 points are too few for me.",
)


def asked(*trials: str, participant: str = "1") -> Transcript:
    """Choices are pressed; what begins with ``=`` is written, as the answer to another question."""
    told_trials = [f"You write: <<{t[1:]}>>." if t.startswith("=") else f"You press <<{t}>>." for t in trials]
    return told("Choose.\n" + "\n".join(told_trials), participant)


def chances(options: SessionOptions) -> list[float]:
    """The log of the number of options, of each response that has any."""
    return [math.log(len(offered)) for r in range(len(options.set_R)) if (offered := options.of(r))]


@pytest.mark.parametrize("n_texts", [1, 2, 3, 5])
@pytest.mark.parametrize("place", [0, 5, 10])
def test_texts_beside_letters_of_ones_own_are_no_options(n_texts, place):
    """Wherever they stand; asked in other words or not: then a text that begins with a number is too like a label."""
    choices = "KQQKKQKKQK"
    texts = TEXTS[:n_texts]
    written = asked(*choices[:place], *(f"={text}" for text in texts), *choices[place:])
    others = TEXTS[:4][:n_texts]
    pressed = asked(*choices[:place], *others, *choices[place:])
    for transcript, there in ((written, texts), (pressed, others)):
        options = session_options(transcript, {})
        assert (options.rule, options.sets) == ("own answers", (("K", "Q"),))
        is_text = [place <= r < place + len(there) for r in range(10 + len(there))]
        assert [options.of(r) is None for r in range(10 + len(there))] == is_text
        assert chances(options) == [math.log(2)] * 10


@pytest.mark.parametrize("text", ["Nothing", "no", "7", "23", "", "\u200b"])
def test_words_numbers_and_blanks_that_are_asked_for_otherwise_are_no_options(text):
    options = session_options(asked(*"KQQKKQKKQK", f"={TEXTS[0]}", f"={text}"), {})
    assert options.sets == (("K", "Q"),)
    assert chances(options) == [math.log(2)] * 10


def test_a_person_of_one_letter_alone_chose_among_nothing_else_whatever_they_wrote():
    assert session_options(asked(*"KKKKKKKKKK", *TEXTS[:2]), {}).sets == ()
    assert session_options(asked(*"KKKKKKKKKK", *(f"={text}" for text in TEXTS[:2])), {}).sets == ()
    assert session_options(asked(*"KKKKKKKKKQ", *TEXTS[:2]), {}).sets == (("K", "Q"),), "a rare letter stays one"


@pytest.mark.parametrize(
    "said",
    [
        ("50", "50", "50", "100", "100", "100", "37", "62.5", "33.333333333333336"),
        ("Never", "Never", "Always", "Always", "Always", "Most of the time", "Once or twice a week"),
        ("I like it a lot", "I like it a lot", "I do not care", "I do not care", "It depends on who else is there"),
        ("1", "1", "2", "2", "2", "5 (very much so)", "turquoise"),
    ],
)
def test_sliders_labels_in_words_and_rare_answers_stay_options(said):
    assert session_options(asked(*said), {}).sets == (tuple(sorted({*said})),)


@pytest.mark.parametrize("people", [2, 6])
@pytest.mark.parametrize("labels", ["JF", ("left", "right")])
@pytest.mark.parametrize("mark", ["", "="])
def test_a_study_of_choices_and_two_texts_has_the_labels_of_its_choices(people, labels, mark):
    """60 choices of six people, 20 of two; one text is blank. Asked for in the same words, a blank may be a choice."""
    one, other = labels
    sessions = [
        asked(
            *[one, other] * 5,
            f"{mark}{TEXTS[person % 4]} {person}",
            f"{mark}{'' if person == 1 else f'The {person} of them were hard to read.'}",
            participant=str(person),
        )
        for person in range(people)
    ]
    shared = shared_labels(sessions)
    assert shared == {"mine2026": tuple(sorted(labels))}
    found = [chance for session in sessions for chance in chances(session_options(session, shared))]
    assert found == [math.log(2)] * (10 * people + (mark == ""))


def test_sentences_that_recur_over_people_stay_labels():
    """Of 24 answers, eight are labels of several words that their people gave once: three different ones."""
    usual = ("Never", "Always", "Never", "Always", "Never")
    rare = ("Most of the time", "Once or twice a week", "I would rather not say")
    people = [asked(*usual, *rare, participant=str(person)) for person in range(2)]
    people.append(asked(*usual, rare[0], participant="2"))
    people.append(asked("Always", rare[1], participant="3"))
    assert shared_labels(people) == {"mine2026": tuple(sorted({*usual, *rare}))}


def test_a_text_that_the_module_cannot_read_is_left_to_the_sessions_own_answers():
    options = session_options(answers("1", "2", study="shahar2019twosteptask"), {})
    assert options.rule == "own answers"
    assert options.sets == (("1", "2"),)
    assert options.problem is not None
    assert options.problem.startswith("response 1: no ")


def test_labels_that_all_share_are_the_options_of_all():
    people = [
        answers("left", "right", "stay"),
        answers("left", "left", participant="2"),
        answers("stay", participant="3"),
    ]
    assert shared_labels(people) == {}  # nobody but the first used "right": it may be a slip
    people.append(answers("right", participant="4"))
    assert shared_labels(people) == {"mine2026": ("left", "right", "stay")}
    options = session_options(people[1], shared_labels(people))
    assert (options.rule, options.of(0)) == ("labels of the study", ("left", "right", "stay"))
    assert options.role_R == ("left", "left")


def test_letters_drawn_per_person_are_not_shared():
    """Four of 26 letters for each of 300 people, all used or not: nobody has everybody's letters."""
    rng = np.random.default_rng(0)
    people = []
    for person in range(300):
        mine = rng.permutation(list("ABCDEFGHIJKLMNOPQRSTUVWXYZ"))[:4]
        people.append(answers(*rng.choice(mine, 20), participant=str(person)))
    assert shared_labels(people) == {}
    assert session_options(people[0], {}).rule == "own answers"


def test_two_people_with_the_same_letters_may_be_chance_but_then_they_are_the_same_options():
    people = [answers("A", "B"), answers("B", "A", participant="2")]
    assert shared_labels(people) == {"mine2026": ("A", "B")}


def test_one_slip_among_hundreds_does_not_undo_labels_and_has_no_options():
    people = [answers(*["yes", "no"] * 100, participant=str(person)) for person in range(3)]
    people.append(answers("yes", "yess", "no", participant="3"))
    labels = shared_labels(people)
    assert labels == {"mine2026": ("no", "yes")}
    options = session_options(people[3], labels)
    assert options.set_R.tolist() == [0, -1, 0]
    assert options.of(1) is None
    assert options.role_R == ("yes", None, "no")


@pytest.mark.parametrize("blank", ["", " ", "\u200b"])
def test_a_blank_answer_is_no_option_and_offered_what_the_others_are(blank):
    """Options are those of the data without it, by every rule, so that a missed trial does not move chance."""
    full = [answers(*"JFJF", participant=str(person)) for person in range(3)]
    missed = [answers("J", blank, "F", "J", participant=f"m{person}") for person in range(2)]
    labels = shared_labels([*full, *missed])
    assert labels == shared_labels([*full, *(answers(*"JFJ", participant=f"m{p}") for p in range(2))])
    options = session_options(missed[0], labels)
    assert (options.rule, options.of(1), options.role_R[1]) == ("labels of the study", ("F", "J"), None)
    own = session_options(missed[0], {})
    assert (own.rule, own.sets, own.of(1)) == ("own answers", (("F", "J"),), ("F", "J"))
    assert session_options(answers("J", blank, "J"), {}).sets == ()
    # blanks make up no part of the 99 % of a study, nor of the nine tenths beside a remark
    assert shared_labels([answers("J", *[blank] * 9, "F", participant=p) for p in "12"]) == labels
    remark = answers(*"JFJFJFJFJF", *[blank] * 5, "the larger one, mostly")
    assert session_options(remark, {}).sets == (("F", "J"),)


def labels_counted_at_once(people: list[list[str]]) -> dict[str, tuple[str, ...]]:
    """The definition, with every answer of everybody in memory."""
    several = {answer for one in people for answer in one if sum(answer in other for other in people) > 1}
    given = [answer for one in people for answer in one]
    is_for_all = any(several <= set(one) for one in people) and sum(a in several for a in given) >= 0.99 * len(given)
    return {"mine2026": tuple(sorted(several))} if is_for_all and 2 <= len(several) <= MAX_LABELS else {}


@given(st.lists(st.lists(st.sampled_from("ABCDEFGHIJKLMN") | st.text("xyz", min_size=1), min_size=1), max_size=8))
@example([["A", "B"] * 99 + ["slip", "slip"], ["B", "A"]])
@example([["A", "B"] * 98 + ["slip", "slip"], ["B", "A"]])
@settings(max_examples=50)
def test_labels_counted_session_by_session_are_those_counted_at_once(people):
    told = [answers(*one, participant=str(number)) for number, one in enumerate(people)]
    assert shared_labels(told) == labels_counted_at_once(people)


def test_free_texts_of_any_number_take_no_more_memory(monkeypatch):
    """4,000 texts of 300 characters; digests of 1,000 are kept before their study is given up."""
    monkeypatch.setattr("centaurlab.data.options.MAX_ANSWERS", 1000)
    seen = LabelsSeen()
    tracemalloc.start()
    try:
        for person in range(40):
            seen.add(answers(*(f"{person} {n} ".ljust(300) for n in range(100)), "A", "B", participant=str(person)))
        kept, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 1e5
    assert most < 9e5
    assert seen.shared() == {}


def test_words_are_no_choice_by_any_rule():
    people = [answers(*(f"word{n}" for n in range(MAX_LABELS + 1)), participant=str(p)) for p in range(3)]
    assert shared_labels(people) == {}
    options = session_options(people[0], {})
    assert (options.rule, options.sets) == ("own answers", ())
    assert options.set_R.tolist() == [-1] * (MAX_LABELS + 1)


@pytest.mark.parametrize(("said", "sets"), [(("A",), ()), (("A", "A"), ()), (("B", "A"), (("A", "B"),))])
def test_own_answers_are_two_or_more(said, sets):
    assert session_options(answers(*said), {}).sets == sets


def test_the_digest_changes_with_rule_and_options_alone():
    own = session_options(answers("A", "B", "A"), {})
    assert own.digest() == session_options(answers("B", "A", "A"), {}).digest()
    shared = session_options(answers("A", "B", "A"), {"mine2026": ("A", "B")})
    assert shared.sets == own.sets
    assert shared.digest() != own.digest()
    assert shared.digest() != session_options(answers("A", "B", "C"), {"mine2026": ("A", "B", "C")}).digest()


def test_items_recur_over_people_whatever_their_letters():
    text = "Press {0} for a word, {1} for none.\nrainbow: <<{0}>>.\nmoonspoon: <<{1}>>, right.\n{2}: <<{0}>>."
    first = told(text.format("J", "F", "icicle"))
    second = told(text.format("A", "Q", "airport"), "2")
    items = [session_items(person, session_options(person, {}), None) for person in (first, second)]
    assert items[0][:2] == items[1][:2]
    assert items[0][2] != items[1][2]
    assert None not in items[0] + items[1]


def test_the_frame_of_every_trial_is_no_item():
    """In a bandit nothing but the history tells one trial from another."""
    bandit = told("Choose.\n" + "You choose <<J>>. 3 points.\nYou choose <<F>>. 0 points.\n" * 4)
    assert session_items(bandit, session_options(bandit, {}), None) == [None] * 8


def test_items_of_a_module_are_those_that_it_names():
    text = 'Choose 1 to 6.\n\nStatement: "Am calm." You choose <<2>>.'
    transcript = told(text, study="revelle2010personality")
    items = session_items(transcript, session_options(transcript, {}), find_study("revelle2010personality"))
    assert items == ["rating: Am calm."]


def test_chance_in_the_studies_of_the_referees_report():
    """METHODS 2.2: log 2 in each trial, however many letters a session uses."""
    text = (
        "Three sticks are marked '{0}' and seven sticks are marked '{1}'. Drawn. Is it marked '{0}' or marked '{1}'? "
        "You predict <<{1}>>.\n"
    )
    transcript = told("Predict.\n" + text.format("A", "B") + text.format("C", "D"), study="thoma2025riskychoice")
    options = session_options(transcript, {})
    assert [math.log(len(options.of(n) or ())) for n in range(2)] == [math.log(2)] * 2
