"""A bit that a disk or a copy has turned over: whatever file of a run it is in, there is never another number.

The oracle is the value read before: every reader gives it again, or refuses the file in one sentence.
"""

import hashlib
import itertools
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from centaurlab.analyses.finished import Run, read_table
from centaurlab.data.held_out import read_split
from centaurlab.data.transcripts import SessionKey
from centaurlab.models.arguments import ModelArguments
from centaurlab.models.checkpoints import find_checkpoint
from centaurlab.models.identity import identify
from centaurlab.results.record import Coverage, ModelIdentity, ScoredData, ScoredProtocol, ScoredStudy, ScoreRecord
from centaurlab.results.run import read_run, write_record
from centaurlab.results.table import write_scores
from centaurlab.runs.folder import RunFolder, read_config, read_metrics
from centaurlab.runs.integrity import MANIFEST, read_json, write_manifest
from centaurlab.runtime.errors import UserError
from centaurlab.scoring.store import ScoreStore, SessionResult
from centaurlab.stats.effect_table import read_effects
from centaurlab.training.resume import last_complete_checkpoint
from helpers.adapters import save_adapter
from helpers.bits import flipped, flips
from helpers.commands import centaurlab
from helpers.json_files import write_json
from helpers.score_folders import random_scores, response_scores

PEOPLE = [SessionKey(study, "exp1", str(person)) for study in ("shelf", "bandit") for person in range(6)]
SPLIT = {
    "data": "starter",
    "eval_data": None,
    "split_seed": 0,
    "train_data_fingerprint": "ab",
    "studies": {"shelf": {"train": [["exp1", "1"]], "test": [["exp1", "2"]], "fingerprint": "a"}},
    "novel_studies": ["bandit"],
}
CONFIG = {"data": "starter", "max_length": 512, "learning_rate": 0.0005}
Reader = Callable[[Path], object]
READERS: dict[str, Reader] = {
    "scores.parquet": lambda folder: read_run(folder).table(),
    "run.json": lambda folder: (read_run(folder).record, read_run(folder).table(["nll"])),
    "config.json": lambda folder: [read_config(folder).get(name) for name in CONFIG],
    "metrics.jsonl": read_metrics,
    "table.csv": lambda folder: read_table(Run(folder, {}, {}), "table").to_csv(),
    "split.json": lambda folder: [read_json(folder / "split.json").get(name) for name in SPLIT],
}


def scored(folder: Path, seed: int) -> Path:
    """A finished run of scoring with every file that readers know."""
    run = RunFolder(folder, "score")
    sessions = [(key, random_scores(seed + number)) for number, key in enumerate(PEOPLE)]
    write_scores(folder, sessions)
    run.write_json("config.json", CONFIG)
    run.write_json("split.json", SPLIT)
    for step in range(3):
        run.log({"nll/mean": 1.5 + step + seed, "nll/shelf": 2.25}, step)
    (folder / "table.csv").write_text("study,d\nshelf,0.25\nbandit,-1.5\n")
    studies = {study: ScoredStudy(f"{study}00", 6, 6, 24, 1.5, 0.5) for study in ("shelf", "bandit")}
    record = ScoreRecord(ModelIdentity("tiny", f"f{seed}"), ScoredProtocol("full", 512), ScoredData("p", "f", studies))
    write_record(run, record)
    return folder


def believed(path: Path, read: Reader, number: int) -> list[object]:
    """What a reader gives, of so many damaged files, that is not what it gave of the sound one."""
    sound, value = path.read_bytes(), read(path.parent)
    others = []
    for damaged in flips(sound, number, random.Random(0)):
        path.write_bytes(damaged)
        try:
            found = read(path.parent)
        except UserError:
            continue
        if found != value:
            others.append(found)
    path.write_bytes(sound)
    assert read(path.parent) == value
    return others


@pytest.mark.parametrize("name", READERS)
def test_no_flipped_bit_is_believed_by_a_reader(tmp_path: Path, name: str) -> None:
    assert believed(scored(tmp_path / "run", 0) / name, READERS[name], 100) == []


MODEL_FILES = ("adapter_model.safetensors", "adapter_config.json", "tokenizer_config.json", "run.json")


@pytest.fixture
def adapter(tiny_llama_dir: Path, tmp_path: Path, own_cache: Path) -> Path:
    """The folder of a finished training."""
    run = RunFolder(tmp_path / "adapter", "train")
    save_adapter(tiny_llama_dir, run.path)
    shutil.copy(tiny_llama_dir / "tokenizer_config.json", run.path)
    run.finish({"job": "train"})
    return run.path


