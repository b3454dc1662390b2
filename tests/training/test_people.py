"""Nobody who was trained on is tested, whatever the source of the tested and however many sessions people have."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from centaurlab.catalog import facts
from centaurlab.catalog.facts import StudyFacts
from centaurlab.data.held_out import Split, as_by_session, check_held_out
from centaurlab.data.source import DataArguments, open_source
from centaurlab.models.loading import load_tokenizer
from centaurlab.runtime.errors import UserError
from centaurlab.training.data import TrainingData, prepare_data
from centaurlab.training.model_card import held_out_results
from centaurlab.training.options import CentaurArguments
from helpers.json_files import write_json
from helpers.tiny_models import named
from helpers.transcripts import two_keys, write_transcripts


def days(study: str, people: Iterable[int], of_day: Iterable[int]) -> list[dict[str, object]]:
    """A session of each of the people on each day."""
    return [
        {"text": two_keys(100 * i + day), "experiment": f"{study}/day{day}", "participant": i, "age": 20 + i % 3}
        for i in people
        for day in of_day
    ]


def prepared(model: Path, path: Path, **settings: Any) -> TrainingData:
    return prepare_data(CentaurArguments(data=str(path), **settings), load_tokenizer(named(model)), 2048, seed=0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Forty people who come on three days, and twenty of another study who come once."""
    return write_transcripts(
        tmp_path / "s.jsonl", [*days("alpha", range(40), (1, 2, 3)), *days("beta", range(20), [1])]
    )


def test_whole_people_are_held_out_and_the_split_says_so(path: Path, tiny_llama_dir: Path) -> None:
    data = prepared(tiny_llama_dir, path)
    split = Split.from_dict(data.split | {"base_fingerprint": "b"})
    assert (len(split.train), len(split.test)) == (36 * 3 + 18, 4 * 3 + 2)
    assert split.held_out_by == "person"
    assert not split.on_both_sides(data.persons)
    people = data.split["studies"]["alpha"]["people"]
    assert (people["train"], people["test"]) == (36, 4)
    assert people["of_several_sessions"]["7"] == [[f"alpha/day{day}", "7"] for day in (1, 2, 3)]
    assert data.split["studies"]["beta"]["people"] == {"train": 18, "test": 2, "of_several_sessions": {}}
    evaluated = open_source(DataArguments(str(path), participants="test"))
    assert set(evaluated.ranked_keys()) == split.test


def test_limits_count_people(path: Path, tiny_llama_dir: Path) -> None:
    data = prepared(tiny_llama_dir, path, max_participants=5, eval_participants=2)
    assert {study: known["people"]["train"] for study, known in data.split["studies"].items()} == {
        "alpha": 5,
        "beta": 5,
    }
    assert len(data.split["studies"]["alpha"]["train"]) == 15
    assert len(data.held_out_keys) == 2 * 3 + 2
    results = held_out_results(data, [2.0] * 8, [1.0] * 8, [1] * 8)
    assert {result.study: (result.participants, result.responses) for result in results} == {
        "alpha": (2, 6),
        "beta": (2, 2),
    }


def test_people_of_eval_data_who_are_trained_on_are_not_held_out_and_are_named(
    path: Path, tmp_path: Path, tiny_llama_dir: Path
) -> None:
    later = write_transcripts(tmp_path / "later.jsonl", days("alpha", range(35, 45), [4]))
    data = prepared(tiny_llama_dir, path, eval_data=str(later))
    assert {who for _, who in data.split["studies"]["alpha"]["test"]} == {"40", "41", "42", "43", "44"}
    assert any("5 of 10 sessions of --eval_data" in note for note in data.notes)
    only = write_transcripts(tmp_path / "only.jsonl", days("alpha", range(5), [4]))
    with pytest.raises(UserError, match=r"all 5 sessions of --eval_data .* are of people who are trained on"):
        prepared(tiny_llama_dir, path, eval_data=str(only))


