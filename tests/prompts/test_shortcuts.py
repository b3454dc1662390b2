"""Sessions told in the battery's conditions, against what was written by hand."""

from collections.abc import Mapping

import pytest

from centaurlab.data.options import cut_at_responses
from centaurlab.data.transcripts import Transcript
from centaurlab.prompts.prompt import Prompt
from centaurlab.prompts.shortcuts import CONDITIONS, MISLEADING, InapplicableError, Told, can_lend, take_apart, write
from helpers.shortcut_readers import trips

INSTRUCTIONS = "Imagine a train trip.\nIn each choice the first trip is called {} and the second trip {}.\n\n"


def trip(letter: str, price: int) -> str:
    return f"trip {letter}: {price}.00 guilders, 100 minutes, 1 change, high comfort"


def session(letters: str, prices: list[tuple[int, int]], answers: str, person: str = "p") -> Transcript:
    text = INSTRUCTIONS.format(*letters)
    for i, (two, answer) in enumerate(zip(prices, answers, strict=True)):
        told = "; ".join(trip(letter, price) for letter, price in zip(letters, two, strict=True))
        text += f"Choice {i + 1}: {told}. You choose <<{answer}>>.\n"
    return Transcript(text, "benakiva1993trains", "exp1.csv", person)


OWN = session("XT", [(10, 20), (40, 30), (50, 60)], "XTT")
OTHER = session("KB", [(11, 12), (14, 13), (15, 16)], "KBK", "q")


def told(one: Transcript, options: str) -> Told:
    return take_apart(one, tuple(options))


def prompt(condition: str, one: Transcript = OWN, options: str = "XT", other: Told | None = None) -> Prompt:
    return write(CONDITIONS[condition](told(one, options), other))


def answers_of(found: Prompt) -> Mapping[int, str]:
    return {one.number: found.text[one.start : one.end] for one in found.responses}


def line(number: int, letters: str, prices: tuple[int, int], answer: str) -> str:
    two = "; ".join(trip(letter, price) for letter, price in zip(letters, prices, strict=True))
    return f"Choice {number}: {two}. You choose <<{answer}>>.\n"


@pytest.mark.parametrize("condition", sorted(CONDITIONS))
def test_answers_and_their_numbers_stay(condition: str) -> None:
    found = prompt(condition, other=told(OTHER, "KB"))
    assert answers_of(found) == dict(enumerate(cut_at_responses(OWN.text)[1]))
    assert [one.end for one in found.responses] == sorted(one.end for one in found.responses)


def test_instructions_end_where_the_first_trial_begins() -> None:
    told_first = INSTRUCTIONS.format("X", "T")
    assert prompt("no_instructions").text == OWN.text.removeprefix(told_first)
    neutral = prompt("length_control").text
    assert len(neutral) == len(OWN.text)
    assert neutral.endswith(OWN.text.removeprefix(told_first.rstrip()))
    assert not neutral.startswith("Imagine")


def test_the_misleading_instruction_names_an_option_and_opens_no_response() -> None:
    found = prompt("misleading")
    first = found.text[: found.text.index("Choice 1")]
    assert first in {MISLEADING.format(option=letter) for letter in "XT"}
    assert len(found.responses) == 3


def test_answers_only() -> None:
    assert prompt("answers_only").text == "<<X>>\n<<T>>\n<<T>>\n"


def test_no_history_begins_anew_with_every_trial() -> None:
    pieces = prompt("no_history").pieces()
    expected = [(1, (10, 20), "X"), (2, (40, 30), "T"), (3, (50, 60), "T")]
    assert [piece.text for piece in pieces] == [
        INSTRUCTIONS.format("X", "T") + line(number, "XT", prices, answer) for number, prices, answer in expected
    ]
    assert [answers_of(piece) for piece in pieces] == [{0: "X"}, {1: "T"}, {2: "T"}]


def test_a_foreign_history_is_told_in_the_persons_letters() -> None:
    pieces = prompt("foreign_history", other=told(OTHER, "KB")).pieces()
    first, second = line(1, "XT", (11, 12), "X"), line(2, "XT", (14, 13), "T")
    assert pieces[2].text == INSTRUCTIONS.format("X", "T") + first + second + line(3, "XT", (50, 60), "T")
    assert answers_of(pieces[2]) == {2: "T"}


