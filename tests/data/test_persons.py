"""Who is one person: by column, catalog, id and metadata; and nobody is on two sides, whatever is selected."""

import itertools
import random
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from centaurlab.catalog import facts
from centaurlab.catalog.facts import StudyFacts
from centaurlab.data.persons import (
    ANEW,
    BY_CATALOG,
    BY_COLUMN,
    BY_METADATA,
    OTHER_METADATA,
    UNTOLD,
    Persons,
    find_persons,
    traits_of,
)
from centaurlab.data.source import DataArguments, open_source
from centaurlab.data.splits import first_people, held_out, partition, person_order
from centaurlab.data.transcripts import SessionKey
from helpers.paths import PSYCH_201, SHARED
from helpers.transcripts import TEXT, write_transcripts

PERSONS = SHARED / "data" / "persons"
Session = tuple[SessionKey, Mapping[str, Any]]


def day(number: object, participant: object = 7, study: str = "casino2024", **fields: object) -> Session:
    return SessionKey(study, f"{study}/day{number}", str(participant)), fields


def groups(sessions: Iterable[Session]) -> list[list[str]]:
    """The experiments of each person, by what ``Persons`` says."""
    sessions = list(sessions)
    people = find_persons(sessions).by_person(key for key, _ in sessions)
    return sorted([key.experiment.rpartition("/")[2] for key in keys] for keys in people.values())


TOGETHER, APART = [["day1", "day2"]], [["day1"], ["day2"]]


@pytest.mark.parametrize(
    ("first", "second", "expected", "why"),
    [
        ({"age": 37}, {"age": "37.0"}, TOGETHER, BY_METADATA),
        ({"gender": "Female"}, {"gender": " female"}, TOGETHER, BY_METADATA),
        ({"FACSIMILE A/D": -0.03}, {"FACSIMILE A/D": -0.03}, TOGETHER, BY_METADATA),
        ({"age": 37}, {"age": 25}, APART, OTHER_METADATA),
        ({"age": 37, "gender": "f"}, {"age": 37, "gender": "m"}, APART, OTHER_METADATA),
        ({"gender": "Female"}, {"gender": "f"}, TOGETHER, BY_METADATA),
        ({"native": True}, {"native": "true"}, TOGETHER, BY_METADATA),
        ({"native": True}, {"native": False}, APART, OTHER_METADATA),
        ({"age": 37}, {"age": 38}, TOGETHER, BY_METADATA),
        ({"age": 38}, {"age": 39}, TOGETHER, BY_METADATA),
        ({"age": 37}, {"age": 39}, APART, OTHER_METADATA),
        ({"age": "18-25"}, {"age": "26-35"}, APART, OTHER_METADATA),
        ({"age": 37, "BDI-II score": 3}, {"age": 37, "BDI-II score": 4}, TOGETHER, BY_METADATA),
        ({"BDI-II score": 3}, {"BDI-II score": 4}, TOGETHER, UNTOLD),
        ({"age": 37, "drug": "levodopa"}, {"age": 37, "drug": "placebo"}, TOGETHER, BY_METADATA),
        ({"visit": 1, "group": "A"}, {"visit": 2, "group": "B"}, TOGETHER, UNTOLD),
        ({"partner_gender": "f"}, {"partner_gender": "m"}, TOGETHER, UNTOLD),
        ({"age": 37, "accuracy": 0.5}, {"age": 37, "accuracy": 0.9}, TOGETHER, BY_METADATA),
        ({"age": 37, "total_score": 5}, {"age": 37, "total_score": 9}, TOGETHER, BY_METADATA),
        ({"participant_id": "7a"}, {"participant_id": "7b"}, TOGETHER, UNTOLD),
        ({"age": 37, "BDI": 3}, {"age": 37}, TOGETHER, BY_METADATA),
        ({}, {}, TOGETHER, UNTOLD),
        ({"age": 37}, {}, TOGETHER, UNTOLD),
        ({"age": 37}, {"gender": "f"}, TOGETHER, UNTOLD),
        ({"age": 37}, {"age": "N/A"}, TOGETHER, UNTOLD),
        ({"age": float("nan")}, {"age": float("nan")}, TOGETHER, UNTOLD),
        ({"RTs": [1, 2]}, {"RTs": [3, 4]}, TOGETHER, UNTOLD),
        ({"condition": "a", "bonus": 3}, {"condition": "b", "bonus": 4}, TOGETHER, UNTOLD),
        ({"test_date": "Monday", "age": 3}, {"test_date": "Tuesday", "age": 3}, TOGETHER, BY_METADATA),
        ({"person": "x", "age": 3}, {"person": "x", "age": 4}, TOGETHER, BY_COLUMN),
        ({"person": "x", "age": 3}, {"person": "y", "age": 3}, APART, None),
    ],
)
def test_sessions_of_one_id_are_one_persons_unless_something_tells_them_apart(
    first: dict[str, object], second: dict[str, object], expected: list[list[str]], why: str | None
) -> None:
    sessions = [day(1, **first), day(2, **second)]
    assert groups(sessions) == groups(sessions[::-1]) == expected
    assert find_persons(sessions).how == ({"casino2024": {why: 1}} if why else {})


