"""Configs of models and adapters from anybody: whatever they state is loaded or refused in a sentence, and cheaply."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from centaurlab.models.identity import identify
from centaurlab.models.loading import load_config, load_model, load_tokenizer, load_without_weights
from centaurlab.runtime.errors import UserError
from helpers.adapters import save_adapter
from helpers.json_files import edit_json
from helpers.tiny_models import logits, named

pytestmark = pytest.mark.usefixtures("own_cache")

HUGE = 10**8


def refusal(folder: Path, read: Callable[..., object] = load_model) -> str:
    """The sentence that reading the model in ``folder`` ends in."""
    with pytest.raises(UserError) as caught:
        read(named(folder))
    said = str(caught.value)
    assert str(folder) in said
    assert len(said) < 700
    return said


@pytest.mark.parametrize("name", ["num_hidden_layers", "num_attention_heads", "num_labels", "n_routed_experts"])
@pytest.mark.parametrize("read", [identify, load_config, load_tokenizer, load_without_weights, load_model])
def test_counts_that_no_model_has_are_refused_before_they_are_built(copy_of, name, read):
    folder = copy_of("model")
    edit_json(folder / "config.json", **{name: HUGE})
    started = time.monotonic()
    assert f"config.json: {name} is 100,000,000, and no model has more than" in refusal(folder, read)
    assert time.monotonic() - started < 1


def test_counts_of_a_part_are_refused_too(copy_of):
    folder = copy_of("model")
    edit_json(folder / "config.json", vision_config={"parts": [{"num_hidden_layers": float("inf")}]})
    assert "num_hidden_layers is inf" in refusal(folder)


@pytest.mark.parametrize("name", ["vocab_size", "hidden_size", "intermediate_size"])
def test_a_model_larger_than_its_weights_is_refused_before_it_is_allocated(copy_of, name):
    folder = copy_of("model")
    edit_json(folder / "config.json", **{name: 1 << 30})
    assert "which do not fit in" in refusal(folder)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"max_position_embeddings": "9"}, "'max_position_embeddings'"),
        ({"rope_parameters": {"rope_type": "nope", "rope_theta": 1e4}}, "KeyError: 'nope'"),
        ({"hidden_act": "nope"}, "KeyError: "),
        ({"num_key_value_heads": 0}, "ZeroDivisionError"),
        ({"head_dim": -8}, "negative dimension"),
        ({"rope_parameters": 7}, "rope_parameters"),
        ({"pad_token_id": 10**9}, "AssertionError: Padding_idx must be within num_embeddings"),
        ({"quantization_config": [1]}, "AttributeError: "),
        ({"auto_map": 3}, "TypeError: "),
        ({"layer_types": ["nope"]}, "layer_types"),
        ({"transformers_weights": "../x.safetensors"}, "inside the model directory"),
        ({"num_hidden_layers": 0}, "a model has at least one"),
        ({"num_hidden_layers": -1}, "a model has at least one"),
        ({"num_hidden_layers": 1}, "weights for layers that its config.json does not count (model.layers.1."),
        ({"num_hidden_layers": 3}, "not a whole causal language model"),
        ({"model_type": 3}, "cannot load"),
        ({"model_type": ["llama"]}, "cannot load"),
    ],
)
def test_what_a_library_cannot_take_is_said_in_a_sentence(copy_of, settings, said):
    folder = copy_of("model")
    edit_json(folder / "config.json", **settings)
    assert said in refusal(folder)


def test_a_checkpoint_does_not_choose_its_kernels(copy_of, tiny_llama_dir):
    folder = copy_of("kernels")
    edit_json(
        folder / "config.json",
        _attn_implementation="kernels-community/flash-attn",
        _experts_implementation="somebody/experts",
    )
    chosen, usual = load_model(named(folder)), load_model(named(tiny_llama_dir))
    assert chosen.config._attn_implementation == usual.config._attn_implementation
    assert torch.equal(logits(chosen), logits(usual))
    own = load_model(named(folder, attn_implementation="eager"))
    assert own.config._attn_implementation == "eager"


def nested(depth: int) -> str:
    return '{"a": ' * depth + "1" + "}" * depth


@pytest.mark.parametrize("content", [nested(100_000), "[]", "3", "", "\xff", '{"model_type": "llama"'])
def test_a_config_that_is_none_is_refused(copy_of, content):
    folder = copy_of("model")
    (folder / "config.json").write_bytes(content.encode("latin-1"))
    refusal(folder)


@pytest.mark.parametrize(
    "content", ["{}", "[]", '{"model": 3}', nested(100_000), '{"version": "1.0", "model": {"type": "BPE", "vocab": 1}}']
)
def test_a_tokenizer_that_is_none_is_refused(copy_of, content):
    folder = copy_of("model")
    (folder / "tokenizer.json").write_text(content)
    refusal(folder, load_tokenizer)


class TestAdapters:
    @pytest.fixture
    def of(self, tiny_llama_dir: Path, tmp_path: Path) -> Callable[..., Path]:
        """An adapter of rank 4 with other words in its config."""
        save_adapter(tiny_llama_dir, tmp_path / "sound")

        def changed(**settings: object) -> Path:
            folder = shutil.copytree(tmp_path / "sound", tmp_path / "adapter")
            edit_json(folder / "adapter_config.json", **settings)
            return folder

        return changed

    @pytest.mark.parametrize(
        ("settings", "said"),
        [
            ({"r": HUGE}, "rank 100,000,000 is far above that of its weights, 4"),
            ({"rank_pattern": {"q_proj": HUGE}}, "rank 100,000,000 is far above"),
            ({"r": "x"}, "rank 'x' is not a whole number"),
            ({"r": True}, "rank True is not a whole number"),
            ({"rank_pattern": [4]}, "rank_pattern is [4], not ranks by name"),
            ({"r": 0}, "does not fit"),
            ({"r": 8}, "does not fit"),
            ({"init_lora_weights": "loftq", "loftq_config": {"loftq_bits": 4}}, "KeyError: 'loftq_iter'"),
            ({"modules_to_save": ["lm_head"]}, "does not fit"),
            ({"target_modules": "q_proj("}, "unterminated subpattern"),
            ({"target_modules": 5}, ""),
            ({"target_modules": ["nowhere"]}, "does not fit"),
            ({"peft_type": "NOPE"}, "cannot load adapter"),
            ({"peft_type": 1}, "cannot load adapter"),
            ({"layer_replication": [[0, 10**6]]}, "does not fit"),
            ({"alpha_pattern": 3}, ""),
            ({"lora_alpha": "x"}, ""),
        ],
    )
    def test_what_an_adapter_cannot_be_is_said_in_a_sentence(self, of, settings, said):
        assert said in refusal(of(**settings))
