"""Tiny models of many architectures, of random weights so large that far context matters.

Every one has a vocabulary of 259 (the bytes and three more), two to four layers, and windows and original rope lengths
far below the sessions that it is tried on.
"""

from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import (
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

B = {
    "vocab_size": 259, "hidden_size": 32, "num_hidden_layers": 2, "pad_token_id": 0, "eos_token_id": 1, "bos_token_id":
    2,
}  # fmt: skip
M = B | {"intermediate_size": 64}
A = M | {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 4096}
MHA = A | {"num_key_value_heads": 4}
H = A | {"head_dim": 8}
MOE = {"num_experts_per_tok": 2}
SPREAD = 0.25

_LONGROPE = {
    "rope_type": "longrope", "rope_theta": 10000.0, "short_factor": [1.0] * 4, "long_factor": [4.0, 8.0, 16.0, 32.0],
    "original_max_position_embeddings": 150,
}  # fmt: skip
_LATENT = {
    "kv_lora_rank": 16, "q_lora_rank": 16, "qk_rope_head_dim": 4, "qk_nope_head_dim": 8, "v_head_dim": 8,
    "moe_intermediate_size": 16, "n_routed_experts": 4, "n_shared_experts": 1, "n_group": 1, "topk_group": 1,
    "first_k_dense_replace": 1,
}  # fmt: skip
_DELTA = {
    "linear_key_head_dim": 8, "linear_value_head_dim": 8, "linear_num_key_heads": 2, "linear_num_value_heads": 4,
}  # fmt: skip
_TWO_KINDS = {"layer_types": ["sliding_attention", "full_attention"], "sliding_window": 32}
_VISION = {
    "depth": 1, "hidden_size": 32, "intermediate_size": 32, "num_heads": 2, "out_hidden_size": 32, "patch_size": 4,
    "num_position_embeddings": 16, "deepstack_visual_indexes": [0],
}  # fmt: skip
_SIGLIP = {
    "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 8,
    "patch_size": 4,
}  # fmt: skip
_IMAGE_TOKENS = {
    "image_token_id": 258, "video_token_id": 257, "vision_start_token_id": 256, "vision_end_token_id": 255,
}  # fmt: skip
_MROPE = {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [1, 1, 2]}}

