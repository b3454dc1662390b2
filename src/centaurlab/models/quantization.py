"""Weights in 4 or 8 bits through bitsandbytes, or as the checkpoint itself was quantised."""

from typing import TYPE_CHECKING

from centaurlab.models.checkpoints import Checkpoint
from centaurlab.runtime.errors import UserError
from centaurlab.runtime.quiet import quiet_bitsandbytes

if TYPE_CHECKING:
    from transformers import BitsAndBytesConfig, PreTrainedModel

    from centaurlab.models.arguments import ModelArguments


def quantization_of(base: Checkpoint, args: "ModelArguments") -> str:
    """As in ``ModelIdentity``. Raises ``UserError`` where a quantised checkpoint is to be quantised again."""
    own = base.config().get("quantization_config")
    if not own:
        return "nf4" if args.load_in_4bit else "int8" if args.load_in_8bit else "none"
    if args.load_in_4bit or args.load_in_8bit:
        raise UserError(f"{base.source} is quantised already; leave out load_in_4bit and load_in_8bit")
    if not isinstance(own, dict):
        raise UserError(f"the configuration of {base.source} does not say how it is quantised (quantization_config)")
    if own.get("quant_method") == "bitsandbytes":
        return str(own.get("bnb_4bit_quant_type", "fp4")) if own.get("load_in_4bit") else "int8"
    return str(own.get("quant_method", "unknown"))


def bitsandbytes_config(args: "ModelArguments", base: Checkpoint) -> "BitsAndBytesConfig | None":
    """NF4 with doubly quantised constants (QLoRA, arXiv 2305.14314) or int8 (arXiv 2208.07339)."""
    method = quantization_of(base, args)
    if method in ("nf4", "fp4", "int8"):
        quiet_bitsandbytes()
    if not (args.load_in_4bit or args.load_in_8bit):
        return None
    from transformers import BitsAndBytesConfig

    if args.load_in_8bit:
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=args.dtype,
    )


def check_quantized(model: "PreTrainedModel", source: str) -> None:
    """Refuse a model that would pass for a quantised one: none of its layers is, or its own code undoes it.

    transformers' RWKV rounds weights of 4 bits once more before its first evaluation, to bitsandbytes' other kind.
    """
    from bitsandbytes.nn.modules import Linear4bit, Linear8bitLt

    if not any(isinstance(module, Linear4bit | Linear8bitLt) for module in model.modules()):
        what = f"bitsandbytes quantises none of its layers, which {type(model).__name__} has of its own kind"
    elif model.config.model_type == "rwkv":
        what = "the code of RWKV rounds quantised weights again in its own way"
    else:
        return
    raise UserError(f"{source} cannot be quantised: {what}; leave out load_in_4bit and load_in_8bit")


def keep_unpacked(model: "PreTrainedModel") -> None:
    """Keep 4-bit weights of a CPU in their own format.

    bitsandbytes 0.50 repacks them at the first evaluation where the processor has AVX512-BF16: its fused product
    rounds to bfloat16 whatever the dtype, passes no gradients to later training, and fails on narrow layers.
    """
    from bitsandbytes.nn.modules import Linear4bit

    for module in model.modules():
        if isinstance(module, Linear4bit):
            module.support_avx512bf16_for_cpu = False
