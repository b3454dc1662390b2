"""A template tells exactly the responses of the table, in order, and nothing else is ever between markers."""

import re
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from centaurlab.data.tables.table import Row, TrialTable
from centaurlab.data.tables.template import SessionTemplate, ToldSession
from centaurlab.data.transcripts import marker_problem
from centaurlab.runtime.errors import UserError


def table_of(rows: list[dict[str, str]], missing: tuple[str, ...] = ()) -> TrialTable:
    columns = tuple(dict.fromkeys(name for row in rows for name in row))
    placed = [Row(row, f"t.csv:{number}") for number, row in enumerate(rows, start=2)]
    return TrialTable(columns, placed, missing=frozenset(missing))


def tell(source: str, *rows: dict[str, str], person: str = "p1", missing: tuple[str, ...] = ()) -> ToldSession:
    table = table_of(list(rows), missing)
    return SessionTemplate(source, "t.jinja").tell(table, table.rows, "study", person)


def error_of(source: str, *rows: dict[str, str]) -> str:
    with pytest.raises(UserError) as caught:
        tell(source, *rows)
    return str(caught.value)


ALPHABET = st.sampled_from([*"aB0 .<>{}%#=@\n\"'\\é\ue000\ue001", "<<", ">>", "{{", "}}", "{%", "=cmd", "NA", "\u2028"])
TEXTS = st.lists(ALPHABET, max_size=6).map("".join)
PIECES = st.sampled_from(
    [
        "{{ trial.shown | default('') }}",
        "{{ trial.shown | default('') | upper }}",
        " plain words. ",
        "\n",
        "{% if trial.answer is missing %}(nothing){% endif %}",
        "{{ loop.index }}",
        ">>",
    ]
)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(TEXTS, TEXTS, st.floats(0, 1e5)), min_size=1, max_size=6),
    st.lists(PIECES, max_size=4),
    st.lists(PIECES, max_size=4),
)
def test_every_answer_of_the_table_and_nothing_else_is_between_markers(rows, before, after):
    """Oracle: the parts of the told text between ``<<`` and the next ``>>``, cut by hand, against the column."""
    source = (
        "{% for trial in trials %}"
        + "".join(before)
        + "{% if trial.answer is not missing %}{{ respond(trial.answer, trial.rt) }}{% endif %}"
        + "".join(after)
        + "{% endfor %}"
    )
    table = table_of([{"shown": shown, "answer": answer, "rt": repr(rt)} for shown, answer, rt in rows])
    answers = [(answer, rt) for _, answer, rt in rows if answer]
    try:
        told = SessionTemplate(source).tell(table, table.rows, "study", "p1")
    except UserError:
        refused = True
    else:
        refused = False
    if refused:  # then for a marker, or an answer of white space, and never for a harmless table
        has_marker = any(set("<>") & set(shown + answer) for shown, answer, _ in rows) or ">>" in before + after
        assert has_marker or any(answer and not answer.strip() for _, answer, _ in rows)
        return
    between = []
    rest = told.text
    while "<<" in rest:
        _, _, rest = rest.partition("<<")
        answer, _, rest = rest.partition(">>")
        between.append(answer)
    assert between == list(told.responses) == [answer for answer, _ in answers]
    assert list(told.rts) == [rt for _, rt in answers]
    assert marker_problem(told.text) is None or not answers


@given(st.lists(st.sampled_from(string.ascii_letters + string.digits), min_size=1, max_size=8))
def test_sound_answers_are_never_refused(answers):
    told = tell("{% for t in trials %}{{ respond(t.a) }} {% endfor %}", *({"a": answer} for answer in answers))
    assert told.text == " ".join(f"<<{answer}>>" for answer in answers) + " "


def test_answers_are_texts_as_they_stand_in_the_table():
    rows = [{"a": answer} for answer in ("NA", "01", "0.10", "1e3", "True", " x ", "=cmd|' /C calc'!A0", "{{ 7 * 7 }}")]
    told = tell("{% for t in trials %}{{ respond(t.a) }}\n{% endfor %}", *rows)
    assert list(told.responses) == [row["a"] for row in rows]


@pytest.mark.parametrize("cell", ["<<J>>", "a << b", "<<"])
def test_a_marker_in_a_cell_is_refused_with_the_remedy(cell):
    assert "replace('<<', '«')" in error_of("{{ first.shown }} {{ respond(first.a) }}", {"shown": cell, "a": "J"})
    told = tell("{{ first.shown | replace('<<', '«') }} {{ respond(first.a) }}", {"shown": cell, "a": "J"})
    assert told.responses == ("J",)


