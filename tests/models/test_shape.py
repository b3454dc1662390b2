"""Shapes and operations against arithmetic by hand, PyTorch's own counter, and what makers publish."""

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode
from transformers import (
    AutoModelForCausalLM,
    BambaConfig,
    BloomConfig,
    DynamicCache,
    Gemma4TextConfig,
    LlamaConfig,
    LlamaModel,
    Mamba2Config,
    MixtralConfig,
    Olmo3Config,
    PretrainedConfig,
)

from centaurlab.data.source import DataArguments
from centaurlab.models.arguments import ModelArguments
from centaurlab.models.loading import load_config, load_model, load_without_weights
from centaurlab.models.shape import (
    AttentionLayer,
    ModelShape,
    context_window,
    countable_shape,
    model_shape,
    usable_window,
    window_notes,
)
from centaurlab.runtime.errors import UserError
from centaurlab.scoring.cost import PlanArguments, make_plan
from helpers.shapes import QWEN3_32B, config_shape
from helpers.tiny_models import named


def shape_of(folder: Path) -> ModelShape:
    return model_shape(load_without_weights(ModelArguments(str(folder))))


def test_the_parameters_of_a_llama_are_those_of_its_config(tiny_llama_dir: Path) -> None:
    shape, model = shape_of(tiny_llama_dir), load_model(ModelArguments(str(tiny_llama_dir)))
    query, key, value, output = 32 * 32, 32 * 16, 32 * 16, 32 * 32
    body = 2 * (query + key + value + output + 3 * 32 * 64)
    vocabulary = model.config.vocab_size
    norms = 2 * 2 * 32 + 32
    assert shape.body_weights == shape.matrix_parameters == body
    assert shape.head_weights == vocabulary * 32
    assert shape.n_parameters == body + norms + 2 * vocabulary * 32 == model.num_parameters()
    assert shape.layers == ((AttentionLayer(None, 2 * 4 * (8 + 8), 2 * (8 + 8)), 2),)
    assert shape.n_heads == 4


def test_the_parameters_of_a_gemma_are_those_of_its_config(tiny_gemma_dir: Path) -> None:
    shape, model = shape_of(tiny_gemma_dir), load_model(ModelArguments(str(tiny_gemma_dir)))
    query, key, value, output = 32 * 32, 32 * 8, 32 * 8, 32 * 32
    body = 4 * (query + key + value + output + 3 * 32 * 64)
    vocabulary = model.config.vocab_size
    norms = 4 * (4 * 32 + 2 * 8) + 32
    assert shape.body_weights == body
    assert shape.n_parameters == body + norms + vocabulary * 32 == model.num_parameters(), "the embedding is the head"
    assert {layer.window: n for layer, n in shape.layers} == {32: 2, None: 2}


def test_layers_that_keep_a_state_attend_to_nothing() -> None:
    mixed = config_shape(
        BambaConfig(
            num_hidden_layers=2, hidden_size=64, vocab_size=100, attn_layer_indices=[1], num_attention_heads=4,
            num_key_value_heads=2, mamba_n_heads=8, mamba_d_head=16,
        )
    )  # fmt: skip
    assert [(layer.window, n) for layer, n in mixed.layers] == [(None, 1)]
    assert mixed.body_weights == mixed.matrix_parameters
    states = config_shape(Mamba2Config(num_hidden_layers=2))
    assert (states.layers, states.n_heads, states.cached_elements(100)) == ((), 0, 0)
    assert states.flops(1_000, 1_000, 10) > 2 * 1_000 * states.body_weights


def unseen_flops(shape: ModelShape, n_inputs: int) -> float:
    """Of the keys that eager attention multiplies every query with, those that it does not see."""
    return sum(
        n * layer.pair_flops * (n_inputs**2 - sum(min(t + 1, layer.window or t + 1) for t in range(n_inputs)))
        for layer, n in shape.layers
    )


GEMMA_4 = Gemma4TextConfig(
    vocab_size=259, hidden_size=32, num_hidden_layers=6, intermediate_size=64, num_attention_heads=4,
    num_key_value_heads=2, head_dim=8, global_head_dim=16, sliding_window=16, num_kv_shared_layers=2,
    layer_types=["sliding_attention", "full_attention"] * 3, vocab_size_per_layer_input=259,
    hidden_size_per_layer_input=8,
)  # fmt: skip
"""Heads of two sizes, and two layers that use the keys of others."""