# fmt: off
ARCHITECTURES: dict[str, tuple[str, dict[str, Any]]] = {
    # the catalog's, and their relatives
    "llama": ("LlamaConfig", A),
    "llama_linear_rope": ("LlamaConfig", A | {"rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta":
        10000.0}}),
    "llama_dynamic_rope": ("LlamaConfig", A | {"max_position_embeddings": 150, "rope_parameters": {"rope_type":
        "dynamic", "factor": 4.0, "rope_theta": 10000.0}}),
    "llama_yarn": ("LlamaConfig", A | {"rope_parameters": {"rope_type": "yarn", "factor": 4.0, "rope_theta": 10000.0,
        "original_max_position_embeddings": 1024}}),
    "llama3_rope": ("LlamaConfig", A | {"rope_parameters": {"rope_type": "llama3", "factor": 8.0, "rope_theta":
        500000.0, "original_max_position_embeddings": 512, "low_freq_factor": 1.0, "high_freq_factor": 4.0}}),
    "llama_tied": ("LlamaConfig", A | {"tie_word_embeddings": True}),
    "qwen2": ("Qwen2Config", A),
    "qwen2_sliding": ("Qwen2Config", A | {"use_sliding_window": True, "max_window_layers": 1, "sliding_window": 32}),
    "qwen3": ("Qwen3Config", H),
    "qwen3_moe": ("Qwen3MoeConfig", H | MOE | {"num_experts": 4, "moe_intermediate_size": 16}),
    "qwen3_5_text": ("Qwen3_5TextConfig", H | _DELTA | {"layer_types": ["linear_attention", "full_attention"]}),
    "qwen3_next": ("Qwen3NextConfig", H | MOE | _DELTA | {"layer_types": ["linear_attention", "full_attention"],
        "num_experts": 4, "moe_intermediate_size": 16, "shared_expert_intermediate_size": 16}),
    "olmo2": ("Olmo2Config", A),
    "olmo3": ("Olmo3Config", A | _TWO_KINDS),
    "olmo3_yarn": ("Olmo3Config", A | _TWO_KINDS | {"max_position_embeddings": 150, "rope_parameters":
        {"sliding_attention": {"rope_type": "default", "rope_theta": 1e4}, "full_attention": {"rope_type": "yarn",
        "factor": 8.0, "rope_theta": 1e4, "original_max_position_embeddings": 150}}}),
    "gemma": ("GemmaConfig", H),
    "gemma2": ("Gemma2Config", H | {"sliding_window": 32, "query_pre_attn_scalar": 8}),
    "gemma3": ("Gemma3TextConfig", H | _TWO_KINDS | {"query_pre_attn_scalar": 8}),
    "gemma3n": ("Gemma3nTextConfig", H | {"num_hidden_layers": 4, "num_kv_shared_layers": 2, "sliding_window": 32,
        "intermediate_size": [64] * 4, "layer_types": ["sliding_attention", "full_attention"] * 2,
        "vocab_size_per_layer_input": 259, "hidden_size_per_layer_input": 8, "laurel_rank": 4,
        "activation_sparsity_pattern": [0.0] * 4}),
    "gemma4": ("Gemma4TextConfig", H | {"num_hidden_layers": 4, "num_kv_shared_layers": 2, "sliding_window": 32,
        "global_head_dim": 16, "layer_types": ["sliding_attention", "full_attention"] * 2, "vocab_size_per_layer_input":
        259, "hidden_size_per_layer_input": 8}),
    "mistral": ("MistralConfig", H | {"sliding_window": 32}),
    "mixtral": ("MixtralConfig", A | MOE | {"num_local_experts": 4}),
    "phi": ("PhiConfig", MHA),
    "phi3": ("Phi3Config", A),
    "phi3_longrope": ("Phi3Config", A | {"original_max_position_embeddings": 150, "rope_parameters": _LONGROPE}),
    "smollm3": ("SmolLM3Config", A),
    "stablelm": ("StableLmConfig", A),
    "starcoder2": ("Starcoder2Config", A | {"sliding_window": 32}),
    "falcon": ("FalconConfig", B | {"num_attention_heads": 4, "new_decoder_architecture": True, "num_kv_heads": 2}),
    "falcon_alibi": ("FalconConfig", B | {"num_attention_heads": 4, "alibi": True}),
    "gpt2": ("GPT2Config", {"vocab_size": 259, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 4096,
        "bos_token_id": 2, "eos_token_id": 1}),
    "gpt_neo": ("GPTNeoConfig", B | {"num_layers": 2, "num_heads": 4, "attention_types": [[["global", "local"], 1]],
        "window_size": 32, "max_position_embeddings": 4096}),
    "gpt_neox": ("GPTNeoXConfig", A),
    "gptj": ("GPTJConfig", {"vocab_size": 259, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 4096,
        "rotary_dim": 4, "bos_token_id": 2, "eos_token_id": 1}),
    "opt": ("OPTConfig", B | {"ffn_dim": 64, "num_attention_heads": 4, "max_position_embeddings": 4096,
        "word_embed_proj_dim": 32}),
    "bloom": ("BloomConfig", {"vocab_size": 259, "hidden_size": 32, "n_layer": 2, "n_head": 4, "bos_token_id": 2,
        "eos_token_id": 1}),
    "mpt": ("MptConfig", {"vocab_size": 259, "d_model": 32, "n_layers": 2, "n_heads": 4, "max_seq_len": 4096}),
    "cohere": ("CohereConfig", A),
    "cohere2": ("Cohere2Config", A | _TWO_KINDS),
    "granite": ("GraniteConfig", A),
    "exaone4": ("Exaone4Config", H | _TWO_KINDS),
    "glm4": ("Glm4Config", H),
    "seed_oss": ("SeedOssConfig", H),
    "llama4": ("Llama4TextConfig", H | MOE | {"num_hidden_layers": 4, "attention_chunk_size": 32, "no_rope_layers": [1,
        1, 1, 0], "num_local_experts": 2, "num_experts_per_tok": 1, "intermediate_size_mlp": 64,
        "interleave_moe_layer_step": 2}),
    "gpt_oss": ("GptOssConfig", H | MOE | {"num_local_experts": 4, "sliding_window": 32, "rope_parameters":
        {"rope_type": "default", "rope_theta": 10000.0}}),
    "deepseek_v2": ("DeepseekV2Config", MHA | MOE | _LATENT),
    "deepseek_v3": ("DeepseekV3Config", MHA | MOE | _LATENT),
    "deepseek_v32": ("DeepseekV32Config", MHA | MOE | _LATENT | {"index_n_heads": 16, "index_head_dim": 8, "index_topk":
        24}),
    "deepseek_v4": ("DeepseekV4Config", MHA | MOE | {"layer_types": ["heavily_compressed_attention"] * 2, "head_dim":
        16, "q_lora_rank": 16, "qk_rope_head_dim": 8, "o_groups": 2, "o_lora_rank": 8, "index_head_dim": 8,
        "index_n_heads": 4, "index_topk": 8, "n_routed_experts": 4, "moe_intermediate_size": 16, "sliding_window": 32}),
    "nanochat": ("NanoChatConfig", A),
    "modernbert_decoder": ("ModernBertDecoderConfig", A | {"local_attention": 64, "num_hidden_layers": 3}),
    # states in place of keys, alone or besides them
    "mamba": ("MambaConfig", B | {"state_size": 8}),
    "mamba2": ("Mamba2Config", B | {"state_size": 8, "num_heads": 8, "head_dim": 8, "n_groups": 1, "chunk_size": 16}),
    "falcon_mamba": ("FalconMambaConfig", B | {"state_size": 8}),
    "rwkv": ("RwkvConfig", B | {"attention_hidden_size": 32, "context_length": 4096}),
    "xlstm": ("xLSTMConfig", B | {"num_heads": 4, "chunk_size": 16, "num_blocks": 2}),
    "recurrent_gemma": ("RecurrentGemmaConfig", MHA | {"lru_width": 32, "block_types": ["recurrent", "attention"],
        "attention_window_size": 32, "num_key_value_heads": 1}),
    "jamba": ("JambaConfig", A | MOE | {"num_hidden_layers": 4, "attn_layer_period": 2, "attn_layer_offset": 1,
        "expert_layer_period": 2, "expert_layer_offset": 1, "num_experts": 2, "mamba_d_state": 8, "mamba_dt_rank": 4,
        "use_mamba_kernels": False}),
    "bamba": ("BambaConfig", A | {"attn_layer_indices": [1], "mamba_n_heads": 8, "mamba_d_head": 8, "mamba_d_state": 8,
        "mamba_n_groups": 1, "mamba_chunk_size": 16}),
    "zamba2": ("Zamba2Config", MHA | {"num_hidden_layers": 4, "layers_block_type": ["mamba", "hybrid"] * 2,
        "mamba_d_state": 8, "mamba_headdim": 8, "mamba_ngroups": 1, "chunk_size": 16, "num_mem_blocks": 1,
        "use_mem_eff_path": False, "n_mamba_heads": 8}),
    "falcon_h1": ("FalconH1Config", A | {"mamba_d_ssm": 64, "mamba_n_heads": 8, "mamba_d_head": 8, "mamba_d_state": 8,
        "mamba_n_groups": 1, "mamba_chunk_size": 16}),
    "granitemoehybrid": ("GraniteMoeHybridConfig", A | MOE | {"layer_types": ["mamba", "attention"], "mamba_n_heads": 8,
        "mamba_d_head": 8, "mamba_d_state": 8, "mamba_n_groups": 1, "mamba_chunk_size": 16, "num_local_experts": 2,
        "shared_intermediate_size": 16}),
    "nemotron_h": ("NemotronHConfig", A | MOE | {"num_hidden_layers": 3, "hybrid_override_pattern": "M*-",
        "mamba_num_heads": 8, "mamba_head_dim": 8, "ssm_state_size": 8, "n_groups": 1, "chunk_size": 16, "head_dim":
        8}),
    "lfm2": ("Lfm2Config", A | {"layer_types": ["conv", "full_attention"], "block_ff_dim": 64}),
    "minimax": ("MiniMaxConfig", H | {"layer_types": ["linear_attention", "full_attention"], "num_local_experts": 2,
        "num_experts_per_tok": 1, "block_size": 64}),
    "kimi_linear": ("KimiLinearConfig", MHA | {"layer_types": ["linear_attention", "full_attention"], "kv_lora_rank":
        16, "qk_rope_head_dim": 4, "qk_nope_head_dim": 8, "v_head_dim": 8, "linear_head_dim": 8, "linear_num_heads": 4,
        "num_local_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}),
    "olmo_hybrid": ("OlmoHybridConfig", MHA | _DELTA | {"layer_types": ["linear_attention", "full_attention"],
        "linear_num_value_heads": 2}),
    # models of images, of which the part is used that reads text
    "gemma3_images": ("Gemma3Config", {"text_config": H | _TWO_KINDS | {"query_pre_attn_scalar": 8},
        "vision_config": _SIGLIP,
        "mm_tokens_per_image": 4, "image_token_index": 258, "boi_token_index": 257, "eoi_token_index": 256}),
    "qwen3_vl": ("Qwen3VLConfig", {"text_config": H | _MROPE, "vision_config": _VISION, **_IMAGE_TOKENS}),
    "qwen2_5_vl": ("Qwen2_5_VLConfig", {"text_config": A | _MROPE, "vision_config": _VISION, **_IMAGE_TOKENS}),
    "qwen3_5": ("Qwen3_5Config", {
        "text_config": H | _DELTA | {"layer_types": ["linear_attention", "full_attention"]}, "vision_config": _VISION,
        **_IMAGE_TOKENS,
    }),
    "mllama": ("MllamaConfig", {
        "text_config": A | {"cross_attention_layers": [1], "num_hidden_layers": 3, "vocab_size": 259},
        "vision_config": {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_global_layers": 1,
            "attention_heads": 2, "image_size": 8, "patch_size": 4, "vision_output_dim": 64,
            "intermediate_layers_indices": [0]}, "image_token_index": 258,
    }),
}
# fmt: on


def config_of(name: str) -> PretrainedConfig:
    """The configuration of an architecture."""
    kind, settings = ARCHITECTURES[name]
    config: PretrainedConfig = getattr(transformers, kind)(**settings)
    return config


def class_of(config: PretrainedConfig) -> type[AutoModelForCausalLM] | type[AutoModelForImageTextToText]:
    """What loads it."""
    return AutoModelForCausalLM if config.get_text_config() is config else AutoModelForImageTextToText


def build(name: str, seed: int = 0) -> PreTrainedModel:
    """The model of an architecture, with random weights, in float32 and evaluation mode."""
    config = config_of(name)
    torch.manual_seed(seed)
    model: PreTrainedModel = class_of(config).from_config(config).float()
    enlarge(model, seed)
    return model.eval()


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """A tokenizer of single bytes, whose ids the models here have, so that a plain loop has no token to split."""
    special = ["<pad>", "<eos>", "<bos>"]
    vocabulary = {token: i for i, token in enumerate(special + sorted(pre_tokenizers.ByteLevel.alphabet()))}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(special)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A", pair="<bos> $A $B", special_tokens=[("<bos>", 2)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>", bos_token="<bos>", model_max_length=8192
    )


def enlarge(model: PreTrainedModel, seed: int = 0) -> None:
    """Draw all matrices anew, with a spread that makes every token's prediction depend on all before it."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        if parameter.dim() >= 2:
            parameter.data.normal_(0, SPREAD, generator=generator)


def save(name: str, folder: Path) -> Path:
    """Save the model of an architecture with the tokenizer of bytes, as a user's folder would be."""
    build(name).save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    return folder
