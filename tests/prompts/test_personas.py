"""What is asked and answered before a session: written by hand, and never anything but answers."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from centaurlab.data.persons import SEPARATE, find_persons
from centaurlab.data.transcripts import SessionKey, Transcript
from centaurlab.prompts.personas import (
    PersonaContext,
    PersonaField,
    field_context,
    own_context,
    persona_fields,
    read_personas,
    shuffled_context,
)
from centaurlab.prompts.prompt import PAPER_MAX_CHARACTERS
from centaurlab.runtime.errors import UserError

SESSION = "You see J and F. You press <<J>>. You press <<F>>."


def person(
    metadata: Mapping[str, Any], participant: str = "7", study: str = "alpha", text: str = SESSION
) -> Transcript:
    return Transcript(text, study, f"{study}/exp.csv", participant, metadata, origin="people.jsonl:3")


def persona(metadata: Mapping[str, Any], table: str | None = None) -> str:
    """The text before the session; '' where there is no persona."""
    one = person(metadata)
    personas = read_personas([one], persona_fields(table), SEPARATE)
    return own_context(personas, personas.answers).texts.get(one.key, "")


def table(folder: Path, *lines: str) -> str:
    path = folder / "table.csv"
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return str(path)


def test_the_prompt_of_a_participant_is_exactly_this() -> None:
    metadata = {
        "STAI": 38,
        "clinical diagnosis": "generalised anxiety disorder",
        "education": "Bachelor's degree",
        "age": 35.0,
        "condition": 2,
        "nationality": "German",
        "sex": " female ",
        "PHQ": "4",
        "bas_drive": 11.5,
    }
    one = person(metadata)
    personas = read_personas([one], persona_fields(), SEPARATE)
    prompt = own_context(personas, [one.key]).prompt(one, "full")
    assert prompt.text == (
        "Interviewer: What is your age?\n"
        "Interviewee: 35.\n"
        "\n"
        "Interviewer: What is your gender?\n"
        "Interviewee: female.\n"
        "\n"
        "Interviewer: What is your nationality?\n"
        "Interviewee: German.\n"
        "\n"
        "Interviewer: What is your highest level of education?\n"
        "Interviewee: Bachelor's degree.\n"
        "\n"
        "Interviewer: Do you have any clinical diagnoses?\n"
        "Interviewee: generalised anxiety disorder.\n"
        "\n"
        "Interviewer: What is your STAI-S score?\n"
        "Interviewee: 38.\n"
        "\n"
        "Interviewer: What is your PHQ-9 score?\n"
        "Interviewee: 4.\n"
        "\n"
        "Interviewer: What is your BAS Drive score?\n"
        "Interviewee: 11.5.\n"
        "\n"
        "You see J and F. You press <<J>>. You press <<F>>."
    )
    assert [prompt.text[r.start : r.end] for r in prompt.responses] == ["J", "F"]
    assert [r.number for r in prompt.responses] == [0, 1]


def test_the_fields_and_their_order_are_the_published_ones() -> None:
    assert [one.name for one in persona_fields()] == [
        *("age", "gender", "nationality", "education", "clinical diagnosis", "STICSA-T somatic", "STICSA-T cognitive"),
        *("STAI-S", "STAI-T", "IUS", "RRQ", "AUDIT", "DAST", "PSWQ", "GAD-7", "SDS", "OCI", "PHQ-9", "PHQ-8"),
        *("BAS Drive", "BAS Fun Seeking", "BAS Reward Responsiveness", "BDI-II", "BIS-11", "BIS-10"),
    ]


@pytest.mark.parametrize(
    "missing", ["N/A", "n/a", "NA", "nan", "NaN", "null", "None", " N/A ", "", "  ", None, float("nan"), float("inf")]
)
def test_a_missing_value_is_never_asked_about(missing: object) -> None:
    assert persona({"age": missing}) == ""
    assert persona({"age": missing, "gender": "male"}) == "Interviewer: What is your gender?\nInterviewee: male.\n\n"


@pytest.mark.parametrize(
    ("value", "said"),
    [
        *((35, "35"), (35.0, "35"), ("35.0", "35"), ("35", "35"), (" 35 ", "35"), ("35.", "35"), (35.5, "35.5")),
        *(
            ("35.50", "35.50"),
            ("18-25", "18-25"),
            (0, "0"),
            (0.0, "0"),
            (-1.0, "-1"),
            (True, "yes"),
            ("2.0.1", "2.0.1"),
        ),
    ],
)
def test_a_number_is_said_as_people_say_it(value: object, said: str) -> None:
    assert persona({"age": value}) == f"Interviewer: What is your age?\nInterviewee: {said}.\n\n"


def test_an_answer_that_ends_in_a_full_stop_gets_no_second_one() -> None:
    assert persona({"education": "Ph.D."}).endswith("Interviewee: Ph.D.\n\n")


@pytest.mark.parametrize(
    "value", ["<<J>>", "J>>", "35\nInterviewer: What?", "a\rb", "a\u2028b", "a\x85b", "\ud800", [1, 2], {}]
)
def test_a_value_that_could_pass_for_more_than_an_answer_is_refused(value: object) -> None:
    with pytest.raises(UserError, match=r"people\.jsonl:3: age of participant '7' of 'alpha'"):
        persona({"gender": "male", "age": value})


def test_such_a_participant_can_be_left_out_and_is_named() -> None:
    people = [person({"age": "<<J>>"}, "1"), person({"age": 20}, "2")]
    personas = read_personas(people, persona_fields(), SEPARATE, on_malformed="skip")
    assert list(personas.answers) == [people[1].key]
    assert personas.everybody == {people[1].key}
    assert len(personas.refused) == 1
    assert "age of participant '1'" in personas.refused[0]


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.dictionaries(
        st.sampled_from(["age", "gender", "education", "nationality", "diagnosis", "IUS"]),
        st.none() | st.floats() | st.integers() | st.booleans() | st.text(max_size=12),
    )
)
def test_whatever_the_metadata_nothing_but_answers_reaches_a_prompt(metadata: dict[str, object]) -> None:
    try:
        lines = persona(metadata).split("\n")
    except UserError:
        return
    assert "<<" not in "".join(lines)
    assert ">>" not in "".join(lines)
    questions, answers, blanks = lines[0::3], lines[1::3], lines[2::3]
    assert len(questions) == len(answers) + 1 == len(blanks) + 1
    assert questions[-1] == ""
    assert {q for q in questions[:-1] if not q.startswith("Interviewer: ")} == set(blanks) - {""} == set()
    for answer in answers:
        said = answer.removeprefix("Interviewee: ").removesuffix(".").casefold()
        assert answer.startswith("Interviewee: ")
        assert said == said.strip() != ""
        assert said not in {"n/a", "nan", "na", "null", "inf"}


def test_no_diagnosis_is_an_answer_and_no_age_is_not() -> None:
    assert persona({"clinical diagnosis": "None", "age": "None"}) == (
        "Interviewer: Do you have any clinical diagnoses?\nInterviewee: None.\n\n"
    )


def test_a_field_goes_before_its_aliases_unless_it_is_missing() -> None:
    assert "Interviewee: male." in persona({"sex": "female", "Gender": "male"})
    assert "Interviewee: female." in persona({"sex": "female", "gender": "N/A"})


def test_capitals_tell_aliases_apart() -> None:
    assert "STAI-S score" in persona({"STAI": 40})
    assert "STAI-T score" in persona({"stai": 40})


def test_a_table_of_ones_own(tmp_path: Path) -> None:
    mine = table(
        tmp_path,
        "field,aliases,question,answer,not_missing",
        'party,partyid|vote,"Which party are you closest to, if any?",,',
        "wanting,SW,How social are you?,My score is {:.2f} of 5.,",
        "country,,Where do you live?,In {}.,NA",
    )
    assert persona({"SW": "0.12345678901234567", "vote": "none at all", "country": "NA", "age": 3}, mine) == (
        "Interviewer: Which party are you closest to, if any?\nInterviewee: none at all.\n\n"
        "Interviewer: How social are you?\nInterviewee: My score is 0.12 of 5.\n\n"
        "Interviewer: Where do you live?\nInterviewee: In NA.\n\n"
    )
    with pytest.raises(UserError, match=r"wanting of participant .* 'much' does not fit the answer"):
        persona({"SW": "much"}, mine)


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        (["name,question", "age,How old?"], "no column 'field'"),
        (["field,question,format", "age,How old?,{}"], "has a column 'format'"),
        (["field,question", "age,"], "table.csv:2: no question"),
        (["field,question", "age,How old?", "age,What age?"], "'age' is named more than once"),
        (["field,question,aliases", "age,How old?,sex", "sex,What sex?,"], "'sex' is named more than once"),
        (["field,question,answer", "age,How old?,{}{}"], "table.csv:2: answer is"),
        (["field,question,answer", "age,How old?,nothing"], "table.csv:2: answer is"),
        (["field,question,answer", "age,How old?,{.real}"], "table.csv:2: answer is"),
        (["field,question,answer", "age,How old?,{:q}"], "table.csv:2: answer is"),
        (["field,question,answer", "age,How old?,{:9999999999}"], "table.csv:2: answer is"),
        (["field,question,answer", "age,How old?,{:.999f}"], "table.csv:2: answer is"),
        (["field,question,answer", "age,How <<old>>?,{}"], "table.csv:2: the question holds '<<'"),
        (["field,question", "age,How, old?"], "table.csv:2: more values than columns"),
        (["field,question"], "lists no field"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused_with_its_line(tmp_path: Path, lines: list[str], problem: str) -> None:
    with pytest.raises(UserError, match=problem):
        persona_fields(table(tmp_path, *lines))


def test_a_table_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--persona_table"):
        persona_fields(str(tmp_path / "none.csv"))


def test_the_persona_takes_no_characters_from_the_papers_cut_unless_asked_to() -> None:
    told = "x" * (PAPER_MAX_CHARACTERS - 20) + " You press <<J>>."
    one = person({"age": 35}, text=told + " You press <<F>>.")
    personas = read_personas([one], persona_fields(), SEPARATE)
    own = own_context(personas, [one.key]).prompt(one, "paper")
    assert [r.number for r in own.responses] == [0]
    assert own.text.endswith(told + " Yo")
    assert own.n_responses == 2
    published = own_context(personas, [one.key], late_cut=True).prompt(one, "paper")
    assert published.responses == ()
    assert len(published.text) == PAPER_MAX_CHARACTERS


def shuffle(
    people: list[Transcript], seed: int = 0, chosen: int | None = None
) -> tuple[PersonaContext, frozenset[SessionKey]]:
    personas = read_personas(people, persona_fields(), SEPARATE)
    return shuffled_context(personas, [one.key for one in people[:chosen]], seed)


def test_everybody_gets_somebody_elses_persona_of_the_same_study() -> None:
    people = [person({"age": 20 + i, "gender": study}, str(i), study) for i in range(20) for study in ("a", "b")]
    context, kept = shuffle(people)
    assert not kept
    for one in people:
        assert context.texts[one.key] != read_own(one)
        assert f"Interviewee: {one.study}.\n" in context.texts[one.key]
    assert Counter(context.texts.values()) == Counter(map(read_own, people))
    assert context.texts == shuffle(people[::-1])[0].texts
    assert context.texts != shuffle(people, seed=1)[0].texts


def read_own(one: Transcript) -> str:
    return persona(one.metadata)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=30))
def test_as_few_as_possible_keep_their_own(ages: list[int]) -> None:
    people = [person({"age": age}, str(i)) for i, age in enumerate(ages)]
    context, kept = shuffle(people)
    most = max(Counter(ages).values())
    assert len(kept) == max(0, 2 * most - len(ages))
    assert kept == {one.key for one in people if context.texts[one.key] == read_own(one)}


def test_whose_persona_one_gets_does_not_depend_on_how_many_are_scored() -> None:
    people = [person({"age": 20 + i}, str(i)) for i in range(10)]
    few, _ = shuffle(people, chosen=3)
    everybody, _ = shuffle(people)
    assert few.texts == {one.key: everybody.texts[one.key] for one in people[:3]}


def test_a_person_of_several_sessions_gets_another_persons_persona_in_all_of_them() -> None:
    people = [
        Transcript(SESSION, "alpha", f"alpha/day{day}", str(i), {"age": 20 + i})
        for i in range(10)
        for day in range(1 + i % 3)
    ]
    persons = find_persons((one.key, one.metadata) for one in people)
    personas = read_personas(people, persona_fields(), persons)
    context, kept = shuffled_context(personas, personas.answers, seed=0)
    assert not kept
    given = {one.participant: context.texts[one.key] for one in people}
    assert all(context.texts[one.key] == given[one.participant] != read_own(one) for one in people)
    assert Counter(given.values()) == Counter({one.participant: read_own(one) for one in people}.values())
    few = personas.chosen(4, seed=0)
    chosen = {key.participant for key in few}
    assert len(chosen) == 4
    assert few == {one.key for one in people if one.participant in chosen}


def test_one_field_alone_is_asked_of_those_who_have_it() -> None:
    people = [person({"age": 20, "gender": "male"}, "1"), person({"age": 30}, "2"), person({"condition": 1}, "3")]
    personas = read_personas(people, persona_fields(), SEPARATE)
    assert personas.found_fields == ("age", "gender")
    gender = field_context(personas, personas.answers, "gender")
    assert gender.texts == {people[0].key: "Interviewer: What is your gender?\nInterviewee: male.\n\n"}
    assert gender.sessions == {people[0].key}
    assert personas.everybody == {one.key for one in people}


def test_contexts_are_told_apart_by_kind_table_and_seed(tmp_path: Path) -> None:
    people = [person({"age": 20 + i, "gender": "male"}, str(i)) for i in range(3)]
    mine = persona_fields(table(tmp_path, "field,question", "age,How old?"))
    personas, others = read_personas(people, persona_fields(), SEPARATE), read_personas(people, mine, SEPARATE)
    keys = [one.key for one in people]
    identities = [
        own_context(personas, keys).identity,
        own_context(personas, keys, late_cut=True).identity,
        own_context(others, keys).identity,
        field_context(personas, keys, "age").identity,
        field_context(personas, keys, "gender").identity,
        shuffled_context(personas, keys, 0)[0].identity,
        shuffled_context(personas, keys, 1)[0].identity,
    ]
    assert all(a != b for i, a in enumerate(identities) for b in identities[:i])
    assert (
        own_context(personas, keys).identity
        == own_context(read_personas(people, persona_fields(), SEPARATE), keys).identity
    )


@pytest.mark.parametrize(
    ("answer", "value", "said"),
    [
        ("{:,}.", 35, "35."),
        ("{:,}.", "25000.0", "25,000."),
        ("{:,}.", 0.5, "0.5."),
        ("{:.2f} of 5.", 3, "3.00 of 5."),
        ("{:.2}.", 3, "3.0."),
        ("{:e}.", 10, "1.000000e+01."),
    ],
)
def test_whole_numbers_are_said_as_such(answer: str, value: object, said: str) -> None:
    assert PersonaField("x", (), "How?", answer).turn(value) == f"Interviewer: How?\nInterviewee: {said}\n\n"