def test_layers_differ_in_the_size_of_their_heads_and_share_their_keys() -> None:
    shape = config_shape(GEMMA_4)
    assert dict(shape.layers) == {
        AttentionLayer(16, 2 * 4 * 16, 2 * 16): 2,
        AttentionLayer(None, 2 * 4 * 32, 2 * 32): 2,
        AttentionLayer(16, 2 * 4 * 16, 0): 1,
        AttentionLayer(None, 2 * 4 * 32, 0): 1,
    }
    model, cache = (
        AutoModelForCausalLM.from_config(GEMMA_4, attn_implementation="eager").eval(),
        DynamicCache(config=GEMMA_4),
    )
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        model(input_ids=torch.arange(50)[None], cache=cache, use_cache=True, logits_to_keep=torch.tensor([49]))
    expected = shape.flops(51, 50, 1) + unseen_flops(shape, 50)
    assert counter.get_total_flops() == pytest.approx(expected, rel=2e-3)
    assert shape.cached_elements(50) == sum(
        layer.keys.numel() + layer.values.numel() for layer in cache.layers if getattr(layer, "keys", None) is not None
    )


def test_a_shape_that_cannot_be_read_is_a_sentence(tiny_llama_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LlamaModel, "parameters", lambda _: iter([torch.tensor("strange")]))
    reason = countable_shape(ModelArguments(str(tiny_llama_dir)))
    assert isinstance(reason, str)
    assert reason.startswith("floating-point operations are not counted")
    with pytest.raises(UserError, match="cannot be planned"):
        make_plan(ModelArguments(str(tiny_llama_dir)), DataArguments("starter"), PlanArguments("H100"))


@pytest.mark.parametrize("name", ["llama", "gemma"])
def test_operations_are_those_that_pytorch_counts(name: str, request: pytest.FixtureRequest) -> None:
    """Eager attention multiplies every query with every key; ours counts those that it sees."""
    folder = request.getfixturevalue(f"tiny_{name}_dir")
    shape = shape_of(folder)
    model = load_model(ModelArguments(str(folder), attn_implementation="eager"))
    n_inputs, answers = 150, torch.tensor([20, 70, 149])
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        model(input_ids=torch.arange(n_inputs)[None], logits_to_keep=answers, use_cache=False)
    n_layers = model.config.num_hidden_layers
    assert sum(n for _, n in shape.layers) == n_layers
    expected = shape.flops(n_inputs + 1, n_inputs, len(answers)) + unseen_flops(shape, n_inputs)
    assert counter.get_total_flops() == pytest.approx(expected, rel=1e-3), "rotary embeddings are the rest"


@given(n_tokens=st.integers(0, 90), n_cached=st.integers(0, 60), n_answers=st.integers(0, 9))
def test_operations_of_a_part_are_summed_over_its_queries(n_tokens: int, n_cached: int, n_answers: int) -> None:
    layers = ((AttentionLayer(None, 7, 1), 2), (AttentionLayer(16, 5, 1), 3))
    shape = ModelShape(0, 1_000, 500, 0, layers, n_heads=1, hidden_size=1, widest=1, vocabulary=1)
    computed = range(n_cached, max(n_tokens - 1, n_cached))
    expected = 2 * 500 * n_answers
    for t in computed:
        expected += 2 * 1_000 + 7 * 2 * (t + 1) + 5 * 3 * min(t + 1, 16)
    assert shape.flops(n_tokens, len(computed), n_answers) == pytest.approx(expected)


@pytest.mark.parametrize("n_tokens", [5, 31, 100])
def test_the_cache_holds_as_many_numbers_as_a_real_one(tiny_gemma_dir: Path, n_tokens: int) -> None:
    model = load_model(ModelArguments(str(tiny_gemma_dir)))
    cache = DynamicCache(config=model.config)
    with torch.inference_mode():
        model(input_ids=torch.arange(n_tokens)[None], cache=cache, use_cache=True)
    held = sum(layer.keys.numel() + layer.values.numel() for layer in cache.layers)
    assert shape_of(tiny_gemma_dir).cached_elements(n_tokens) == held


