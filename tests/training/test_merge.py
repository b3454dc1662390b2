"""Training on from an adapter: it is merged into its base in the run's folder."""

from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from trl import ModelConfig, SFTConfig

from centaurlab.models.arguments import ModelArguments
from centaurlab.models.checkpoints import find_checkpoint
from centaurlab.models.loading import load_model
from centaurlab.runtime.errors import UserError
from centaurlab.training.base_model import base_arguments
from centaurlab.training.merge import merge

IDS = torch.arange(3, 40)[None]


def save_adapter(base: Path, folder: Path, seed: int, whole: tuple[str, ...] = ()) -> Path:
    model = load_model(ModelArguments(str(base), dtype="float32"))
    model.name_or_path = str(base)
    torch.manual_seed(seed)
    adapted = get_peft_model(model, LoraConfig(r=4, target_modules=["q_proj", "down_proj"], modules_to_save=[*whole]))
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name or "modules_to_save" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    adapted.save_pretrained(folder)
    return folder


def start(adapter: Path, run: Path) -> ModelArguments:
    settings = SFTConfig(str(run), use_cpu=True, bf16=False, activation_checkpointing=False)
    return base_arguments(ModelConfig(str(adapter), dtype="float32", use_peft=True), settings)


def test_training_goes_on_from_the_model_that_an_adapter_makes(tiny_llama_dir: Path, tmp_path: Path) -> None:
    adapter = save_adapter(tiny_llama_dir, tmp_path / "adapter", seed=0)
    run = tmp_path / "run"
    (run / ".merged-base.tmp").mkdir(parents=True)
    (run / ".merged-base.tmp" / "model.safetensors").write_text("cut off")
    args = start(adapter, run)
    assert args.model_name_or_path == str(run / "merged-base")
    with torch.no_grad():
        merged, whole, base = (
            load_model(known)(IDS).logits
            for known in (args, *(ModelArguments(str(path), dtype="float32") for path in (adapter, tiny_llama_dir)))
        )
    torch.testing.assert_close(merged, whole, atol=0.1, rtol=0)  # merged weights are bfloat16
    assert (merged - base).abs().max() > 1

    written = (run / "merged-base" / "model.safetensors").stat().st_mtime_ns
    assert start(adapter, run) == args
    assert (run / "merged-base" / "model.safetensors").stat().st_mtime_ns == written
    with pytest.raises(UserError, match="another adapter"):
        start(save_adapter(tiny_llama_dir, tmp_path / "other", seed=1), run)


def test_a_whole_model_stays_where_it_is(tiny_llama_dir: Path, tmp_path: Path) -> None:
    assert find_checkpoint(start(tiny_llama_dir, tmp_path / "run").model_name_or_path, None, True, False).folder == (
        tiny_llama_dir.resolve()
    )
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["llama", "gemma"])
def test_modules_that_an_adapter_replaces_are_merged_too(
    name: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    base = request.getfixturevalue(f"tiny_{name}_dir")  # the Gemma's head is its embedding until it is replaced
    adapter = save_adapter(base, tmp_path / "adapter", seed=0, whole=("lm_head",))
    folder = merge(str(adapter), None, str(tmp_path / "merged"))
    with torch.no_grad():
        merged, whole = (load_model(ModelArguments(str(p), dtype="float32"))(IDS).logits for p in (folder, adapter))
    torch.testing.assert_close(merged, whole, atol=0.1, rtol=0.02)
