"""The base model as training needs it: on this process's device, or left to FSDP or DeepSpeed to shard."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from transformers import AutoModelForCausalLM, BitsAndBytesConfig
from transformers.integrations import is_deepspeed_zero3_enabled, is_fsdp_enabled
from trl import ModelConfig, SFTConfig

from centaurlab.models.arguments import ModelArguments
from centaurlab.models.attention import attend_in_blocks
from centaurlab.models.checkpoints import find_checkpoint
from centaurlab.models.loading import load_model
from centaurlab.runtime.errors import UserError
from centaurlab.runtime.quiet import ignore_renamed_checkpointing, quiet_transformers
from centaurlab.training.merge import merged_if_adapter

if TYPE_CHECKING:
    from transformers import PreTrainedModel


_QUANTISED_DEVICES = ("cpu", "cuda", "xpu", "hpu")  # of bitsandbytes 0.50


def base_arguments(model_args: ModelConfig, training_args: SFTConfig) -> ModelArguments:
    """The part of TRL's ``ModelConfig`` that says which base model, in the words of the rest of the package.

    An adapter stands for the model that it makes with its base, which is merged into the run's folder.
    """
    if not model_args.model_name_or_path:
        raise UserError("no base model: give --model_name_or_path, or a --config that holds it")
    if not model_args.use_peft:
        raise UserError("use_peft is false; set use_peft: true, since a Centaur is an adapter on its base model")
    if model_args.bnb_4bit_quant_type != "nf4":
        raise UserError(f"bnb_4bit_quant_type is {model_args.bnb_4bit_quant_type!r}; 4-bit weights are nf4 here")
    named = ModelArguments(
        model_name_or_path=model_args.model_name_or_path,
        model_revision=None if model_args.model_revision == "main" else model_args.model_revision,
        dtype=model_args.dtype or "bfloat16",
        load_in_4bit=model_args.load_in_4bit,
        load_in_8bit=model_args.load_in_8bit,
        attn_implementation=model_args.attn_implementation,
        trust_remote_code=training_args.trust_remote_code,
    )
    with training_args.main_process_first(local=False):
        return merged_if_adapter(named, Path(training_args.output_dir))


def load_base(args: ModelArguments, device: torch.device) -> "PreTrainedModel":
    """The base model with its weights frozen, ready for an adapter.

    Its ``name_or_path`` is what the adapter's configuration will name: a hub id or a folder.
    """
    ignore_renamed_checkpointing()
    if args.load_in_4bit or args.load_in_8bit:
        check_quantised_device(device.type)
    checkpoint = find_checkpoint(args.model_name_or_path, args.model_revision, True, False)
    if checkpoint.is_adapter:
        raise UserError(f"{checkpoint.source} is an adapter; merge it into its base first: centaurlab merge")
    sharded = is_fsdp_enabled() or is_deepspeed_zero3_enabled()
    if sharded and args.load_in_8bit:
        raise UserError("8-bit weights cannot be sharded over devices; use --load_in_4bit, or DDP (recipes/accelerate)")
    if is_fsdp_enabled() and os.environ.get("FSDP_STATE_DICT_TYPE") != "FULL_STATE_DICT":
        raise UserError("under FSDP the trainer saves adapters only with fsdp_state_dict_type: FULL_STATE_DICT")
    model = _load_for_sharding(args, str(checkpoint.folder)) if sharded else load_model(args, device)
    if checkpoint.source != args.model_name_or_path or "/" not in checkpoint.source:
        model.name_or_path = str(checkpoint.folder)
    model.requires_grad_(False)
    if device.type == "cpu" and model.config._attn_implementation == "sdpa":
        attend_in_blocks(model)
    return model


def check_quantised_device(device_type: str) -> None:
    """Raise ``UserError`` where bitsandbytes has no quantised layers for the device."""
    if device_type not in _QUANTISED_DEVICES:
        raise UserError(
            f"load_in_4bit and load_in_8bit do not work on {device_type}; leave them away (LoRA on bfloat16 weights) "
            f"or use one of {', '.join(_QUANTISED_DEVICES)}"
        )


def _load_for_sharding(args: ModelArguments, folder: str) -> "PreTrainedModel":
    """Without a device map, and 4-bit weights stored in the model's dtype, which FSDP can shard.

    Source: https://huggingface.co/docs/bitsandbytes/main/en/fsdp_qlora
    """
    quantization = None
    if args.load_in_4bit:
        quantization = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=args.dtype,
            bnb_4bit_quant_storage=args.dtype,
        )
    with quiet_transformers():
        return AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=getattr(torch, args.dtype),
            quantization_config=quantization,
            attn_implementation=args.attn_implementation,
            trust_remote_code=args.trust_remote_code,
        )
