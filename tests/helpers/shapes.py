"""Shapes of models that are never built."""

import torch
from transformers import AutoModelForCausalLM, PretrainedConfig, Qwen3Config

from centaurlab.models.shape import ModelShape, model_shape

QWEN3_32B = Qwen3Config(
    vocab_size=151_936, hidden_size=5_120, intermediate_size=25_600, num_hidden_layers=64,
    num_attention_heads=64, num_key_value_heads=8, head_dim=128, tie_word_embeddings=False,
)  # fmt: skip
QWEN3_8B = Qwen3Config(
    vocab_size=151_936, hidden_size=4_096, intermediate_size=12_288, num_hidden_layers=36,
    num_attention_heads=32, num_key_value_heads=8, head_dim=128, tie_word_embeddings=False,
)  # fmt: skip
QWEN3_06B = Qwen3Config(
    vocab_size=151_936, hidden_size=1_024, intermediate_size=3_072, num_hidden_layers=28,
    num_attention_heads=16, num_key_value_heads=8, head_dim=128, tie_word_embeddings=True,
)  # fmt: skip


def config_shape(config: PretrainedConfig, shards: int = 1) -> ModelShape:
    """The shape of the model that a config describes, without its weights, or of one of so many parts."""
    with torch.device("meta"):
        return model_shape(AutoModelForCausalLM.from_config(config), shards)