def adapter_identity(folder: Path) -> object:
    """What scoring knows a model by, and its settings."""
    later = folder.stat().st_mtime_ns + 1_000_000 * next(CLOCK)  # two flips fall into one tick of the file system
    for file in folder.iterdir():
        os.utime(file, ns=(later, later))
    config = find_checkpoint(str(folder), None, True, False).config()
    said = {name: value for name, value in config.items() if name not in ELSEWHERE}
    return identify(ModelArguments(str(folder))).fingerprint, said


ELSEWHERE = ("peft_version", "revision", "base_model_name_or_path")
"""No settings; a base is known by its content, wherever it lies."""

CLOCK = itertools.count(1)


@pytest.mark.parametrize("name", MODEL_FILES)
def test_no_flipped_bit_of_an_adapter_is_believed(adapter: Path, name: str) -> None:
    assert believed(adapter / name, adapter_identity, 25) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", MODEL_FILES)
def test_none_of_ten_thousand_flipped_bits_of_an_adapter_is_believed(adapter: Path, name: str) -> None:
    assert believed(adapter / name, adapter_identity, 10_000) == []


IDENTITY = {"model": {"name": "tiny", "fingerprint": "f0"}, "protocol": "full", "max_tokens": 512}
DIGESTS = [hashlib.sha256(str(key).encode()).hexdigest() for key in PEOPLE]
RESULTS = [SessionResult(random_scores(n), Coverage(4, 4), 90 + n, 80, 0.5) for n in range(len(DIGESTS))]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store of scored sessions."""
    written = ScoreStore(tmp_path / "store", dict(IDENTITY))
    for digest, result in zip(DIGESTS, RESULTS, strict=True):
        written.add(digest, result)
    written.close()
    return tmp_path / "store"


def stored(folder: Path) -> object:
    """What a run that goes on takes from the store; what it lacks is scored again, with the same scores."""
    opened = ScoreStore(folder, dict(IDENTITY))
    found = [opened.find(digest) for digest in DIGESTS]
    opened.close()
    return [
        [*(column.tobytes() for column in vars(result.scores).values()), result.coverage, result.n_tokens]
        for result in (known or new for known, new in zip(found, RESULTS, strict=True))
    ]


STORE_FILES = ("process-0.sqlite", "identity.json")


@pytest.mark.parametrize("name", STORE_FILES)
def test_no_flipped_bit_of_a_store_is_believed(store: Path, name: str) -> None:
    assert believed(store / name, stored, 25) == []


def test_a_store_whose_structure_is_no_text_is_set_aside(store: Path) -> None:
    """SQLite's own message then quotes bytes that are no UTF-8."""
    path, sound = store / "process-0.sqlite", stored(store)
    content = path.read_bytes()
    at = content.index(b"CREATE TABLE")
    path.write_bytes(content[: at + 7] + bytes([content[at + 7] ^ 128]) + content[at + 8 :])
    assert stored(store) == sound
    assert path.with_suffix(".damaged").exists()


@pytest.mark.release
@pytest.mark.parametrize("name", STORE_FILES)
def test_none_of_ten_thousand_flipped_bits_of_a_store_is_believed(store: Path, name: str) -> None:
    assert believed(store / name, stored, 10_000) == []


@pytest.fixture
def checkpoints(tiny_llama_dir: Path, tmp_path: Path) -> Path:
    """The last of two checkpoints of a training."""
    for step in (2, 4):
        folder = tmp_path / "run" / f"checkpoint-{step}"
        save_adapter(tiny_llama_dir, folder, seed=step)
        torch.save({"step": torch.tensor(step)}, folder / "optimizer.pt")
        write_json(folder / "trainer_state.json", {"global_step": step})
        write_manifest(folder)
    return folder


def resumed_from(folder: Path) -> object:
    """The files that training goes on from; the checkpoint before the damaged one is an answer, too."""
    found = last_complete_checkpoint(folder.parent)
    if found != folder:
        raise UserError("another checkpoint")
    content = {path.name: path.read_bytes() for path in found.iterdir() if path.suffix in (".safetensors", ".pt")}
    return content | {path.name: adapter_settings(path) for path in found.glob("*.json") if path.name != MANIFEST}


def adapter_settings(path: Path) -> dict[str, object]:
    return {name: value for name, value in read_json(path).items() if name not in ELSEWHERE}