def test_a_novel_study_of_the_people_trained_on_is_named(
    path: Path, tiny_llama_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = {name: StudyFacts(name, sample="lab2020") for name in ("alpha", "beta")}
    monkeypatch.setattr(facts, "study_facts", lambda: known)
    data = prepared(tiny_llama_dir, path, novel_studies="beta")
    (note,) = [note for note in data.notes if note.startswith("novel study beta: nearest training study alpha, ")]
    assert int(note.partition("alpha, ")[2].partition(" of 20 people shared")[0]) >= 16
    assert note.endswith("both are of one sample (a sibling)")
    (novelty,) = data.split["novelty"]
    assert (novelty["study"], novelty["training_study"], novelty["sibling"]) == ("beta", "alpha", True)


def test_an_adapter_that_was_split_by_session_says_whom_it_knows(path: Path, tmp_path: Path) -> None:
    source = open_source(DataArguments(str(path)))
    keys = [key for key in source.ranked_keys() if key.experiment == "alpha/day1"]
    keys += [key for key in source.ranked_keys() if key.experiment in ("alpha/day2", "alpha/day3")]
    sides = {"train": [[k.experiment, k.participant] for k in keys[10:]]}
    sides["test"] = [[k.experiment, k.participant] for k in keys[:10]]
    about = {"data": str(path), "eval_data": None, "novel_studies": [], "split_seed": 0, "base_fingerprint": "b"}
    about |= {"studies": {"alpha": {"fingerprint": "f", **sides}}}
    split = Split.from_dict(about)
    assert split.held_out_by == "session"
    assert split.on_both_sides(source.persons) == set(keys[:10])
    (tmp_path / "adapter").mkdir()
    write_json(tmp_path / "adapter" / "split.json", about)
    test = DataArguments(str(path), participants="test")
    with pytest.raises(UserError, match=r"was trained on the people of 12 sessions of --participants test.*by session"):
        check_held_out([str(tmp_path / "adapter")], test, open_source(test))


def test_a_run_of_an_older_version_goes_on_where_its_people_are_the_same(path: Path, tiny_llama_dir: Path) -> None:
    split = prepared(tiny_llama_dir, path).split
    older = as_by_session(split)
    assert "held_out_by" not in older
    assert older["studies"]["beta"] == {
        name: split["studies"]["beta"][name] for name in ("fingerprint", "train", "test")
    }
    assert older.keys() | {"held_out_by", "split", "novelty"} == split.keys()


def families_file(folder: Path) -> Path:
    """Six studies in three pairs, each pair told with the same sentences."""
    rows = []
    for number, told in enumerate(
        (
            "Slot machines and cards lie in a bright casino by night",
            "You read long words that nobody knows and guess what they mean",
            "Find the shortest way home on an old grey map",
        )
    ):
        for study in (f"a{number}", f"b{number}"):
            rows += [
                {
                    "text": f"{told}.\n{study} {i} asks you. You press <<J>>.\n",
                    "experiment": study,
                    "participant": f"{study}-{i}",
                }
                for i in range(4)
            ]
    return write_transcripts(folder / "families.jsonl", rows)


def test_by_study_a_tenth_of_the_studies_is_held_out_and_by_paradigm_with_all_siblings(
    tmp_path: Path, tiny_llama_dir: Path
) -> None:
    path = families_file(tmp_path)
    by_study, by_paradigm, named = (
        prepared(tiny_llama_dir, path, **settings)
        for settings in ({"split": "study"}, {"split": "paradigm"}, {"split": "paradigm", "novel_studies": "a1"})
    )
    (drawn,) = by_study.split["novel_studies"]
    (near,) = by_study.split["novelty"]
    assert near["sibling"]
    assert near["training_study"] == drawn.translate(str.maketrans("ab", "ba"))
    assert by_paradigm.split["novel_studies"] == sorted((drawn, near["training_study"]))
    assert not any(one["sibling"] for one in by_paradigm.split["novelty"])
    assert named.split["novel_studies"] == ["a1", "b1"]
    assert set(named.split["studies"]) == {"a0", "b0", "a2", "b2"}


def test_where_all_studies_are_siblings_nothing_is_left_to_train_on(tmp_path: Path, tiny_llama_dir: Path) -> None:
    path = write_transcripts(tmp_path / "s.jsonl", [*days("a", range(4), [1]), *days("b", range(4), [1])])
    with pytest.raises(UserError, match="nothing is left to train on"):
        prepared(tiny_llama_dir, path, split="paradigm", novel_studies="a")