@pytest.mark.parametrize("name", ["RTs", "RTs_mean", "meanRT", "RTms", "response_times", "reaction time", "choices"])
def test_what_a_session_lists_says_nothing_of_the_person(name: str) -> None:
    assert not traits_of({name: "[512, 430]"})


@pytest.mark.parametrize("name", ["RTs", "RT", "responsetime"])
def test_a_time_says_nothing_of_the_person(name: str) -> None:
    assert not traits_of({name: 512.5})


def test_nothing_is_joined_across_ids_or_studies() -> None:
    same = {"age": 37, "FACSIMILE A/D": 0.25}
    sessions = [day(1, 7, **same), day(1, 8, **same), day(1, 7, "other2024", **same)]
    assert len(find_persons(sessions).by_person(key for key, _ in sessions)) == 3
    assert not find_persons(sessions).how


def test_a_person_column_joins_across_ids_and_studies() -> None:
    sessions = [day(1, 7, person="p"), day(1, 8, person="p"), day(1, 9, "other2024", person="p"), day(1, 9)]
    persons = find_persons(sessions)
    assert len(persons.by_person(key for key, _ in sessions)) == 2
    assert [persons.joined(key) for key, _ in sessions] == ["p", "p", None, None]


def test_the_catalog_knows_what_the_ids_of_a_study_mean() -> None:
    ages = [day(n, 7, "sandbrink2024metacontrol", age=n) for n in (1, 2)]
    assert groups(ages) == TOGETHER
    assert find_persons(ages).how == {"sandbrink2024metacontrol": {BY_CATALOG: 1}}
    untold = [day(n, 7, "spektor2019contexteffects") for n in (1, 2)]
    assert groups(untold) == APART
    assert find_persons(untold).how == {"spektor2019contexteffects": {ANEW: 1}}


def test_people_are_called_by_their_id_where_that_tells_them_apart() -> None:
    sessions = [day(1, 7, age=1), day(2, 7, age=4), day(3, 7, age=4), day(1, 8), day(2, 8), day(1, 9)]
    persons = find_persons(sessions)
    assert [persons.name(key) for key, _ in sessions] == [
        *("7 (casino2024/day1)", "7 (casino2024/day2)", "7 (casino2024/day2)"),
        *("8", "8", "9"),
    ]
    assert [persons.joined(key) for key, _ in sessions] == [
        *(None, "7 (casino2024/day2)", "7 (casino2024/day2)"),
        *("8", "8", None),
    ]
    alone = [persons.unit(key) for key, _ in (sessions[0], sessions[5])]
    assert alone == [("casino2024", "casino2024/day1", "7"), ("casino2024", "casino2024/day1", "9")]


def connected(sessions: list[Session]) -> list[list[str]]:
    """Brute force: two sessions are alike unless sex differs or age by over a year; people are what is connected."""
    most = {"age": 1, "sex": 0}
    parent = {key: {key} for key, _ in sessions}
    for (first, a), (second, b) in itertools.combinations(sessions, 2):
        if all(abs(a[name] - b[name]) <= most[name] for name in a.keys() & b.keys() & most.keys()):
            together = parent[first] | parent[second]
            for key in together:
                parent[key] = together
    people = {frozenset(together) for together in parent.values()}
    return sorted(sorted(key.experiment.rpartition("/")[2] for key in person) for person in people)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.dictionaries(st.sampled_from(["age", "sex", "BDI"]), st.integers(0, 4)), min_size=1, max_size=8))
def test_people_are_what_is_connected_by_sessions_that_nothing_tells_apart(metadata: list[dict[str, int]]) -> None:
    sessions = [day(i, **fields) for i, fields in enumerate(metadata)]
    assert groups(sessions) == connected(sessions)


def test_a_thousand_sessions_of_one_id_take_no_time() -> None:
    sessions = [day(i, 0, age=2 * i) for i in range(20_000)]
    persons = find_persons(sessions)
    assert len(persons.by_person(key for key, _ in sessions)) == 20_000


def casino(n_people: int = 212, n_returning: int = 194) -> list[dict[str, object]]:
    """Sessions like those of sandbrink2024metacontrol: most people come on two or three days, some scores recur."""
    draw = random.Random(3)
    rows = []
    for participant in range(100, 100 + n_people):
        scores = {"A/D": draw.randrange(100) / 7, "Compul": draw.randrange(3), "SW": 0.5}
        days = draw.sample(range(6), 1 if participant >= 100 + n_returning else draw.choice([2, 3, 4]))
        rows += [
            {"text": TEXT, "experiment": f"casino2024/day{day}", "participant": participant, **scores} for day in days
        ]
    draw.shuffle(rows)
    return rows


