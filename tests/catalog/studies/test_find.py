import re

import pytest

from centaurlab.catalog.studies import Ask, Study, catalog_studies, find_study, instructions, load_studies, read_trials
from centaurlab.data.options import cut_at_responses
from centaurlab.runtime.errors import UserError
from helpers.paths import ROOT
from helpers.studies import write_module

OWN = """
from centaurlab.catalog.studies import Ask, Study, letters


def ask(segment, past, opening):
    return Ask(options=letters(opening), roles=("sun", "rain"))


STUDIES = (Study("weather2026", ask, first_trial="Day 1", also_called=("Weather 2026",)),)
"""


def test_a_study_is_found_by_each_of_its_names():
    study = find_study("guenther2022relational")
    assert study is not None
    assert find_study("guenther2022Relational") is study
    assert find_study("nobody2020nothing") is None


def test_every_study_has_a_name_of_its_own():
    names = [name for study in set(catalog_studies().values()) for name in (study.name, *study.also_called)]
    assert sorted(names) == sorted(catalog_studies())


EXAMPLES = {f"hbayesdm2017{name}" for name in ("twostep", "decks", "bandit", "reversal")}


def test_feedback_is_what_the_texts_show():
    by_feedback = {
        "full": {"busch2024_stroop", "olschewski2024skewness", "spektor2019contexteffects"},
        "contingent": {"alsobay2025publicGoodsGame", "sandbrink2024metacontrol", "shahar2019twosteptask", *EXAMPLES},
        "branching": {"schiekiera2025metascience"},
    }
    for study in catalog_studies().values():
        assert study.feedback == next((kind for kind, names in by_feedback.items() if study.name in names), "none")


def test_a_study_of_ones_own_is_one_file(tmp_path):
    own = load_studies(write_module(tmp_path, OWN))
    study = find_study("Weather 2026", own)
    assert study is not None
    assert study.name == "weather2026"
    assert study.ask("Day 1: ", [], "X is sun, Y is rain. Day 1: ").role_of("Y") == "rain"


def test_blocks_are_counted_from_any_number():
    def ask(segment, past, opening):
        return Ask(options=("a", "b"), block=len(past) // 2 if len(past) % 2 == 0 else None)

    trials = read_trials(Study("mine2026", ask, first_trial="^"), ["q"] * 7, ["a"] * 6)
    assert [trial.block for trial in trials] == [0, 0, 1, 1, 2, 2]


def test_ones_own_module_goes_before_the_catalogs(tmp_path):
    own = load_studies(write_module(tmp_path, OWN.replace("weather2026", "busch2024_stroop")))
    assert find_study("busch2024_stroop", own) is own["busch2024_stroop"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("def ask(:", "fails when it is run: SyntaxError"),
        ("import nothing_of_that_name", "fails when it is run: ModuleNotFoundError"),
        ("1 / 0", "fails when it is run: ZeroDivisionError: division by zero; correct it"),
        ("", "defines no STUDIES; end it with STUDIES ="),
        ("STUDIES = ()", "defines no STUDIES"),
        ("STUDIES = ('weather2026',)", "defines no STUDIES"),
        (OWN + "STUDIES = (*STUDIES, *STUDIES)", "two studies are called 'weather2026'"),
    ],
)
def test_a_file_that_is_none_is_refused_in_one_sentence(tmp_path, text, problem):
    path = write_module(tmp_path, text)
    with pytest.raises(UserError, match=f"^{path}:? .*{problem}"):
        load_studies(path)


def test_the_example_of_the_docs_reads_the_session_of_the_docs(tmp_path):
    page = (ROOT / "docs" / "studies.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (session,) = re.findall(r"```\n(In each round.*?)```", page, re.DOTALL)
    study = load_studies(write_module(tmp_path, code))["mine2026"]
    first, second = read_trials(study, *cut_at_responses(session))
    assert (first.options, first.role, second.role) == (("J", "F"), "safe", "risky")
    assert (first.outcome, second.outcome) == ({"points": 3.0}, {"points": 0.0})
    assert instructions(study, "Choose J or F.\nRound 1. ") == "Choose J or F.\n"


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UserError, match=r"no study module .*nowhere\.py; name a Python file"):
        load_studies(tmp_path / "nowhere.py")
    with pytest.raises(UserError, match="no study module"):
        load_studies(tmp_path)
