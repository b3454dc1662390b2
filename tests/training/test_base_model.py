"""What is loaded to be trained, and what is refused: devices, classes, targets, and batches that change a loss."""

import re
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import Trainer, TrainerControl, TrainerState

from centaurlab.models.arguments import ModelArguments
from centaurlab.models.loading import load_model
from centaurlab.runtime.errors import UserError
from centaurlab.training import base_model as module
from centaurlab.training.base_model import check_quantised_device, load_base
from centaurlab.training.batches import ShardedBatches, check_rows_at_once
from centaurlab.training.options import CentaurArguments
from helpers.architectures import save
from helpers.tiny_models import in_float32, logits
from helpers.trainings import lora_on, on_cpu, start_centaur, start_posttraining
from helpers.transcripts import write_bandits

CPU = torch.device("cpu")


def test_four_bit_on_a_device_without_support() -> None:
    with pytest.raises(UserError, match="do not work on mps"):
        check_quantised_device("mps")


@pytest.mark.parametrize("name", ["qwen3_5", "gemma3_images", "mllama", "llama"])
def test_sharded_training_loads_what_scoring_does(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An adapter's weights go by the names of modules, and these by the class."""
    args = in_float32(save(name, tmp_path / name))
    scored = load_model(args)
    monkeypatch.setattr(module, "is_deepspeed_zero3_enabled", lambda: True)
    trained = load_base(args, CPU, on_cpu(tmp_path / "run"))
    assert type(trained) is type(scored)
    assert [key for key, _ in trained.named_modules()] == [key for key, _ in scored.named_modules()]
    torch.testing.assert_close(logits(trained), logits(scored))


MODELS_THAT_PACK = [("llama", True), ("opt", False), ("qwen3_5_text", False)]


@pytest.mark.parametrize(("name", "packs"), MODELS_THAT_PACK)
def test_packing_is_for_models_whose_sessions_stay_apart(name: str, packs: bool, tmp_path: Path) -> None:
    args = in_float32(save(name, tmp_path / name))
    if packs:
        load_base(args, CPU, on_cpu(tmp_path / "run"), packed=True)
    else:
        with pytest.raises(UserError, match="in a packed row the sessions change one another's loss"):
            load_base(args, CPU, on_cpu(tmp_path / "run"), packed=True)
    load_base(args, CPU, on_cpu(tmp_path / "run"))


@pytest.mark.parametrize(("name", "packs"), MODELS_THAT_PACK)
def test_of_sharded_weights_it_is_found_out_before_the_first_step(
    name: str, packs: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    args = in_float32(save(name, tmp_path / name))
    monkeypatch.setattr(module, "is_deepspeed_zero3_enabled", lambda: True)
    settings = on_cpu(tmp_path / "run", per_device_eval_batch_size=1)
    trainer = Trainer(load_base(args, CPU, settings, packed=True), settings)
    for packed in (False, True):
        tried = ShardedBatches(trainer, range(5, 70), range(99, 70, -1), packed)
        with nullcontext() if packs or not packed else pytest.raises(UserError, match="in a packed row"):
            tried.on_train_begin(settings, TrainerState(), TrainerControl())


@pytest.mark.usefixtures("own_cache")
def test_a_sharded_run_is_tried_with_its_own_sessions(
    tmp_path: Path, tiny_llama_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for where in ("centaur", "posttrain"):
        monkeypatch.setattr(f"centaurlab.training.{where}.is_sharded", lambda: True)
    seen = []
    monkeypatch.setattr(ShardedBatches, "on_train_begin", lambda self, *_, **__: seen.append(self))
    people = CentaurArguments(data=str(write_bandits(tmp_path / "people.jsonl", 6, n_trials=20)))
    start_centaur(tiny_llama_dir, tmp_path / "centaur", people, max_steps=1, packing=True).trainer.train()
    start_posttraining(tiny_llama_dir, tmp_path / "posttrain", method="dpo", max_steps=1).trainer.train()
    assert len(seen) == 2


@pytest.mark.usefixtures("own_cache")
class TestRopeThatDependsOnLength:
    @pytest.fixture
    def people(self, tmp_path: Path) -> CentaurArguments:
        return CentaurArguments(data=str(write_bandits(tmp_path / "people.jsonl", 6, n_trials=20)))

    def test_longrope_is_trained_on_one_session_at_a_time(self, people: CentaurArguments, tmp_path: Path) -> None:
        model = save("phi3_longrope", tmp_path / "phi3")
        run = start_centaur(model, tmp_path / "run", people, max_length=700, eval_strategy="no")
        assert run.trainer.args.per_device_eval_batch_size == 1
        for settings in ({"per_device_train_batch_size": 2}, {"packing": True}):
            with pytest.raises(UserError, match=r"beyond 150 tokens; set per_device_train_batch_size: 1"):
                start_centaur(model, tmp_path / "other", people, max_length=700, **settings)
        assert not (tmp_path / "other" / "config.json").exists()

    def test_a_dynamic_one_is_trained_on_within_its_window(self, people: CentaurArguments, tmp_path: Path) -> None:
        model = save("llama_dynamic_rope", tmp_path / "dynamic")
        with pytest.raises(UserError, match="give --max_length 150 or less"):
            start_centaur(model, tmp_path / "run", people, max_length=151)


@pytest.mark.usefixtures("own_cache")
class TestTargets:
    def test_one_module_is_a_list_of_one(self, tiny_llama_dir: Path) -> None:
        model = load_model(ModelArguments(str(tiny_llama_dir)))
        config = module.lora_config(lora_on(tiny_llama_dir, lora_target_modules=["q_proj"]), model)
        assert config is not None
        assert config.target_modules == {"q_proj"}
        pattern = module.lora_config(lora_on(tiny_llama_dir, lora_target_modules=[r".*\.q_proj"]), model)
        assert pattern is not None
        assert pattern.target_modules == r".*\.q_proj"

    @pytest.mark.parametrize(
        ("target", "sentence"),
        [("qproj", "of which the model has none; it has down_proj, gate_proj"), ("lm_head", "lm_head")],
    )
    def test_what_cannot_be_trained_is_one_sentence(self, target: str, sentence: str, tiny_llama_dir: Path) -> None:
        model = load_model(ModelArguments(str(tiny_llama_dir)))
        with pytest.raises(UserError, match=sentence):
            module.lora_config(lora_on(tiny_llama_dir, lora_target_modules=[target]), model)

    @pytest.mark.parametrize(
        ("asked", "sentence"),
        [
            ({"target_parameters": ["q_proj.weight"], "target_modules": [], "lora_dropout": 0.1}, "lora_dropout != 0"),
            ({"target_modules": "("}, "PEFT puts no such adapter on this model: "),
            ({"target_modules": ["input_layernorm"]}, "is not supported"),
        ],
    )
    def test_what_peft_refuses_is_one_sentence(
        self, asked: dict[str, Any], sentence: str, tiny_llama_dir: Path
    ) -> None:
        model = load_model(ModelArguments(str(tiny_llama_dir)))
        with pytest.raises(UserError, match=re.escape(sentence)), module.adapter_errors():
            get_peft_model(model, LoraConfig(**asked))
        with pytest.raises(ValueError, match="a bug of ours"), module.adapter_errors():
            raise ValueError("a bug of ours")

    def test_it_trains(self, tiny_llama_dir: Path, tmp_path: Path) -> None:
        run = start_posttraining(tiny_llama_dir, tmp_path / "run", padding_free=True, max_steps=1)
        run.trainer.train()


@pytest.mark.parametrize("attention", ["flash_attention_2", "kernels-community/vllm-flash-attn3"])
def test_with_flash_attention_packed_rows_come_one_at_a_time(attention: str, tmp_path: Path) -> None:
    two = {"per_device_train_batch_size": 2}
    with pytest.raises(UserError, match=r"only a packed row that is alone.*gradient_accumulation_steps"):
        check_rows_at_once(attention, on_cpu(tmp_path, packing=True, **two))
    check_rows_at_once(attention, on_cpu(tmp_path, packing=True, per_device_train_batch_size=1))
    check_rows_at_once(attention, on_cpu(tmp_path, **two))
    check_rows_at_once("sdpa", on_cpu(tmp_path, packing=True, **two))
