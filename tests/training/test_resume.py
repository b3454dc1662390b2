"""A run goes on from a checkpoint that is whole."""

import random
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from transformers import Trainer, TrainingArguments

from centaurlab.jobs.trajectory import checkpoints
from centaurlab.runs import integrity
from centaurlab.runs.folder import RunFolder, checkpoint_steps
from centaurlab.runs.integrity import file_digest, run_digest, write_manifest
from centaurlab.runtime.errors import UserError
from centaurlab.training.resume import EndsOnce, check_same_run, keep_in, last_complete_checkpoint
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
        assert capsys.readouterr().out == f"note: {last} is damaged ({name}); {before} is used\n"
    (last / name).unlink()
    assert last_complete_checkpoint(tmp_path) == before
    (before / name).unlink()
    capsys.readouterr()
    assert last_complete_checkpoint(tmp_path) is None
    assert capsys.readouterr().out.count("; training begins anew\n") == 2


def test_a_checkpoint_of_another_training_is_named_and_one_that_does_not_say_is_taken(tmp_path: Path) -> None:
    check_same_run(checkpoint(tmp_path, 5), "r1")  # older versions did not note it
    check_same_run(checkpoint(tmp_path, 10, "r1"), "r1")
    with pytest.raises(UserError, match=r"checkpoint-15 is of another training, or was written with another version"):
        check_same_run(checkpoint(tmp_path, 15, "r2"), "r1")


def test_a_setting_of_a_later_library_that_is_none_makes_no_other_training() -> None:
    before: dict[str, object] = {"lr": 1.0, "model": {"r": 8}}
    assert run_digest(before) == run_digest({"lr": 1.0, "hub": None, "model": {"r": 8, "rank": None}})
    assert len({run_digest(before | other) for other in ({}, {"lr": 2.0}, {"hub": 0}, {"model": {}})}) == 4


def test_the_files_of_a_checkpoint_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    last = [checkpoint(tmp_path, step) for step in (5, 10)][1]
    read: list[Path] = []
    monkeypatch.setattr(integrity, "file_digest", lambda path: read.append(path) or file_digest(path))
    assert last_complete_checkpoint(tmp_path) == last
    assert sorted(read) == sorted(path for path in last.iterdir() if path.name != "manifest.json")


def test_a_trajectory_runs_over_the_checkpoints_of_one_training(tmp_path: Path) -> None:
    for step, run in ((5, "r1"), (10, None), (15, "r1")):
        checkpoint(tmp_path, step, run)
    assert len(checkpoints(tmp_path)) == 3
    checkpoint(tmp_path, 20, "r2")
    with pytest.raises(UserError, match=r"checkpoint-15 and .*checkpoint-20 are of different trainings"):
        checkpoints(tmp_path)


class Quadratic(torch.nn.Module):
    """A model of one weight, which learns 0 while it is evaluated by its distance from 1."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor([1.5]))

    def forward(self, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"loss": (self.weight - labels).square().mean()}


class OurTrainer(EndsOnce, Trainer):
    """A trainer of ours, of a model that is not one for language."""


def trained(output_dir: str, from_step: int | None = None) -> OurTrainer:
    """A training of six steps, saved and evaluated at every second; the second is the best."""
    args = TrainingArguments(
        output_dir,
        **{"max_steps": 6, "save_steps": 2, "eval_steps": 2, "eval_strategy": "steps", "learning_rate": 0.2},
        **{"load_best_model_at_end": True, "save_total_limit": 2, "per_device_train_batch_size": 1},
        **{"report_to": [], "use_cpu": True, "disable_tqdm": True, "lr_scheduler_type": "constant"},
    )
    learned, judged = ([{"labels": torch.tensor([target])}] * 6 for target in (0.0, 1.0))
    trainer = OurTrainer(Quadratic(), args, train_dataset=learned, eval_dataset=judged)
    keep_in(RunFolder(Path(output_dir), "train"), trainer, "r1")
    trainer.train(resume_from_checkpoint=from_step and f"{output_dir}/checkpoint-{from_step}")
    return trainer


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    """The folder of a training that has ended, and the weight of its best checkpoint."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder.parent)
        weight = trained("run").model.weight.item()  # its state says of the best checkpoint: run/checkpoint-2
    assert [path.name for _, path in checkpoint_steps(folder)] == ["checkpoint-2", "checkpoint-6"]
    return folder, weight


@pytest.mark.parametrize("change", ["none", "moved", "damaged", "gone", "another's"])
def test_a_run_that_goes_on_ends_with_its_own_best_checkpoint(
    whole: tuple[Path, float], tmp_path: Path, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, weight = whole
    name = "elsewhere" if change == "moved" else "run"
    best = shutil.copytree(folder, tmp_path / name) / "checkpoint-2"
    if change == "damaged":
        weights = (best / "model.safetensors").read_bytes()
        (best / "model.safetensors").write_bytes(flipped(weights, random.Random(0)))
    if change == "gone":
        shutil.rmtree(best)
    if change == "another's":
        write_manifest(best, "r2")
    monkeypatch.chdir(tmp_path)
    if change in ("none", "moved"):
        trainer = trained(name, 6)
        assert (trainer.model.weight.item(), trainer.state.best_model_checkpoint) == (weight, f"{name}/checkpoint-2")
    else:
        with pytest.raises(UserError, match=r"the best checkpoint, run/checkpoint-2, is gone, damaged or of another"):
            trained("run", 6)