def test_sizes_are_those_that_model_cards_state() -> None:
    """32.8 and 31.2 billion, without embeddings, for Qwen3-32B; 8.03 for Llama 3.1 8B; 46.7 and 12.9 for Mixtral."""
    qwen = config_shape(QWEN3_32B)
    assert (round(qwen.n_parameters / 1e9, 1), round(qwen.body_weights / 1e9, 1)) == (32.8, 31.2)
    llama = config_shape(
        LlamaConfig(
            vocab_size=128_256, hidden_size=4_096, intermediate_size=14_336, num_hidden_layers=32,
            num_attention_heads=32, num_key_value_heads=8,
        )
    )  # fmt: skip
    assert round(llama.n_parameters / 1e9, 2) == 8.03
    mixtral = config_shape(MixtralConfig())
    used = mixtral.body_weights + 2 * mixtral.head_weights
    assert (round(mixtral.n_parameters / 1e9, 1), round(used / 1e9, 1)) == (46.7, 12.9)


class TestContextWindow:
    def test_is_the_configs_word(self, tiny_llama_dir: Path) -> None:
        assert context_window(load_config(named(tiny_llama_dir))) == 2048
        assert context_window(load_model(named(tiny_llama_dir))) == 2048

    def test_yarn_counts_from_the_original_length(self) -> None:
        rope = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768, "rope_theta": 1e6}
        assert context_window(LlamaConfig(max_position_embeddings=32768, rope_parameters=rope)) == 131072
        assert context_window(LlamaConfig(max_position_embeddings=131072, rope_parameters=rope)) == 131072

    def test_so_does_yarn_of_one_kind_of_layer(self) -> None:
        yarn = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 256, "rope_theta": 1e4}
        ropes = {"sliding_attention": {"rope_type": "default", "rope_theta": 1e4}, "full_attention": yarn}
        assert context_window(Olmo3Config(max_position_embeddings=256, rope_parameters=ropes)) == 1024
        unknown = LlamaConfig(max_position_embeddings=256, rope_parameters=yarn)
        unknown.rope_parameters["factor"] = None
        assert context_window(unknown) == 256

    def test_other_scaling_is_already_in_the_stated_length(self) -> None:
        rope = {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6}
        assert context_window(LlamaConfig(max_position_embeddings=131072, rope_parameters=rope)) == 131072

    def test_a_config_without_one_asks_for_it(self) -> None:
        with pytest.raises(UserError, match="--max_length"):
            context_window(BloomConfig())

    @pytest.mark.parametrize(
        ("config", "max_length", "expected"),
        [
            (LlamaConfig(max_position_embeddings=2048), None, 2048),
            (LlamaConfig(max_position_embeddings=2048), 100, 100),
            (LlamaConfig(max_position_embeddings=2048), 4096, 2048),
            (BloomConfig(), 100, 100),
        ],
    )
    def test_sessions_are_as_long_as_the_window_and_the_option_allow(
        self, config: PretrainedConfig, max_length: int | None, expected: int
    ) -> None:
        assert usable_window(config, max_length) == expected
        said = "".join(window_notes(config, max_length))
        sentence = "--max_length is 4096, and this model reads 2048 tokens at most, which stands in its place"
        assert said == sentence * (max_length == 4096)

    @pytest.mark.parametrize("kind", ["linear", "dynamic"])
    def test_a_stretched_rope_is_used_as_far_as_is_asked_for(self, kind: str) -> None:
        rope = {"rope_type": kind, "factor": 4.0, "rope_theta": 1e4}
        config = LlamaConfig(max_position_embeddings=256, rope_parameters=rope)
        assert [usable_window(config, n) for n in (None, 100, 256, 700, 1024)] == [256, 100, 256, 700, 1024]
        with pytest.raises(UserError, match="give 1024 or less"):
            usable_window(config, 1025)

    @pytest.mark.parametrize(("config", "max_length"), [(BloomConfig(), None), (LlamaConfig(), 0)])
    def test_what_remains_is_asked_for(self, config: PretrainedConfig, max_length: int | None) -> None:
        with pytest.raises(UserError, match="--max_length"):
            usable_window(config, max_length)
