"""Two tiny real models: a Llama (full attention) and a Gemma 3 (sliding and full attention).

Built from their configs with fixed weights, each with a byte-level BPE tokenizer trained here, and saved as a
user's own model folder would be.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from centaurlab.models.arguments import ModelArguments

if TYPE_CHECKING:
    import torch
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerFast

TRAINING_TEXT = [
    "You will be shown two slot machines, J and F. You choose <<J>> and win 3.5 points. You choose <<F>>.\n",
    "How much do you agree, from 1 to 6? I am indifferent to the feelings of others. You answer <<4>>.\n",
    "The word RED is written in blue. You press <<blue>> after 812 ms. That is correct.\n",
    "Option A: win -20 dollars with 50 % chance. Option B: win 7 for sure. You say <<-B>> »really« …\n",
    "Wie würden Sie das finden? Vous répondez <<très bien>>. 你选择 <<左>>. Ты выбираешь <<да>> 🙂.\n",
]

CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>\n' + message['content'] + '<|end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)
"""Every turn after its role, and nothing else."""


def named(folder: Path, **settings: object) -> ModelArguments:
    """The model in ``folder``, named as on a command line."""
    return ModelArguments(str(folder), **settings)


def in_float32(folder: Path, **settings: object) -> ModelArguments:
    """The model in ``folder``, to be loaded in float32."""
    return named(folder, dtype="float32", **settings)


def logits(model: "torch.nn.Module") -> "torch.Tensor":
    """Logits (1, 55, V) after each of the tokens 5 to 59."""
    import torch

    with torch.inference_mode():
        found: torch.Tensor = model(torch.arange(5, 60)[None]).logits.float()
    return found


def byte_level_bpe(special_tokens: list[str], bos: str | None) -> "PreTrainedTokenizerFast":
    """A byte-level BPE tokenizer of about 500 entries that puts ``bos`` in front, where there is one."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=500,
        special_tokens=special_tokens,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TRAINING_TEXT, trainer)
    if bos is not None:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A", pair=f"{bos} $A {bos} $B", special_tokens=[(bos, tokenizer.token_to_id(bos))]
        )
    names = {"pad_token": special_tokens[0], "eos_token": special_tokens[1]}
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_max_length=2048, **names, **({"bos_token": bos} if bos else {})
    )


def save_tiny_llama(folder: Path, seed: int = 0) -> Path:
    """A two-layer Llama with grouped-query attention and its tokenizer, in bfloat16 safetensors."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = byte_level_bpe(["<pad>", "<|end|>"], bos=None)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=2048,
        pad_token_id=0,
        bos_token_id=None,
        eos_token_id=1,
        initializer_range=0.3,
    )
    return _save(LlamaForCausalLM, config, tokenizer, folder, seed, torch.bfloat16)


def save_tiny_gemma(folder: Path, seed: int = 0) -> Path:
    """A four-layer Gemma 3, layers 2 and 4 of full attention and the others with a window of 32 tokens."""
    import torch
    from transformers import Gemma3ForCausalLM, Gemma3TextConfig

    tokenizer = byte_level_bpe(["<pad>", "<eos>", "<bos>"], bos="<bos>")
    config = Gemma3TextConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=1,
        head_dim=8,
        query_pre_attn_scalar=8,
        sliding_window=32,
        layer_types=["sliding_attention", "full_attention", "sliding_attention", "full_attention"],
        max_position_embeddings=2048,
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=2,
        initializer_range=0.3,
    )
    return _save(Gemma3ForCausalLM, config, tokenizer, folder, seed, torch.bfloat16)


def _save(
    model_class: "type[PreTrainedModel]",
    config: "PretrainedConfig",
    tokenizer: "PreTrainedTokenizerFast",
    folder: Path,
    seed: int,
    dtype: "torch.dtype",
) -> Path:
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model_class(config).to(dtype).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