CHECKPOINT_FILES = ("adapter_model.safetensors", "adapter_config.json", "optimizer.pt", "trainer_state.json", MANIFEST)


@pytest.mark.parametrize("name", CHECKPOINT_FILES)
def test_no_flipped_bit_of_a_checkpoint_is_believed(
    checkpoints: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert believed(checkpoints / name, resumed_from, 25) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", CHECKPOINT_FILES)
def test_none_of_ten_thousand_flipped_bits_of_a_checkpoint_is_believed(
    checkpoints: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert believed(checkpoints / name, resumed_from, 10_000) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", READERS)
def test_none_of_ten_thousand_flipped_bits_is_believed_by_a_reader(tmp_path: Path, name: str) -> None:
    assert believed(scored(tmp_path / "run", 0) / name, READERS[name], 10_000) == []


@pytest.fixture(scope="module")
def effects(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs of scoring, base and post, and what 'centaurlab misalignment' made of them, effect."""
    folder = tmp_path_factory.mktemp("effects")
    for seed, name in enumerate(("base", "post")):
        run = RunFolder(folder / name, "score")
        draw = random.Random(seed)
        write_scores(
            run.path, [(key, response_scores({n: draw.gammavariate(2, 1) for n in range(4)})) for key in PEOPLE]
        )
        studies = {study: ScoredStudy(f"{study}00", 6, 6, 24, 1.5, 0.5) for study in ("shelf", "bandit")}
        run.write_json("config.json", {"data": "people"})
        data = ScoredData("people", "f", studies)
        write_record(run, ScoreRecord(ModelIdentity(name, name), ScoredProtocol("full", 512), data))
    assert compare_models(folder, "effect").returncode == 0
    return folder


def compare_models(folder: Path, output: str):  # type: ignore[no-untyped-def]
    options = ("--base", "base", "--post", "post", "--output_dir", output, "--resamples", "100", "--report_to", "none")
    return centaurlab("misalignment", *options, cwd=folder)


def test_no_flipped_bit_is_believed_in_a_table_of_effects(effects: Path) -> None:
    def read(folder: Path) -> object:
        return repr(read_effects(folder))

    assert believed(effects / "effect" / "effects.parquet", read, 100) == []


@pytest.mark.parametrize("file", ["base/scores.parquet", "post/run.json"])
def test_the_command_refuses_what_was_damaged(effects: Path, file: str) -> None:
    sound, choose = (effects / file).read_bytes(), random.Random(1)
    want = (effects / "effect" / "effects.csv").read_bytes()
    for _ in range(2):
        (effects / file).write_bytes(flipped(sound, choose))
        done = compare_models(effects, "again")
        if done.returncode == 0:
            assert (effects / "again" / "effects.csv").read_bytes() == want
        else:
            assert "is damaged" in done.error
    (effects / file).write_bytes(sound)


@pytest.mark.parametrize("file", ["effects.csv", "effects.parquet", "run.json", "config.json"])
def test_the_report_refuses_what_was_damaged_or_is_the_same(effects: Path, file: str) -> None:
    path, choose = effects / "effect" / file, random.Random(2)
    sound = path.read_bytes()
    assert centaurlab("report", "effect", "--output", "page.md", cwd=effects).returncode == 0
    want = (effects / "page.md").read_text()
    for _ in range(3):
        path.write_bytes(flipped(sound, choose))
        done = centaurlab("report", "effect", "--output", "page.md", cwd=effects)
        if done.returncode == 0:
            assert (effects / "page.md").read_text() == want
        else:
            assert "is damaged" in done.error
    path.write_bytes(sound)


def test_a_changed_setting_is_honoured_once_its_digest_is_deleted(tmp_path: Path) -> None:
    folder = scored(tmp_path / "run", 0)
    text = (folder / "config.json").read_text().replace("512", "256")
    (folder / "config.json").write_text(text)
    with pytest.raises(UserError, match=r"config\.json is damaged .* changed by hand, delete the digest"):
        read_config(folder)
    (folder / "config.json").write_text("".join(line for line in text.splitlines(True) if '"digest"' not in line))
    assert read_config(folder)["max_length"] == 256


def test_a_split_that_is_damaged_names_nobody(tmp_path: Path) -> None:
    folder = scored(tmp_path / "run", 0)
    (folder / "split.json").write_text((folder / "split.json").read_text().replace('"1"', '"3"'))
    with pytest.raises(UserError, match="a damaged one"):
        read_split(folder)
