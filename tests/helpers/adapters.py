"""LoRA adapters of random weights."""

from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM

from centaurlab.runtime.quiet import quiet_transformers


def save_adapter(base: Path, folder: Path, seed: int = 0, std: float = 0.1, **lora: object) -> PeftModel:
    """Save an adapter on ``base``, whose B matrices and replaced modules are of the spread ``std``; the adapted one.

    ``lora``: what differs from ``LoraConfig``'s own settings, rank 4 and two modules a layer.
    """
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    settings = {"r": 4, "target_modules": ["q_proj", "down_proj"]} | lora
    with quiet_transformers():  # PEFT 0.21 uses names that transformers 5.24 gave up
        adapted = get_peft_model(model, LoraConfig(**settings)).eval()
    for name, parameter in adapted.named_parameters():
        if any(part in name for part in ("lora_B", "lora_embedding_", "modules_to_save", "tokens_delta")):
            torch.nn.init.normal_(parameter, std=std)
    adapted.save_pretrained(folder)
    return adapted
