import math
from pathlib import Path

import pytest

from centaurlab.cli.options import collect_options, print_options
from centaurlab.data.source import DataArguments, open_source
from centaurlab.runtime.errors import UserError
from helpers.studies import write_module
from helpers.transcripts import write_transcripts

RATING = 'Choose 1 to 6.\n\nStatement: "Am calm." You choose <<{}>>.\nStatement: "Am shy." You choose <<{}>>.'
OWN = "You see {0} and {1}. You press <<{0}>>. You press <<{1}>>."

MODULE = """
from centaurlab.catalog.studies import Ask, Study, letters


def ask(segment, past, opening):
    return Ask(options=letters(opening), roles=("left", "right"))


STUDIES = (Study("mine2026", ask, first_trial="You press"),)
"""


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COLUMNS", "160")
    sessions = [
        {"text": RATING.format(2, 6), "experiment": "revelle2010personality/1", "participant": 1},
        {"text": RATING.format(5, 5), "experiment": "revelle2010personality/1", "participant": 2},
        {"text": OWN.format("J", "F"), "experiment": "mine2026/1", "participant": 1},
        {"text": OWN.format("A", "B"), "experiment": "mine2026/1", "participant": 2},
    ]
    return write_transcripts(tmp_path / "s.jsonl", sessions)


def test_each_study_has_its_rule_sets_and_chance_level(path):
    ratings, mine = collect_options(open_source(DataArguments(data=str(path))))
    assert (ratings.sessions, ratings.responses, ratings.rules) == (2, 4, {"module": 2})
    assert ratings.sets == {hash(tuple("123456"))}
    assert ratings.chance_nll == pytest.approx(math.log(6))
    assert mine.rules == {"own answers": 2}
    assert mine.sets == {hash(("F", "J")), hash(("A", "B"))}
    assert (mine.share_with_options, mine.outside, mine.unreadable) == (1.0, [], [])


def test_a_place_says_what_was_asked_offered_and_said(path):
    ratings = collect_options(open_source(DataArguments(data=str(path))))[0]
    example = ratings.examples[0]
    assert example.before.endswith('"Am calm." You choose ')
    assert (example.response, example.answer, example.options) == (1, "2", tuple("123456"))


def test_the_table_and_examples_are_printed(path, capsys):
    print_options(DataArguments(data=str(path)))
    printed = capsys.readouterr().out
    (row,) = [line for line in printed.splitlines() if "│ mine2026" in line]
    assert [cell.strip() for cell in row.strip("│").split("│")] == [
        *("mine2026", "own answers", "2", "4", "100 %", "2", "0.693", "0")
    ]
    assert "revelle2010personality, for example: " in printed
    assert "<<2>>, of 6: 1 | 2 | 3 | 4 | 5 | 6" in printed


def test_a_study_module_of_ones_own_gives_options_and_roles(path, capsys, tmp_path):
    print_options(DataArguments(data=str(path), study_module=str(write_module(tmp_path, MODULE))))
    printed = capsys.readouterr().out
    assert "mine2026" in printed
    assert "<<J>> (left), of 2: J | F" in printed


def test_answers_outside_the_options_of_a_module_are_listed_and_an_error(path, capsys, tmp_path):
    wrong = write_module(tmp_path, MODULE.replace("letters(opening)", '("J", "F")'))
    with pytest.raises(UserError, match="2 answers in mine2026 are none of its options, as listed"):
        print_options(DataArguments(data=str(path), study_module=str(wrong)))
    printed = capsys.readouterr().out
    assert "participant '2' of 'mine2026' (experiment 'mine2026/1'), response 1 is none of its options" in printed


def test_a_blank_answer_does_not_say_that_a_module_reads_wrongly(capsys, tmp_path):
    sessions = [{"text": RATING.format(2, ""), "experiment": "revelle2010personality/1", "participant": 1}]
    path = write_transcripts(tmp_path / "s.jsonl", sessions)
    print_options(DataArguments(data=str(path), on_malformed="skip"))
    assert "none of its options" not in capsys.readouterr().out


def test_sessions_that_ones_own_module_cannot_read_are_listed_and_an_error(path, capsys, tmp_path):
    broken = write_module(tmp_path, MODULE.replace("letters(opening)", "letters(opening)[:past[0]]"))
    with pytest.raises(UserError, match=r"my_study\.py cannot read 2 of 2 sessions of mine2026"):
        print_options(DataArguments(data=str(path), study_module=str(broken)))
    assert "response 1: IndexError" in capsys.readouterr().out
