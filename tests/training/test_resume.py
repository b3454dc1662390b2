"""A run goes on from a checkpoint that is whole."""

import random
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file
from transformers import TrainerState

from centaurlab.jobs.trajectory import checkpoints
from centaurlab.runs.integrity import write_manifest
from centaurlab.runtime.errors import UserError
from centaurlab.training.resume import EndsOnce, last_complete_checkpoint
from helpers.bits import flipped
from helpers.json_files import write_json


def test_torn_checkpoints_are_not_complete(tmp_path: Path) -> None:
    (tmp_path / "checkpoint-5").mkdir()
    assert last_complete_checkpoint(tmp_path) is None


def checkpoint(folder: Path, step: int, run: str | None = None) -> Path:
    """A checkpoint with its manifest; ``run``: of which training."""
    path = folder / f"checkpoint-{step}"
    path.mkdir()
    save_file({"weight": torch.full((4,), float(step))}, path / "adapter_model.safetensors")
    torch.save({"step": step}, path / "optimizer.pt")
    for name in ("trainer_state.json", "adapter_config.json"):
        write_json(path / name, {"r": 8, "step": step})
    write_manifest(path, run)
    return path


@pytest.mark.parametrize(
    "name", ["optimizer.pt", "adapter_model.safetensors", "trainer_state.json", "adapter_config.json"]
)
def test_where_a_file_of_the_last_checkpoint_is_damaged_the_one_before_is_taken(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before, last = checkpoint(tmp_path, 5), checkpoint(tmp_path, 10)
    assert last_complete_checkpoint(tmp_path) == last
    sound, choose = (last / name).read_bytes(), random.Random(0)
    for _ in range(50):
        (last / name).write_bytes(flipped(sound, choose))
        assert last_complete_checkpoint(tmp_path) == before
        assert capsys.readouterr().out == f"note: {last} is damaged ({name}); the one before it is used\n"
    (last / name).unlink()
    assert last_complete_checkpoint(tmp_path) == before


@pytest.mark.parametrize("own", ["r1", None])
def test_a_checkpoint_of_another_training_is_not_gone_on_from(
    tmp_path: Path, own: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    before = checkpoint(tmp_path, 5, own)  # older versions did not note it
    other = checkpoint(tmp_path, 10, "r2")
    assert last_complete_checkpoint(tmp_path, "r1") == before
    assert capsys.readouterr().out == f"note: {other} is of another training; the one before it is used\n"


def test_a_trajectory_runs_over_the_checkpoints_of_one_training(tmp_path: Path) -> None:
    for step, run in ((5, "r1"), (10, None), (15, "r1")):
        checkpoint(tmp_path, step, run)
    assert len(checkpoints(tmp_path)) == 3
    checkpoint(tmp_path, 20, "r2")
    with pytest.raises(UserError, match=r"checkpoint-15 and .*checkpoint-20 are of different trainings"):
        checkpoints(tmp_path)


class Library:
    """The part of the library's trainer that loads the best checkpoint, from wherever its state says."""

    loaded = ""

    def _run_epoch(self) -> None: ...

    def _load_best_model(self) -> None:
        self.loaded = self.state.best_model_checkpoint  # type: ignore[attr-defined]


class Trainer(EndsOnce, Library):
    """A trainer of ours at its end."""

    def __init__(self, output_dir: Path, best: str) -> None:
        self.args = SimpleNamespace(output_dir=str(output_dir))
        self.state = TrainerState(best_model_checkpoint=best)
        self.run = "r1"


@pytest.mark.parametrize("change", ["none", "damaged", "gone", "another's"])
def test_a_run_ends_with_its_own_best_checkpoint(tmp_path: Path, change: str) -> None:
    best = checkpoint(tmp_path, 5, "r2" if change == "another's" else "r1")
    if change == "damaged":
        weights = (best / "adapter_model.safetensors").read_bytes()
        (best / "adapter_model.safetensors").write_bytes(flipped(weights, random.Random(0)))
    if change == "gone":
        best.rename(tmp_path / "elsewhere")
    trainer = Trainer(tmp_path, "where/it/was/before/checkpoint-5")
    if change == "none":
        trainer._load_best_model()
        assert trainer.loaded == str(best)
    else:
        with pytest.raises(UserError, match=r"the best checkpoint, .*checkpoint-5, is gone, damaged or of another"):
            trainer._load_best_model()
