"""In 4 bits and with every kind of adapter, architectures of every kind score as a plain loop around PEFT's own model.

The loop has nothing of ours: transformers' model, PEFT around it, called whole on one text at a time. Of 4 bits it has
the weights alone: each rounded by itself to what NF4 can say, in layers of float32.
"""

import copy
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from bitsandbytes.functional import dequantize_4bit, quantize_4bit
from bitsandbytes.nn import Linear4bit
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from centaurlab.models.loading import load_model
from centaurlab.models.positions import grows_with_the_longest
from centaurlab.models.self_check import BATCHES, self_check
from centaurlab.prompts.encoding import Encoding
from centaurlab.runtime.errors import UserError
from centaurlab.runtime.quiet import quiet_transformers
from helpers.architectures import ARCHITECTURES, build, save
from helpers.feeding import as_on_a_gpu, check_losses, check_scores, plain_nll
from helpers.tiny_models import in_float32
from models.test_architectures import FAILS

ALONE: dict[str, tuple[bool, dict[str, object] | None]] = {
    "nf4": (True, None),
    "lora": (False, {}),
    "rslora": (False, {"use_rslora": True}),
    "dora": (False, {"use_dora": True}),
    "modules_to_save": (False, {"modules_to_save": True}),
    "nf4-dora": (True, {"use_dora": True}),
}
TOGETHER: dict[str, tuple[bool, dict[str, object] | None]] = {
    "nf4-lora": (True, {}),
    "rslora-dora-modules_to_save": (False, {"use_rslora": True, "use_dora": True, "modules_to_save": True}),
}
"""Whether in 4 bits, and what the adapter is: two ways that hold everything once, and each thing alone."""

RELATIVES = {
    *("qwen2_sliding", "mixtral", "phi", "smollm3", "stablelm", "starcoder2", "gpt_neo", "gptj", "bloom", "mpt"),
    *("cohere", "cohere2", "granite", "exaone4", "glm4", "seed_oss", "nanochat", "deepseek_v2"),
}
"""Whose layers are as others', for a release."""
NAMES = [name for name in ARCHITECTURES if name != FAILS]
NOT_IN_4_BITS = ("falcon", "falcon_alibi", "rwkv")
"""Whose linear layers are none that bitsandbytes knows, or whose code rounds them again."""

NOT_COMPUTED = ("mamba",)
"""In 4 bits: whose own code looks into a layer that is no other."""

READ_BY_THE_MODEL = {
    **{name: {"out_proj", "dt_proj"} for name in ("mamba", "falcon_mamba", "jamba")},
    **{name: {"out_proj"} for name in ("mamba2", "falcon_h1", "nemotron_h")},
    "llama4_text": {"router"},
    "deepseek_v4": {"o_a_proj"},
}
"""Layers whose weights these read themselves, past any adapter, or that give more than PEFT expects."""

EXPERTS = {"gate_proj", "up_proj", "down_proj", "w1", "w2", "w3"}
"""What PEFT takes for the names of fused experts, to which it gives no DoRA."""


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        pytest.param(
            kind, name, marks=pytest.mark.slow if kind in TOGETHER and name not in RELATIVES else pytest.mark.release
        )
        for kind in TOGETHER | ALONE
        for name in NAMES
    ],
)
@pytest.mark.usefixtures("own_cache")
@pytest.mark.filterwarnings("ignore:The following (rank|alpha)_pattern keys:RuntimeWarning")  # PEFT, of experts
def test_quantised_or_adapted_it_scores_as_a_plain_loop(
    kind: str, name: str, sessions: list[Encoding], tmp_path: Path
) -> None:
    four_bit, lora = (TOGETHER | ALONE)[kind]
    sessions = [sessions[0], *sessions[-2:]]
    folder = save(name, tmp_path / "base")
    plain: torch.nn.Module = build(name)
    plain.name_or_path = str(folder)
    unchanged = nlls(plain, sessions)
    if lora is not None:
        plain, folder = adapted(plain, **lora), tmp_path / "adapter"
        plain.save_pretrained(folder)
    if four_bit and name in NOT_IN_4_BITS:
        with pytest.raises(UserError, match=r"cannot be quantised: (bitsandbytes quantises none|the code of RWKV)"):
            load_model(in_float32(folder, load_in_4bit=True))
        return
    model = load_model(in_float32(folder, load_in_4bit=four_bit))
    own_attention = model.config._attn_implementation
    if four_bit:
        round_to_4_bits(plain, model)
    expected = nlls(plain, sessions)
    assert max(np.abs(a - b).max() for a, b in zip(expected, unchanged, strict=True)) > 0.01
    if four_bit and name in NOT_COMPUTED:
        with pytest.raises(UserError, match="cannot be computed"):
            self_check(model)
        return
    check = self_check(model, also=BATCHES)
    if not grows_with_the_longest(model.config):  # training refuses it
        check_losses(model, check, sessions, expected)
    check_scores(model, 37, check, sessions, expected)
    model.set_attn_implementation(own_attention)
    with pytest.MonkeyPatch.context() as patch:
        as_on_a_gpu(patch)
        check_scores(model, None, check, sessions, expected)


def adapted(model: PreTrainedModel, **lora: object) -> PeftModel:
    """PEFT's model with an adapter of random weights on every linear layer but the head, which may be replaced."""
    head = model.get_output_embeddings()
    layers = {name: module for name, module in model.named_modules() if isinstance(module, torch.nn.Linear | Conv1D)}
    past = READ_BY_THE_MODEL.get(model.config.model_type, set())
    if "use_dora" in lora and any(name.endswith("gate_up_proj") for name, _ in model.named_parameters()):
        past = past | EXPERTS
    targets = {_leaf(name) for name, module in layers.items() if module is not head} - past
    if "modules_to_save" in lora:
        lora = lora | {"modules_to_save": [name for name, module in layers.items() if module is head]}
    transposed = any(isinstance(module, Conv1D) for module in layers.values())
    settings = LoraConfig(r=4, target_modules=sorted(targets), fan_in_fan_out=transposed, **lora)
    with quiet_transformers():
        found = get_peft_model(model, settings).eval()
    generator = torch.Generator().manual_seed(0)
    for name, parameter in found.named_parameters():
        if "lora_B" in name or "modules_to_save" in name:
            parameter.data.normal_(0, 0.1, generator=generator)
    return found


def _leaf(name: str) -> str:
    """The end of a layer's name that says which it is; a number alone does not."""
    return re.search(r"[^.]+(\.\d+)?$", name).group()


def round_to_4_bits(plain: torch.nn.Module, like: PreTrainedModel) -> None:
    """Round the weights of the layers that are of 4 bits in ``like``."""
    if isinstance(plain, PeftModel):
        plain = plain.get_base_model()
    for name in [name for name, module in like.named_modules() if isinstance(module, Linear4bit)]:
        layer = plain.get_submodule(name)
        across = isinstance(layer, Conv1D)  # whose weight lies the other way
        weight = layer.weight.data.T.contiguous() if across else layer.weight.data
        rounded = dequantize_4bit(*quantize_4bit(weight, quant_type="nf4", compress_statistics=True))
        layer.weight.data = rounded.T if across else rounded


def nlls(model: torch.nn.Module, sessions: list[Encoding]) -> list[np.ndarray]:
    """NLLs of each session by a copy of its own: some models remember the longest that they have seen."""
    return [np.array(list(plain_nll(copy.deepcopy(model), encoding))) for encoding in sessions]


def test_there_are_enough_of_them() -> None:
    assert len(set(NAMES) - RELATIVES) >= 45
