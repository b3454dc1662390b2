"""Sessions in other letters: what is drawn, what is scored, and who is left out."""

import re

from centaurlab.data.transcripts import Transcript
from centaurlab.prompts.prompt import protocol_text
from centaurlab.prompts.relabelled import Lettered, RelabelledContext, find_lettered
from helpers.shortcut_readers import trips


def keys(letters: str, person: str, study: str = "s2020keys", more: str = "") -> Transcript:
    first, second = letters
    return Transcript(
        f"Press {first} or {second}.{more}\nYou press <<{first}>>.\nYou press <<{second}>>.\nThat is all.",
        *(study, "e", person),
    )


def test_every_text_is_the_published_one_in_other_letters() -> None:
    people = [trips(person) for person in range(3)]
    lettered, refused = find_lettered(people)
    assert not refused
    context = RelabelledContext(lettered, 5, seed=1)
    for one in people:
        prompt, about = context.prompt(one, "full"), lettered[one.key]
        pieces = prompt.pieces()
        assert len(pieces) == 6
        own = pieces[0].text
        assert one.text.startswith(own)
        assert own[-1] == re.findall(r"<<(\w)>>", one.text)[-1]
        versions = set()
        for version, piece in enumerate(pieces):
            names = dict(zip(own, piece.text, strict=True))
            changed = {a: b for a, b in zip(own, piece.text, strict=True) if a != b}
            assert set(changed) <= set(about.letters)
            assert {names[letter] for letter in about.letters} <= set(about.pool)
            assert piece.text == re.sub(r"\b[A-Z]\b", lambda found: changed.get(found[0], found[0]), own)  # noqa: B023
            said = [piece.text[r.start : r.end].strip() for r in piece.responses]
            assert said == re.findall(r"\b[A-Z]\b", piece.text)
            assert {about.version(r.number) for r in piece.responses} == {version}
            versions.add(piece.text)
        assert len(versions) > 2
        numbers = [r.number for r in prompt.responses]
        assert numbers == [*range(about.n_responses, about.n_responses + len(numbers))]


def test_a_space_belongs_to_the_letter_after_it() -> None:
    lettered, _ = find_lettered([keys("XT", "1"), keys("BK", "2")])
    one = keys("XT", "1")
    prompt = RelabelledContext(lettered, 1).prompt(one, "full")
    text = protocol_text(one.text, "full")
    assert [text[r.start : r.end] for r in prompt.pieces()[0].responses] == [" X", " T", "X", "T"]


def test_letters_are_drawn_alike_each_time_and_for_each_person_anew() -> None:
    people = [keys("XT", "1"), keys("BK", "2")]
    context = RelabelledContext(find_lettered(people)[0], 4)
    assert context.prompt(people[0], "full") == context.prompt(people[0], "full")
    drawn = [re.findall(r"Press (\w) or (\w)", context.prompt(one, "full").text)[1:] for one in people]
    assert drawn[0] != drawn[1]


def test_who_has_no_letters_of_their_own_is_left_out_with_the_reason() -> None:
    people = [
        *(keys("XT", "1"), keys("BK", "2"), keys("AX", "3")),
        *(keys("XT", "1", "t2020word", " Take vitamin C."), keys("CK", "2", "t2020word", " Take vitamin C.")),
        *(keys("XT", "1", "u2020same"), keys("XT", "2", "u2020same"), keys("XT", "1", "w2020alone")),
        Transcript("Say a word.\nYou say <<dog>>.\nYou say <<cat>>.", "v2020words", "e", "1"),
    ]
    people.append(Transcript("Press K or M.\nYou press <<K>>.\nYou press <<K>>.", "x2020one", "e", "1"))
    lettered, refused = find_lettered(people)
    assert {(key.study, key.participant) for key in lettered} == {("s2020keys", "1"), ("s2020keys", "2")}
    assert lettered[people[0].key] == Lettered(("X", "T"), ("B", "K", "T", "X"), 4, 2)
    assert dict(refused) == {
        ("s2020keys", "a letter is A or I, which are words as well"): 1,
        ("t2020word", "C stands alone where it is no option"): 2,
        ("u2020same", "everybody has the same letters, so that they were not drawn"): 2,
        ("v2020words", "options are no letters"): 1,
        ("w2020alone", "a session alone does not show whether its letters were drawn"): 1,
        ("x2020one", "it is not known of each answer what else could be said"): 1,
    }


def test_letters_are_drawn_from_those_of_the_study_alone() -> None:
    """Whoever drew from F, J, K and P must not be held against Q, which every model finds odd."""
    people = [keys(letters, str(i)) for i, letters in enumerate(("FJ", "KF", "PJ", "JK", "FP", "PK"))]
    other = [keys(letters, str(i), study="t2020keys") for i, letters in enumerate(("XT", "BX"))]
    lettered, refused = find_lettered([*people, *other])
    assert not refused
    context = RelabelledContext(lettered, 60)
    for group, pool in ((people, set("FJKP")), (other, set("XTB"))):
        drawn = [re.findall(r"Press (\w) or (\w)", context.prompt(one, "full").text)[1:] for one in group]
        assert {letter for of_person in drawn for pair in of_person for letter in pair} == pool


def test_letters_in_the_order_of_the_alphabet_were_not_drawn() -> None:
    people = [keys(letters, str(i)) for i, letters in enumerate(("FJ", "FK", "JP", "JK", "FP", "KP"))]
    lettered, refused = find_lettered(people)
    assert not lettered
    ((_, reason),) = refused
    assert "order of the alphabet" in reason
