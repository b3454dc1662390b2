"""A model is what its files and settings say, is loaded whole or not at all, and keeps its adapter exact."""

from pathlib import Path

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    Gemma3Config,
    Gemma3ForConditionalGeneration,
)

from centaurlab.models import loading
from centaurlab.models.loading import _device_map, load_model, load_tokenizer
from centaurlab.models.shape import context_window
from centaurlab.runtime.errors import UserError
from helpers.tiny_models import in_float32, logits, named, save_tiny_gemma

pytestmark = pytest.mark.usefixtures("own_cache")


def test_model_is_the_one_in_the_folder(tiny_llama_dir: Path) -> None:
    model = load_model(in_float32(tiny_llama_dir))
    reference = AutoModelForCausalLM.from_pretrained(tiny_llama_dir, dtype=torch.float32)
    assert torch.equal(logits(model), logits(reference))
    assert not any(module.training for module in model.modules())
    assert (model.dtype, model.device) == (torch.float32, torch.device("cpu"))
    assert load_model(named(tiny_llama_dir)).dtype == torch.bfloat16


def test_tokenizer_is_the_one_in_the_folder(tiny_gemma_dir: Path) -> None:
    tokenizer = load_tokenizer(named(tiny_gemma_dir))
    assert tokenizer("win").input_ids == AutoTokenizer.from_pretrained(tiny_gemma_dir)("win").input_ids
    assert tokenizer("win").input_ids[0] == tokenizer.bos_token_id


class TestDevices:
    def test_each_process_reads_to_its_own_device(self, tiny_llama_dir: Path) -> None:
        args = named(tiny_llama_dir)
        assert _device_map(args, torch.device("cuda", 3)) == {"": "cuda:3"}
        assert _device_map(args, None) == {"": "cpu"}

    def test_one_model_over_all_devices_needs_one_process(
        self, tiny_llama_dir: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        args = named(tiny_llama_dir, device_map="auto")
        monkeypatch.setenv("WORLD_SIZE", "1")
        assert torch.equal(logits(load_model(args)), logits(load_model(named(tiny_llama_dir))))
        monkeypatch.setenv("WORLD_SIZE", "8")
        with pytest.raises(UserError, match="single process"):
            load_model(args)

    def test_weights_that_would_be_fetched_for_every_pass_are_refused(
        self, tiny_llama_dir: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(loading, "_device_map", lambda *_: {"model": "disk", "lm_head": "cpu"})
        with pytest.raises(UserError, match=r"does not fit in the memory of these devices: part .*--load_in_4bit"):
            load_model(named(tiny_llama_dir, device_map="auto"))


def test_multimodal_checkpoint_reads_text(tmp_path: Path) -> None:
    text_model = load_model(in_float32(save_tiny_gemma(tmp_path / "text")))
    vision = {
        "hidden_size": 32,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 28,
        "patch_size": 14,
    }
    config = Gemma3Config(text_config=text_model.config.to_dict(), vision_config=vision, mm_tokens_per_image=4)
    multimodal = Gemma3ForConditionalGeneration(config)
    multimodal.model.language_model.load_state_dict(text_model.model.state_dict())
    multimodal.save_pretrained(tmp_path / "multimodal")
    model = load_model(in_float32(tmp_path / "multimodal"))
    assert isinstance(model, Gemma3ForConditionalGeneration)
    torch.testing.assert_close(logits(model), logits(text_model))
    assert context_window(model) == 2048