def test_two_trials_are_told_the_other_way_round_for_everybody() -> None:
    for person in range(12):
        one = session("XT", [(10, 20), (40, 30)], "XT", str(person))
        first, second = line(1, "XT", (40, 30), "T"), line(2, "XT", (10, 20), "X")
        assert prompt("shuffled_trials", one).text == INSTRUCTIONS.format("X", "T") + first + second


def test_shuffled_trials_keep_their_numbers_in_order_and_their_answers_with_them() -> None:
    one = trips(3)
    found = prompt("shuffled_trials", one, "LD")
    assert found.text != one.text
    bodies = [sorted(text.partition(": ")[2] for text in t.splitlines()[3:]) for t in (one.text, found.text)]
    assert bodies[0] == bodies[1]
    assert [text.partition(":")[0] for text in found.text.splitlines()[3:]] == [f"Choice {i + 1}" for i in range(8)]


def test_every_stimulus_is_another_trials() -> None:
    found = prompt("no_stimulus").text.splitlines()[3:]
    own = OWN.text.splitlines()[3:]
    prices = [[text.partition(": ")[2].partition(" You")[0] for text in of] for of in (own, found)]
    assert sorted(prices[0]) == sorted(prices[1])
    assert all(a != b for a, b in zip(*prices, strict=True))


def test_an_unchanged_stimulus_is_not_scored() -> None:
    same = session("XT", [(10, 20), (10, 20), (50, 60), (50, 60)], "XTTX")
    found = prompt("no_stimulus", same)
    own, new = (text.splitlines()[3:] for text in (same.text, found.text))
    changed = {i for i, (a, b) in enumerate(zip(own, new, strict=True)) if a != b}
    assert set(answers_of(found)) == changed
    assert found.n_responses == len(changed) > 0


def test_options_are_swapped_wherever_they_are_named_but_in_answers() -> None:
    found = prompt("swapped_options").text
    assert found.startswith(INSTRUCTIONS.format("T", "X"))
    assert line(1, "TX", (10, 20), "X") in found


def test_a_letter_that_is_a_word_as_well_is_not_swapped() -> None:
    text = (
        "You will read about annoying situations.\nYour answers are: A for yes, O for no, Z for perhaps.\n\n"
        "A bus fails to stop for you. Would you want to curse? You answer <<Z>>.\n"
    )
    one = Transcript(text, "deboeck2004aggression", "e", "p")
    with pytest.raises(InapplicableError, match="a word of the text"):
        prompt("swapped_options", one, "OZA")
    plain = Transcript(text.replace("A for", "L for"), "deboeck2004aggression", "e", "p")
    assert "O for yes, L for no, Z for perhaps" in prompt("swapped_options", plain, "OL").text


def test_what_depends_on_answers_and_what_nobody_knows_is_refused() -> None:
    unknown = Transcript("You see J and F.\nYou press <<J>>.\nYou press <<F>>.\n", "new2030study", "e", "p")
    with pytest.raises(InapplicableError, match="no module of the study"):
        prompt("no_history", unknown, "JF")
    assert prompt("no_instructions", unknown, "JF").text == "You press <<J>>.\nYou press <<F>>.\n"
    with pytest.raises(InapplicableError, match="no instructions"):
        prompt("no_instructions", Transcript("You press <<J>>.", "new2030study", "e", "p"), "J")
    with pytest.raises(InapplicableError, match="nobody else"):
        prompt("foreign_history")
    for condition in ("misleading", "swapped_options"):
        with pytest.raises(InapplicableError, match="not known what could have been answered"):
            prompt(condition, unknown, "")


def test_a_history_is_lent_by_another_person_of_the_experiment() -> None:
    own, other = told(OWN, "XT"), told(OTHER, "KB")
    assert can_lend(other, own)
    assert not can_lend(own, own)
    elsewhere = Transcript(OTHER.text, OTHER.study, "exp2.csv", "q")
    assert not can_lend(told(elsewhere, "KB"), own)


def test_a_session_whose_histories_would_fill_memory_is_refused() -> None:
    prices = [(10 + i % 50, 60) for i in range(400)]
    long = session("XT", prices, "XT" * 200)
    with pytest.raises(InapplicableError, match="too many trials"):
        prompt("foreign_history", long, other=told(session("KB", prices, "KB" * 200, "q"), "KB"))