@pytest.mark.parametrize("answer", ["a>>b", "<<", "a>", "<b", "x << y"])
def test_a_marker_in_an_answer_is_refused(answer):
    assert "holds a marker" in error_of("{{ respond(first.a) }}", {"a": answer})


@pytest.mark.parametrize("source", ["<<J>>", "Press <{{ '<' }}J>>", "{{ '<' ~ '<J>>' }} {{ respond(first.a) }}"])
def test_a_template_writes_no_marker_of_its_own(source):
    assert "'<<'" in error_of(source, {"a": "J"})


@pytest.mark.parametrize("source", ["<{{ respond(first.a) }}", "{{ '<' }}{{ respond(first.a) }}"])
def test_what_stands_beside_a_response_cannot_widen_it(source):
    assert "put a space between them" in error_of(source, {"a": "J"})


@pytest.mark.parametrize(
    "source",
    [
        "{% set r = respond(first.a) %}{{ r }}{{ r }}",
        "{% set r = respond(first.a) %}",
        "{% set r = respond(first.a) %}{{ respond('b') }}{{ r }}",
        "{{ respond(first.a) | upper }}",
        "{{ respond(first.a)[:9] }}",
        "{{ respond(first.a) | replace('Z', 'z') }}",
    ],
)
def test_a_response_stands_once_unchanged_and_where_it_is_made(source):
    assert "unchanged" in error_of(source, {"a": "J"})


def test_a_response_in_a_response_is_refused():
    assert "within a response" in error_of("{{ respond(respond(first.a)) }}", {"a": "J"})


def test_a_missing_cell_is_an_error_where_it_is_used_and_can_be_asked_for():
    source = "{{ respond(first.a) }}"
    assert "t.csv:2: 'a' is missing" in error_of(source, {"a": "", "b": "x"})
    told = tell(
        "{% if first.a is missing %}too slow{% endif %}{{ first.a | default('-') }}", {"a": "NA"}, missing=("NA",)
    )
    assert told.text == "too slow-"
    assert "t.jinja:2" in error_of("one\n{{ first.a }}", {"a": ""})
    assert "is missing" in error_of("{% if first.a == 'x' %}{% endif %}", {"a": ""})


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("{{ first.repsonse }}", "did you mean 'response'?"),
        ("{{ first['respons'] }}", "did you mean 'response'?"),
        ("{{ response }}", "did you mean 'trial.response'?"),
        ("{{ frist.response }}", "did you mean 'first'?"),
        ("{% if repsonse is missing %}{% endif %}", "'repsonse' is undefined"),
        ("{{ labels('left', 'right')['lfet'] }}", "did you mean 'left'?"),
        ("{{ {'1': 'male'}[first.rt] }}", "'300' is none of the entries"),
    ],
)
def test_what_is_misspelt_is_answered_with_the_nearest_name(source, said):
    assert said in error_of(source, {"response": "J", "rt": "300"})


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("{% if first.a == 1 %}{% endif %}", "compared with the number 1"),
        ("{{ first.a + 1 }}", "t.jinja:1"),
        ("{% if first.rt > '9' %}{% endif %}", "'1.5' is a text also beside '9'"),
        ("{{ first.rt <= first.comma }}", "'1.5' is a text also beside '0,75'"),
        ("{{ [first.rt, first.comma] | max }}", "write | int or | float"),
        ("{{ first.rt + first.rt }}", "write | int or | float"),
        ("{{ 2 * first.rt }}", "write | int or | float"),
        ("{% if first.no %}{% endif %}", "'false' is taken for true"),
        ("{{ 'x' if not first.rt }}", "'1.5' is taken for true"),
        ("{{ trials | selectattr('no') | list | length }}", "'false' is taken for true"),
        ("{{ first.no is true }}", "'false' is taken for true"),
        ("{{ (first.json | json).q == 0 }}", "compared with the number 0"),
        ("{{ participant == 1 }}", "compared with the number 1"),
        ("{{ first.a | float }}", "'J' is no number"),
        ("{{ first.rt | int }}", "'1.5' is no whole number"),
        ("{{ respond(1.5) }}", "a response is text, not float"),
        ("{{ respond(true) }}", "a response is text, not bool"),
        ("{{ respond('x', first.a) }}", "'J' is no number"),
        ("{{ '0,914' | float }}", "'0,914' is no number; a decimal comma is made a point by | replace(',', '.')"),
        ("{{ respond('  ') }}", "is empty"),
        ("{{ first }}", "a trial is no text"),
        ("{% for trial in trials %}", "sound Jinja"),
        ("{% include 'other.jinja' %}", "stands alone"),
        ("{{ trials | random }}", "sound Jinja"),
        ("{{ trials | sort }}", "sound Jinja"),
    ],
)
def test_what_would_be_wrong_in_silence_is_an_error(source, said):
    row = {"a": "J", "rt": "1.5", "comma": "0,75", "no": "false", "json": '{"q": 0}'}
    assert said in error_of(source, row)


