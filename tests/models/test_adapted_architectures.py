"""In 4 bits and with every kind of adapter, architectures of every kind score as a plain loop over the same model.

Each is loaded as a user's folder is; the loop then calls it whole, one text at a time, with its own attention, before
anything of ours has touched it.
"""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import PreTrainedModel

from centaurlab.models.loading import load_model
from centaurlab.models.self_check import BATCHES, self_check
from centaurlab.prompts.encoding import Encoding
from centaurlab.runtime.errors import UserError
from centaurlab.runtime.quiet import quiet_transformers
from helpers.architectures import save
from helpers.feeding import as_on_a_gpu, check_losses, check_scores, plain_nll
from helpers.tiny_models import in_float32

KINDS: dict[str, dict[str, object]] = {
    "lora": {},
    "rslora": {"use_rslora": True},
    "dora": {"use_dora": True},
    "modules_to_save": {"modules_to_save": ["lm_head"]},
}
OF_STATES = ("mamba", "mamba2", "falcon_mamba", "falcon_h1", "nemotron_h")
"""Whose output projections PEFT refuses to adapt."""

NAMES = (
    *("llama", "llama_linear_rope", "llama_yarn", "llama3_rope", "llama_tied", "qwen2", "qwen2_sliding", "qwen3"),
    *("qwen3_moe", "qwen3_5_text", "olmo2", "olmo3", "gemma", "gemma4", "mamba", "jamba", "mllama"),
)
"""Of ``ARCHITECTURES`` one or more of every kind: dense, tied, with windows, experts, states, deltas, of images."""


def save_adapter(model: PreTrainedModel, folder: Path, **lora: object) -> None:
    """An adapter of random weights on every linear layer of ``model``, which stays as it is."""
    if "modules_to_save" in lora:
        head = model.get_output_embeddings()
        lora = {"modules_to_save": [name for name, module in model.named_modules() if module is head]}
    settings = LoraConfig(r=4, target_modules=linear_layers(model), **lora)
    with quiet_transformers():
        adapted = get_peft_model(copy.deepcopy(model), settings)
        generator = torch.Generator().manual_seed(0)
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name or "modules_to_save" in name:
                parameter.data.normal_(0, 0.1, generator=generator)
        adapted.save_pretrained(folder)


def linear_layers(model: PreTrainedModel) -> list[str]:
    """Names of the linear layers that PEFT adapts in such a model, the head apart."""
    head = model.get_output_embeddings()
    layers = [name for name, m in model.named_modules() if isinstance(m, torch.nn.Linear) and m is not head]
    refused = {"out_proj"} if model.config.model_type in OF_STATES else set()
    return sorted({name.rpartition(".")[2] for name in layers} - refused)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.usefixtures("own_cache")
def test_quantised_or_adapted_it_scores_as_a_plain_loop(name: str, sessions: list[Encoding], tmp_path: Path) -> None:
    base = save(name, tmp_path / "base")
    alone = load_model(in_float32(base))
    sessions = [sessions[0], *sessions[-2:]]
    unadapted = nlls(alone, sessions)
    for kind, lora in KINDS.items():
        save_adapter(alone, tmp_path / kind, **lora)
    ways = [(base, True), (tmp_path / "lora", True), *((tmp_path / kind, False) for kind in KINDS)]
    for folder, four_bit in ways:
        model = load_model(in_float32(folder, load_in_4bit=four_bit))
        own_attention = model.config._attn_implementation
        try:
            expected = nlls(model, sessions)
        except (RuntimeError, AttributeError):  # of the model's own code, which looks into a layer that is no other
            assert four_bit, folder.name
            with pytest.raises(UserError, match="cannot be computed"):
                self_check(model)
            continue
        assert max(np.abs(a - b).max() for a, b in zip(expected, unadapted, strict=True)) > 0.01, folder.name
        check = self_check(model, also=BATCHES)
        check_scores(model, 37, check, sessions, expected)
        check_losses(model, check, sessions, expected)
        model.set_attn_implementation(own_attention)
        with pytest.MonkeyPatch.context() as patch:
            as_on_a_gpu(patch)
            check_scores(model, None, check, sessions, expected)


def nlls(model: PreTrainedModel, sessions: list[Encoding]) -> list[np.ndarray]:
    return [np.array(list(plain_nll(model, encoding))) for encoding in sessions]
