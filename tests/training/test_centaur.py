"""A training resumes where it was cut, changes nothing by evaluating, and ends in a plain adapter with its card."""

import random
from pathlib import Path

import pytest
import torch
from huggingface_hub import ModelCard
from peft import AutoPeftModelForCausalLM
from safetensors.torch import load_file
from transformers import TrainerCallback

from centaurlab.models.identity import weights_fingerprint
from centaurlab.models.loading import load_model
from centaurlab.runs.integrity import write_manifest
from centaurlab.runtime.errors import UserError
from centaurlab.training.centaur import train
from centaurlab.training.options import CentaurArguments
from helpers.bits import flipped
from helpers.json_files import losses, metrics, read_json, run_json
from helpers.tiny_models import in_float32
from helpers.trainings import start_centaur
from helpers.transcripts import sessions_of, two_keys, write_transcripts


def on(data: Path, **settings: object) -> CentaurArguments:
    """Training on all studies but gamma."""
    return CentaurArguments(data=str(data), novel_studies="gamma", **settings)


@pytest.mark.parametrize("four_bit", [False, True])
def test_evaluation_changes_no_gradient(four_bit: bool, tiny_llama_dir: Path, data_file: Path, tmp_path: Path) -> None:
    curves = []
    for name, extra in (("with", {"eval_strategy": "steps", "eval_steps": 1}), ("without", {})):
        run = start_centaur(tiny_llama_dir, tmp_path / name, on(data_file), load_in_4bit=four_bit, **extra)
        run.trainer.train()
        curves.append(losses(tmp_path / name))
    assert curves[0] == pytest.approx(curves[1], abs=1e-6)
    assert len(set(curves[0])) == len(curves[0])


@pytest.mark.parametrize("damage", [None, "optimizer.pt", "adapter_model.safetensors"])
def test_a_resumed_run_equals_an_uninterrupted_one(
    damage: str | None, tiny_llama_dir: Path, data_file: Path, tmp_path: Path
) -> None:
    whole_run = start_centaur(tiny_llama_dir, tmp_path / "whole", on(data_file), max_steps=6)
    train(whole_run)
    (tmp_path / "cut").mkdir()
    first = start_centaur(tiny_llama_dir, tmp_path / "cut", on(data_file), max_steps=6)

    class Stop(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):  # type: ignore[no-untyped-def]
            if state.global_step == (5 if damage else 3):
                raise KeyboardInterrupt

    first.trainer.add_callback(Stop())
    with pytest.raises(KeyboardInterrupt):
        train(first)
    torn = tmp_path / "cut" / "checkpoint-3"
    torn.mkdir()
    (torn / "trainer_state.json").write_text('{"global_step": 3')
    if damage:
        changed = tmp_path / "cut" / "checkpoint-4" / damage
        changed.write_bytes(flipped(changed.read_bytes(), random.Random(0)))
    second = start_centaur(tiny_llama_dir, tmp_path / "cut", on(data_file), max_steps=6)
    assert second.checkpoint == tmp_path / "cut" / "checkpoint-2"
    train(second)
    assert losses(tmp_path / "cut") == pytest.approx(losses(tmp_path / "whole"), abs=1e-5)
    a, b = (load_file(tmp_path / name / "adapter_model.safetensors") for name in ("whole", "cut"))
    assert all(torch.equal(a[key], b[key]) for key in a)


@pytest.mark.parametrize(
    ("stopping", "killed_at"), [(False, 4), pytest.param(True, 2, marks=pytest.mark.slow), (True, 3)]
)
def test_a_run_killed_after_its_last_step_takes_no_other(
    stopping: bool, killed_at: int, tiny_llama_dir: Path, data_file: Path, tmp_path: Path
) -> None:
    """Four steps do not fill an epoch; early stopping ends after three, where no step makes it better."""
    settings = {"max_steps": 4, "save_steps": 1}
    patience = {}
    if stopping:
        settings |= {
            "eval_strategy": "steps",
            "eval_steps": 1,
            "load_best_model_at_end": True,
            "metric_for_best_model": "nll",
            "greater_is_better": False,
            "learning_rate": 0.0,
        }
        patience = {"early_stopping_patience": 2}
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    train(start_centaur(tiny_llama_dir, whole, on(data_file, **patience), **settings))
    steps = 3 if stopping else 4
    assert run_json(whole)["steps"] == steps

    first = start_centaur(tiny_llama_dir, cut, on(data_file, **patience), **settings)

    class Kill(TrainerCallback):
        def on_save(self, args, state, control, **kwargs):  # type: ignore[no-untyped-def]
            if state.global_step == killed_at:
                raise KeyboardInterrupt

    first.trainer.add_callback(Kill())
    with pytest.raises(KeyboardInterrupt):
        train(first)
    if stopping:
        with pytest.raises(UserError, match="whose early_stopping_patience differs"):
            start_centaur(tiny_llama_dir, cut, on(data_file, early_stopping_patience=3), **settings)
    second = start_centaur(tiny_llama_dir, cut, on(data_file, **patience), **settings)
    assert second.checkpoint == cut / f"checkpoint-{killed_at}"
    train(second)
    assert run_json(cut)["steps"] == steps
    assert losses(cut) == pytest.approx(losses(whole), abs=1e-5)
    assert 0.0 not in metrics(cut, "train/train_loss")
    a, b = (load_file(folder / "adapter_model.safetensors") for folder in (whole, cut))
    assert all(torch.equal(a[key], b[key]) for key in a)


