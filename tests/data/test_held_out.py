"""Who was trained on and who was held out is read from the folder of a training, or the reason why it cannot be."""

import json
import os
from pathlib import Path

import pytest

from centaurlab.data.held_out import Split, check_held_out, read_split
from centaurlab.data.source import DataArguments, TranscriptSource, open_source
from centaurlab.data.transcripts import SessionKey
from centaurlab.runtime.errors import UserError
from helpers.json_files import write_json
from helpers.transcripts import session, write_transcripts

SPLIT = {
    "data": "people.jsonl",
    "eval_data": None,
    "studies": {"a": {"fingerprint": "f00", "train": [["e", "1"], ["e", "2"]], "test": [["e", "3"]]}},
    "novel_studies": ["b"],
    "split_seed": 3,
    "base_fingerprint": "b00",
}


def test_it_is_read_as_it_was_written(tmp_path: Path) -> None:
    write_json(tmp_path / "split.json", SPLIT)
    trained, held_out = [SessionKey("a", "e", "1"), SessionKey("a", "e", "2")], [SessionKey("a", "e", "3")]
    expected = Split("people.jsonl", None, frozenset(trained), frozenset(held_out), ("b",), 3, "b00")
    assert read_split(tmp_path) == expected


def test_ids_as_older_versions_wrote_them_are_those_of_today(tmp_path: Path) -> None:
    """An adapter of which split.json has ids as the data have them is held to whom it was trained on."""
    raw = ["12 ", "e\u0301va", " 7"]
    data = write_transcripts(tmp_path / "d.jsonl", [session(1) | {"participant": name} for name in raw])
    source = open_source(DataArguments(str(data)))
    sides = {"train": [["e", "12 "], ["e", "e\u0301va"]], "test": [["e", " 7"]]}
    split = Split.from_dict(SPLIT | {"studies": {"a ": sides}})
    assert split.train == {SessionKey("a", "e", "12"), SessionKey("a", "e", "\u00e9va")}
    assert split.test == {SessionKey("a", "e", "7")}
    (key, *_) = source.ranked_keys()
    written = {"train": [[key.experiment, name] for name in raw], "test": []}
    about = {"data": str(data), "split_seed": 0, "studies": {key.study: written}}
    write_json(tmp_path / "split.json", SPLIT | about)
    with pytest.raises(UserError, match=r"trained on the people of \d sessions of --participants test.*older version"):
        check_held_out([str(tmp_path)], DataArguments(str(data), participants="test"), source)


@pytest.mark.parametrize(
    "content",
    [
        None,
        "",
        "[1]",
        json.dumps({name: value for name, value in SPLIT.items() if name != "split_seed"}),
        json.dumps(SPLIT | {"split_seed": "many"}),
        json.dumps(SPLIT | {"studies": ["a"]}),
        json.dumps(SPLIT | {"studies": {"a": {"train": [["e"]], "test": []}}}),
    ],
)
def test_a_folder_that_does_not_say_it_is_refused(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "split.json").write_text(content)
    with pytest.raises(UserError, match=r"holds no split\.json, or a damaged one.*give the whole folder"):
        read_split(tmp_path)


def test_an_adapter_that_held_out_nobody_is_refused(tmp_path: Path) -> None:
    studies = {"alpha": {"train": [["exp", "1"]], "test": []}}
    write_json(tmp_path / "split.json", SPLIT | {"studies": studies, "novel_studies": []})
    with pytest.raises(UserError, match="held out nobody to judge it on; train with more people or --novel_studies"):
        read_split(tmp_path)


def test_an_adapter_is_read_from_a_folder_that_cannot_be_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_json(tmp_path / "split.json", SPLIT)
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write anywhere
    assert read_split(tmp_path).split_seed == 3


@pytest.mark.parametrize("models", [("run", None), ("base", "run"), ("base", "run/checkpoint-4")])
@pytest.mark.parametrize("data", ["people.jsonl", "./people.jsonl", "../{here}/people.jsonl"])
def test_people_of_another_seed_are_refused_however_adapter_and_data_are_named(
    models: tuple[str, str | None], data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("run").mkdir()
    write_json(Path("run/split.json"), SPLIT)
    write_transcripts(Path("people.jsonl"), [session(person) for person in range(10)])
    asked = DataArguments(data.format(here=tmp_path.name), participants="test", data_seed=1)
    with pytest.raises(UserError, match=r"run.* was trained with --split_seed 3, which held out other people"):
        check_held_out(models, asked, open_source(asked))


def test_people_who_were_trained_on_are_known_wherever_the_data_lie(tmp_path: Path) -> None:
    rows = [session(person) for person in range(20)]
    here, copy, others = (write_transcripts(tmp_path / f"{name}.jsonl", rows) for name in ("here", "copy", "others"))
    write_transcripts(others, [row | {"experiment": "jones2021bandit"} for row in rows])
    held_out = {seed: {key.participant for key in _tested(here, seed)} for seed in (0, 3)}
    assert held_out[0] != held_out[3]
    sides = {
        side: [["smith2020bandit/exp1.csv", str(i)] for i in range(20) if (str(i) in held_out[3]) == (side == "test")]
        for side in ("train", "test")
    }
    write_json(tmp_path / "split.json", SPLIT | {"data": str(here), "studies": {"smith2020bandit": sides}})
    for data, seed in ((copy, 3), (others, 0), (others, 3)):
        check_held_out([str(tmp_path)], *_asked(data, seed))
    with pytest.raises(UserError, match=r"trained on .*here\.jsonl.* give --data_seed 3"):
        check_held_out([str(tmp_path)], *_asked(copy, 0))


def _asked(data: Path, seed: int) -> tuple[DataArguments, TranscriptSource]:
    asked = DataArguments(str(data), participants="test", data_seed=seed)
    return asked, open_source(asked)


def _tested(data: Path, seed: int) -> list[SessionKey]:
    return list(_asked(data, seed)[1].ranked_keys())
