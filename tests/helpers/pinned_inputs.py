"""Sessions and models that are the same in every version of every library: what pinned results were computed from.

No random numbers: answers and weights come from sines. Written out by ``write_inputs``.
"""

import json
import math
from pathlib import Path

STUDIES = {"alpha": 20, "beta": 12, "gamma": 31}
"""How many people each has."""

_QUIRKS = ("skip", "-5", "think", "7 ", "left")
_LETTERS = ("J", "F", "Q")


def write_inputs(folder: Path) -> None:
    """``sessions.jsonl`` and the models ``base`` and ``post`` in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [session(study, person) for study, n in STUDIES.items() for person in range(n)]
    lines = "".join(f"{json.dumps(row)}\n" for row in rows)
    (folder / "sessions.jsonl").write_text(lines, encoding="utf-8")
    save_model(folder / "base", 0.0)
    save_model(folder / "post", 1.0)


def session(study: str, person: int) -> dict[str, object]:
    """A person's choices, with whatever protocol ``paper`` changes; some are longer than it reads, one has no end."""
    number = sum(map(ord, study)) + person
    text = f"Study {study}. You choose among J, F and Q; More Details >> below.\n"
    for trial in range(8 + number % 5):
        wave = math.sin(12.9898 * number + 78.233 * trial)
        answer = _LETTERS[int(1.5 * (wave + 1)) % 3]
        if trial % 4 == 3:
            answer = _QUIRKS[(number + trial) % len(_QUIRKS)]
        text += f"Trial {trial}: you choose <<{answer}>> and win {round(50 * wave)} points.\n"
        if number % 11 == 0 and trial == 5:
            text += "Please wait. " * 2600
    if number % 7 == 0:
        text += "You choose <<J"
    return {"text": text, "experiment": f"{study}/exp1.csv", "participant": person, "study": study}


def save_model(folder: Path, phase: float) -> None:
    """A Llama of one layer whose tokens are bytes; every weight is a sine of its place and ``phase``."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({"<pad>": 0, "<end>": 1} | {c: i + 2 for i, c in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<end>").save_pretrained(folder)
    config = LlamaConfig(
        vocab_size=258,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=1,
        num_key_value_heads=1,
        max_position_embeddings=40_000,
        pad_token_id=0,
        bos_token_id=None,
        eos_token_id=1,
        tie_word_embeddings=False,
    )
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            place = torch.arange(weight.numel(), dtype=torch.float64)
            wave = torch.sin(place * 12.9898 + len(name) + phase)
            weight.copy_(((0.7 if weight.ndim > 1 else 0.2) * wave + (weight.ndim == 1)).view(weight.shape))
    model.save_pretrained(folder)
