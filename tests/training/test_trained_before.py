"""A model that was trained on people before: whom a further training may hold out, and on whom it may be judged."""

import json
from pathlib import Path

import pytest

from centaurlab.data.held_out import check_held_out, read_split
from centaurlab.data.source import DataArguments, open_source
from centaurlab.jobs.generalisation import GeneralisationArguments, split_of_foreign
from centaurlab.runtime.errors import UserError
from centaurlab.training.centaur import train
from centaurlab.training.options import CentaurArguments
from centaurlab.training.posttrain import posttrain
from helpers.trainings import start_centaur, start_posttraining
from helpers.transcripts import sessions_of, two_keys, write_transcripts


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = sessions_of(["alpha", "beta"], 20, lambda study, person: two_keys(person, 2))
    return write_transcripts(tmp_path_factory.mktemp("people") / "d.jsonl", rows)


@pytest.fixture(scope="module")
def centaur(tiny_llama_dir: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("centaur") / "a"
    train(start_centaur(tiny_llama_dir, folder, CentaurArguments(data=str(data)), max_steps=1))
    return folder


def test_people_whom_the_model_knows_are_not_held_out(centaur: Path, data: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"trained on the people of \d sessions that would be held.*--split_seed 0"):
        start_centaur(centaur, tmp_path / "b", CentaurArguments(data=str(data), split_seed=1), max_steps=1)
    with pytest.raises(UserError, match="was trained on beta before, not novel to it"):
        start_centaur(centaur, tmp_path / "n", CentaurArguments(data=str(data), novel_studies="beta"), max_steps=1)
    others = write_transcripts(tmp_path / "o.jsonl", sessions_of(["alpha"], range(20, 24), lambda _, p: two_keys(p, 2)))
    held_out = CentaurArguments(data=str(others), eval_data=str(data))
    with pytest.raises(UserError, match=r"would be held out, such as .*give other --eval_data"):
        start_centaur(centaur, tmp_path / "e", held_out, max_steps=1)
    run = start_centaur(centaur, tmp_path / "c", CentaurArguments(data=str(data)), max_steps=1)
    assert run.data.split["studies"].keys() == {"alpha", "beta"}
    known, before = read_split(tmp_path / "c"), read_split(centaur)
    assert (known.train, known.test) == (before.train, before.test)
    again = start_centaur(centaur, tmp_path / "c", CentaurArguments(data=str(data)), max_steps=1)
    assert again.checkpoint is None


def test_what_is_made_of_a_centaur_knows_its_people(centaur: Path, data: Path, tmp_path: Path) -> None:
    posttrain(start_posttraining(centaur, tmp_path / "p", max_steps=1))
    split = json.loads((tmp_path / "p/split.json").read_text())
    assert split["before"]["studies"] == json.loads((centaur / "split.json").read_text())["studies"]
    for seed, is_right in ((0, True), (1, False)):
        asked = DataArguments(str(data), participants="test", data_seed=seed)
        models = [str(tmp_path / "p"), None]
        if is_right:
            check_held_out(models, asked, open_source(asked))
        else:
            with pytest.raises(UserError, match="was trained with --split_seed 0"):
                check_held_out(models, asked, open_source(asked))
    own = GeneralisationArguments("base", str(tmp_path / "p"), "out", novel_studies="beta")
    with pytest.raises(UserError, match="was trained on beta before"):
        split_of_foreign(own, DataArguments(str(data)))
    other = GeneralisationArguments("base", str(tmp_path / "p"), "out", novel_studies="gamma")
    assert split_of_foreign(other, DataArguments(str(data))).novel_studies == ("gamma",)


def test_a_run_is_not_continued_with_another_number_of_processes(
    tiny_llama_dir: Path, data: Path, tmp_path: Path
) -> None:
    asked = CentaurArguments(data=str(data))
    train(start_centaur(tiny_llama_dir, tmp_path / "run", asked, max_steps=2, save_steps=1))
    config = json.loads((tmp_path / "run/config.json").read_text())
    assert config["processes"] == 1
    posttrain(start_posttraining(tiny_llama_dir, tmp_path / "post", max_steps=2))
    for folder, name in (("run", "config.json"), ("post", "data.json")):
        path = tmp_path / folder / name
        about = {k: v for k, v in json.loads(path.read_text()).items() if k != "digest"}
        path.write_text(json.dumps(about | {"processes": 2}))
    with pytest.raises(UserError, match="begun with 2 processes, not 1"):
        start_centaur(tiny_llama_dir, tmp_path / "run", asked, max_steps=2, save_steps=1)
    with pytest.raises(UserError, match="begun with 2 processes, not 1"):
        start_posttraining(tiny_llama_dir, tmp_path / "post", max_steps=2)
