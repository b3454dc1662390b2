"""Studies, domains and people are selected by name and by a seeded order."""

from pathlib import Path

import pytest

from centaurlab.catalog.tables import domains_of
from centaurlab.data.persons import Persons
from centaurlab.data.source import DataArguments, open_source
from centaurlab.data.splits import held_out, person_order
from centaurlab.data.transcripts import SessionKey
from centaurlab.runtime.errors import UserError
from helpers.paths import PSYCH_201
from helpers.transcripts import session, write_transcripts


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two studies of the catalog (a reinforcement learning and a memory task), 40 and 5 people."""
    write_transcripts(tmp_path / "bahrami2020four.jsonl", [session(i) for i in range(40)])
    write_transcripts(tmp_path / "enkavi2019digitspan.jsonl.gz", [session(i) for i in range(5)])
    return tmp_path


def select(folder: Path, **settings: object) -> list[SessionKey]:
    return [transcript.key for transcript in open_source(DataArguments(data=str(folder), **settings))]


def persons_in(folder: Path) -> Persons:
    return open_source(DataArguments(data=str(folder))).persons


def test_without_settings_everything_is_read_in_the_order_of_the_files(folder):
    keys = select(folder)
    assert [key.participant for key in keys] == [str(i) for i in [*range(40), *range(5)]]
    assert [key.study for key in keys] == ["bahrami2020four"] * 40 + ["enkavi2019digitspan"] * 5


def test_studies_select_by_name(folder):
    assert {key.study for key in select(folder, studies="enkavi2019digitspan")} == {"enkavi2019digitspan"}
    assert len(select(folder, studies="enkavi2019digitspan, bahrami2020four")) == 45


def test_a_misspelt_study_is_refused_with_the_nearest_name(folder):
    with pytest.raises(UserError, match=r"no study 'enkavi2019digtspan'.*did you mean 'enkavi2019digitspan'\?"):
        select(folder, studies="bahrami2020four,enkavi2019digtspan")


def test_domains_select_by_the_catalog(folder):
    assert domains_of("enkavi2019digitspan") == ("Memory",)
    assert {key.study for key in select(folder, domains="Memory")} == {"enkavi2019digitspan"}
    assert len(select(folder, domains="Memory,Reinforcement Learning")) == 45
    with pytest.raises(UserError, match="no domain 'Memry'; there are Reinforcement Learning, Risky Choice"):
        select(folder, domains="Memry")
    with pytest.raises(UserError, match="no study of the domain 'Psychophysics' among bahrami2020four"):
        select(folder, domains="Psychophysics")


def test_train_and_test_participants_are_those_of_the_split_and_together_all(folder):
    everybody = select(folder)
    test, train = select(folder, participants="test"), select(folder, participants="train")
    assert set(test) == held_out(everybody, persons_in(folder), seed=0)
    assert sorted(map(str, test + train)) == sorted(map(str, everybody))
    assert not set(test) & set(train)
    assert set(select(folder, participants="test", data_seed=1)) == held_out(everybody, persons_in(folder), seed=1)


def test_who_is_held_out_does_not_depend_on_which_studies_are_selected(folder):
    alone = select(folder, participants="test", studies="enkavi2019digitspan")
    assert set(alone) == {key for key in select(folder, participants="test") if key.study == "enkavi2019digitspan"}


def test_max_participants_takes_the_first_of_the_seeded_order_of_each_study_in_the_order_of_the_file(folder):
    three, ten = select(folder, max_participants=3), select(folder, max_participants=10)
    order = person_order(select(folder), persons_in(folder), seed=0)
    assert set(three) == {key for people in order.values() for (key,) in people[:3]}
    assert set(three) < set(ten)
    assert len(ten) == 10 + 5
    assert [k for k in select(folder) if k in set(ten)] == ten
    assert select(folder, max_participants=3, data_seed=1) != three


def test_max_participants_counts_among_the_train_participants(folder):
    assert set(select(folder, participants="train", max_participants=4)) <= set(select(folder, participants="train"))
    assert len(select(folder, participants="train", max_participants=4)) == 8


def test_malformed_sessions_of_studies_that_are_not_selected_do_no_harm(folder):
    with (folder / "bahrami2020four.jsonl").open("a") as stream:
        stream.write("{\n")
    assert len(select(folder, studies="enkavi2019digitspan")) == 5
    with pytest.raises(UserError, match=r"bahrami2020four\.jsonl:41: invalid JSON"):
        select(folder, studies="bahrami2020four")


def test_where_nothing_can_be_read_the_reason_is_said_and_not_that_the_study_is_missing(tmp_path):
    (tmp_path / "s.jsonl").write_text("{")
    with pytest.raises(UserError, match=r"s\.jsonl:1: invalid JSON"):
        select(tmp_path / "s.jsonl", studies="bahrami2020four")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"participants": "tests"}, "--participants is 'tests'; choose all, train, test"),
        ({"on_malformed": "ignore"}, "--on_malformed is 'ignore'; choose error, skip"),
        ({"max_participants": 0}, "--max_participants is 0; it must be at least 1"),
        ({"data": "starter", "data_split": "test"}, "the starter set has no splits"),
        ({"data": "starter", "data_revision": "v1"}, "--data_revision is of a hub data set, and starter is none"),
        ({"data": "stater"}, "no such file or folder: stater"),
    ],
)
def test_settings_that_do_not_exist_are_refused_at_once(folder, settings, said):
    with pytest.raises(UserError) as caught:
        open_source(DataArguments(**{"data": str(folder), **settings}))
    assert said in str(caught.value)


@pytest.mark.parametrize("lacking", [0, 3])
def test_a_session_without_experiment_among_others_is_no_study_of_its_own(tmp_path, lacking):
    rows = [session(person) for person in "abcdef"]
    del rows[lacking]["experiment"]
    path = write_transcripts(tmp_path / "mine.jsonl", rows)
    with pytest.raises(UserError, match=rf"mine\.jsonl:{lacking + 1}: no `experiment`, which other sessions"):
        open_source(DataArguments(str(path))).persons  # noqa: B018, who the people are
    for row in rows:
        row.pop("experiment", None)
    named = write_transcripts(tmp_path / "named.jsonl", rows)
    assert {key.study for key in open_source(DataArguments(str(named))).ranked_keys()} == {"named"}


@pytest.mark.parametrize("half", ["train", "test"])
def test_of_a_folder_with_halves_of_its_own_no_others_are_made(tmp_path, half):
    for name, people in (("train", "abcdefghi"), ("test", "xy")):
        write_transcripts(tmp_path / f"{name}.jsonl", [session(person) for person in people])
    with pytest.raises(UserError, match="has several splits; choose --data_split test, --data_split train"):
        open_source(DataArguments(str(tmp_path), participants=half))
    assert len(list(open_source(DataArguments(str(tmp_path))))) == 11


@pytest.mark.skipif(not PSYCH_201.exists(), reason="needs the shared transcripts")
def test_real_transcripts_are_read_without_loss():
    source = open_source(DataArguments(data=str(PSYCH_201)))
    counts: dict[str, int] = {}
    for transcript in source:
        counts[transcript.study] = counts.get(transcript.study, 0) + 1
    assert len(counts) == 16
    assert set(counts.values()) == {24}
    assert source.notes == ("skipped 1 file (manifest.csv) without transcripts",)
    few = select(PSYCH_201, studies="guenther2024comprehension,busch2024_stroop", max_participants=3)
    assert [key.study for key in few] == ["busch2024_stroop"] * 3 + ["guenther2024comprehension"] * 3