def test_texts_are_compared_and_joined_as_texts():
    row = {"day": "2026-03-01", "a": "J", "n": "2", "json": '{"said": "", "no": false}'}
    source = (
        "{{ first.day > '2026-02-28' }} {{ first.a + first.n }} {{ first.n ~ first.n }} {{ first.a * 2 }} "
        "{{ [first.a, 'K'] | max }} {{ 'x' if (first.json | json).said else 'y' }} "
        "{{ (first.json | json).no is false }} {{ respond('x') }}"
    )
    assert tell(source, row).text == "True J2 22 JJ K y True <<x>>"


@pytest.mark.parametrize(
    "source",
    [
        "{{ first.__class__ }}",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ trials.__class__.__base__ }}",
        "{{ respond.__globals__ }}",
        "{{ labels.__func__.__globals__['__builtins__'] }}",
        "{{ self.__init__.__globals__ }}",
        "{{ '{0.__class__}'.format(first) }}",
        "{% for i in range(10 ** 9) %}{% endfor %}",
        "{{ 'x' * 10 ** 10 }}",
        "{{ 9 ** 999999999 }}",
        "{{ '%9999999999d' % 1 }}",
        "{{ '%9999999999d' | format(1) }}",
        "{{ '{:9999999999}'.format(1) }}",
        "{{ '{:{}}'.format(1, '9999999999') }}",
        "{{ '%*d' | format(9999999999, 1) }}",
        "{% set x = 'x' * 10 ** 6 %}{{ x.replace('x', x) }}",
        "{{ 'x'.ljust(9999999999) }}",
        "{% for i in range(99999) %}{{ 'x' * 9999 }}{% endfor %}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "{% do trials.append(1) %}",
        "{% set _ = {}.__setitem__('a', 1) %}{{ lipsum }}",
    ],
)
def test_a_hostile_template_is_refused(source):
    assert "t.jinja" in error_of(source + "{{ respond(first.a) }}", {"a": "J"})


@pytest.mark.parametrize("inner", ["range(99999)", "many"])
def test_a_template_that_does_not_end_is_stopped(inner, monkeypatch):
    monkeypatch.setattr("centaurlab.data.tables.sandbox.SECONDS", 0.2)
    endless = "{% set many = range(99999) %}{% for i in many %}{% for j in " + inner + " %}{% endfor %}{% endfor %}"
    assert "takes more than" in error_of(endless, {"a": "J"})


def test_letters_are_drawn_per_person_without_replacement():
    source = (
        "{% set one = labels('left', 'right') %}{% set two = labels(['up', 'down']) %}"
        "{{ one.values() | join }}{{ two.values() | join }} {{ respond('x') }}"
    )
    drawn = {tell(source, {"a": "J"}, person=f"p{i}").text.split()[0] for i in range(50)}
    assert all(len(set(letters)) == 4 and re.fullmatch("[A-Z]{4}", letters) for letters in drawn)
    assert len(drawn) > 45
    again = "{{ labels('left', 'right') == labels('left', 'right') }} {{ respond('x') }}"
    assert tell(again, {"a": "J"}).text.startswith("True")
    assert "of 26 are left" in error_of("{{ labels(range(20)) }}{{ labels(range(30, 40)) }}", {"a": "J"})


def test_blocks_are_runs_in_the_order_of_the_table():
    rows = [{"b": block} for block in ("2", "2", "10", "2")]
    told = tell(
        "{% for b, ts in trials | blocks('b') %}{{ b }}:{{ ts | length }} {% endfor %}{{ respond('x') }}", *rows
    )
    assert told.text == "2:2 10:1 2:1 <<x>>"


def test_json_in_a_cell_can_be_read_with_its_numbers_as_they_are():
    told = tell("{{ respond((first.r | json)['Q0']) }}", {"r": '{"Q0": 0.10}'})
    assert told.responses == ("0.10",)


def test_metadata_are_kept_beside_the_text_and_missing_ones_left_out():
    source = "{% do metadata(age=first.age | int, sex={'1': 'f'}[first.sex], x=first.x) %}{{ respond('a') }}"
    assert tell(source, {"age": "31", "sex": "1", "x": ""}).metadata == {"age": 31, "sex": "f"}
    assert tell(source, {"age": "", "sex": "", "x": "01"}).metadata == {"x": "01"}
