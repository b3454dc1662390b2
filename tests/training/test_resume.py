"""A run goes on from a checkpoint that is whole."""

import random
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from centaurlab.runs.integrity import write_manifest
from centaurlab.training.resume import last_complete_checkpoint
from helpers.bits import flipped
from helpers.json_files import write_json


def test_torn_checkpoints_are_not_complete(tmp_path: Path) -> None:
    (tmp_path / "checkpoint-5").mkdir()
    assert last_complete_checkpoint(tmp_path) is None


def checkpoint(folder: Path, step: int) -> Path:
    """A checkpoint with its manifest."""
    path = folder / f"checkpoint-{step}"
    path.mkdir()
    save_file({"weight": torch.full((4,), float(step))}, path / "adapter_model.safetensors")
    torch.save({"step": step}, path / "optimizer.pt")
    for name in ("trainer_state.json", "adapter_config.json"):
        write_json(path / name, {"r": 8, "step": step})
    write_manifest(path)
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