def test_result_is_a_plain_adapter_with_a_card(tiny_llama_dir: Path, data_file: Path, tmp_path: Path) -> None:
    results = train(start_centaur(tiny_llama_dir, tmp_path, on(data_file)))
    AutoPeftModelForCausalLM.from_pretrained(tmp_path)
    load_model(in_float32(tmp_path))
    card = (tmp_path / "README.md").read_text()
    assert all(word in card for word in ("alpha", "Held-out participants", "learning_rate", "limits"))
    assert str(tmp_path.parent) not in card
    assert {one.dataset_config for one in ModelCard(card).data.eval_results} == {"alpha", "beta"}
    assert {r.study for r in results} == {"alpha", "beta"}
    split = read_json(tmp_path / "split.json")
    assert split["base_weights"] == weights_fingerprint(in_float32(tiny_llama_dir))
    for study in split["studies"].values():
        assert not set(map(tuple, study["train"])) & set(map(tuple, study["test"]))
    assert "gamma" not in split["studies"]


def test_another_data_set_in_the_same_folder_is_refused(tiny_llama_dir: Path, data_file: Path, tmp_path: Path) -> None:
    start_centaur(tiny_llama_dir, tmp_path, on(data_file)).trainer.train()
    with pytest.raises(UserError, match="another --output_dir"):
        start_centaur(tiny_llama_dir, tmp_path, on(data_file, train_share=0.4))


def test_four_bit_weights_are_nf4_or_nothing(tiny_llama_dir: Path, data_file: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="bnb_4bit_quant_type is 'fp4'"):
        start_centaur(tiny_llama_dir, tmp_path, on(data_file), bnb_4bit_quant_type="fp4")


def test_the_best_step_is_one_that_is_saved(tiny_llama_dir: Path, data_file: Path, tmp_path: Path) -> None:
    best = {"load_best_model_at_end": True, "metric_for_best_model": "nll", "eval_strategy": "steps", "eval_steps": 2}
    with pytest.raises(UserError, match="after every 2 steps may not be among the checkpoints of every 4: "):
        start_centaur(tiny_llama_dir, tmp_path, on(data_file), **best, save_steps=4)


def test_a_run_where_nobody_is_held_out_ends_well(tiny_llama_dir: Path, tmp_path: Path) -> None:
    rows = sessions_of(("alpha", "gamma"), 1, lambda _, person: two_keys(person))
    data = write_transcripts(tmp_path / "sessions.jsonl", rows)
    assert train(start_centaur(tiny_llama_dir, tmp_path / "run", on(data))) == []
    assert run_json(tmp_path / "run")["held_out"] == []


def test_a_run_goes_on_with_its_own_settings_alone(tiny_llama_dir: Path, data_file: Path, tmp_path: Path) -> None:
    train(start_centaur(tiny_llama_dir, tmp_path, on(data_file)))
    start_centaur(tiny_llama_dir, tmp_path, on(data_file), save_steps=1, logging_steps=2)
    with pytest.raises(UserError, match="whose learning_rate differs"):
        start_centaur(tiny_llama_dir, tmp_path, on(data_file), learning_rate=2e-2)
    changes = {"study_weighting": "balanced", "long_sessions": "split", "eval_participants": 1}
    for name, value in changes.items():
        with pytest.raises(UserError, match=f"whose {name} differs"):
            start_centaur(tiny_llama_dir, tmp_path, on(data_file, **{name: value}))
    with pytest.raises(UserError, match="leave resume_from_checkpoint away"):
        start_centaur(tiny_llama_dir, tmp_path, on(data_file), resume_from_checkpoint="true")
    with pytest.raises(UserError, match="leave enable_jit_checkpoint away"):
        start_centaur(tiny_llama_dir, tmp_path, on(data_file), enable_jit_checkpoint=True)
    write_manifest(tmp_path / "checkpoint-4", "of a version with other settings")
    logged = (tmp_path / "metrics.jsonl").read_text()
    with pytest.raises(UserError, match=r"checkpoint-4 is of another training, or was written with another version"):
        start_centaur(tiny_llama_dir, tmp_path, on(data_file))
    assert (tmp_path / "metrics.jsonl").read_text() == logged