def check_sides(path: Path, **settings: object) -> Persons:
    """That nobody is on two sides; selections hold whole people, as many of each study as they should."""
    source = open_source(DataArguments(str(path), on_malformed="skip"))
    persons, keys = source.persons, [key for key, _ in source.everybody()]
    people_of = {study: len(people) for study, people in person_order(keys, persons, 0).items()}
    for seed in range(5):
        args = DataArguments(str(path), on_malformed="skip", data_seed=seed)
        test, train = (set(open_source(replace(args, participants=half)).ranked_keys()) for half in ("test", "train"))
        assert test | train == set(keys)
        assert {persons.unit(key) for key in test}.isdisjoint(persons.unit(key) for key in train)
        for study, people in person_order(test, persons, seed).items():
            n = people_of[study]
            assert len(people) == min(max(n // 10, n >= 2), 100)
        few = set(open_source(replace(args, max_participants=3)).ranked_keys())
        assert {study: len(people) for study, people in person_order(few, persons, seed).items()} == {
            study: min(n, 3) for study, n in people_of.items()
        }
        assert few == {key for key in keys if persons.unit(key) in {persons.unit(key) for key in few}}
    return persons


def test_nobody_is_on_two_sides_of_a_study_whose_people_come_back(tmp_path: Path) -> None:
    rows = casino()
    path = write_transcripts(tmp_path / "casino.jsonl.gz", rows)
    persons = check_sides(path)
    keys = {SessionKey("casino2024", str(row["experiment"]), str(row["participant"])) for row in rows}
    assert len(persons.by_person(keys)) == 212
    assert persons.how == {"casino2024": {BY_METADATA: 194}}
    parquet = write_transcripts(tmp_path / "casino.parquet", [row | {"RTs": [1, 2]} for row in rows])
    assert open_source(DataArguments(str(parquet))).persons == persons


def test_who_is_held_out_is_a_matter_of_the_person_and_not_of_how_many_sessions() -> None:
    """Of people with one and with four sessions, as many are held out."""
    sessions = [day(n, i, person=i) for i in range(400) for n in range(1 if i < 200 else 4)]
    persons, keys = find_persons(sessions), [key for key, _ in sessions]
    shares = []
    for seed in range(50):
        people = {int(key.participant) for key in held_out(keys, persons, seed)}
        assert len(people) == 40
        shares.append(sum(i < 200 for i in people) / 40)
    assert abs(sum(shares) / 50 - 0.5) < 0.05


@pytest.fixture
def shared_sample(monkeypatch: pytest.MonkeyPatch) -> list[SessionKey]:
    """Two studies of one sample, whose people mostly took part in both, and one of others."""
    known = {name: StudyFacts(name, sample="lab2020") for name in ("flanker2020", "nback2020")}
    monkeypatch.setattr(facts, "study_facts", lambda: known)
    ids = {"flanker2020": range(100), "nback2020": range(60, 200), "other2021": range(50)}
    return [SessionKey(study, study, str(i)) for study, people in ids.items() for i in people]


def test_who_is_held_out_in_one_study_of_a_sample_is_so_in_the_others(shared_sample: list[SessionKey]) -> None:
    persons = find_persons((key, {}) for key in shared_sample)
    for seed in range(20):
        parts = partition(shared_sample, persons, seed)
        sides = [{persons.unit(key) for key in side} for side in (parts.train, parts.test)]
        assert sides[0].isdisjoint(sides[1])
        n = {
            study: sum(key.study == study for key in parts.test) for study in ("flanker2020", "nback2020", "other2021")
        }
        assert n["flanker2020"] >= 10
        assert n["nback2020"] >= 14
        assert n["other2021"] == 5
        flanker = first_people(shared_sample, persons, 10, seed)
        assert {key for key in flanker if key.study == "flanker2020"} <= parts.test
        novel = partition(shared_sample, persons, seed, ["nback2020"])
        assert novel.test == {key for key in parts.test if key.study != "nback2020"}


@pytest.mark.skipif(not PERSONS.exists(), reason="needs the shared transcripts")
def test_in_real_data_every_person_is_found_and_on_one_side() -> None:
    persons = check_sides(PERSONS / "sandbrink2024metacontrol.jsonl.gz")
    assert persons.n_ids == {"sandbrink2024metacontrol": 212}
    assert persons.how == {"sandbrink2024metacontrol": {BY_CATALOG: 194}}
    sessions = list(open_source(DataArguments(str(PERSONS / "sandbrink2024metacontrol.jsonl.gz"))).everybody())
    unknown = [(replace(key, study="casino2024"), fields) for key, fields in sessions]
    assert len(sessions) == 588
    for known in (sessions, unknown):
        assert len(find_persons(known).by_person(key for key, _ in known)) == 212
    assert find_persons(unknown).how == {"casino2024": {BY_METADATA: 194}}
    anew = check_sides(PERSONS / "spektor2019contexteffects.jsonl.gz")
    assert anew.how == {"spektor2019contexteffects": {ANEW: 29}}
    assert not anew.any_joined


@pytest.mark.skipif(not PSYCH_201.exists(), reason="needs the shared transcripts")
def test_in_every_real_study_nobody_is_on_two_sides() -> None:
    check_sides(PSYCH_201)


def test_in_every_study_of_the_starter_set_everybody_is_a_person_with_one_session() -> None:
    source = open_source(DataArguments())
    assert not source.persons.how
    assert not source.persons.any_joined
    keys = list(source.ranked_keys())
    assert len(source.persons.by_person(keys)) == len(keys) == 4413
