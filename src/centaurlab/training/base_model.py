"""The base model as training needs it: on this process's device, or left to FSDP or DeepSpeed to shard."""

import json
import os
import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from peft import LoraConfig
from transformers import BitsAndBytesConfig
from transformers.integrations import is_deepspeed_zero3_enabled, is_fsdp_enabled
from trl import ModelConfig, SFTConfig, get_peft_config

from centaurlab.models.arguments import ModelArguments
from centaurlab.models.checkpoints import find_checkpoint
from centaurlab.models.gguf import GEMMA_ON_HUB, is_gemma
from centaurlab.models.identity import identify
from centaurlab.models.loading import class_and_config, load_model
from centaurlab.runtime.errors import UserError, failure
from centaurlab.runtime.quiet import ignore_renamed_checkpointing, quiet_transformers
from centaurlab.training.batches import check_batches
from centaurlab.training.merge import merged_if_adapter

if TYPE_CHECKING:
    from transformers import PreTrainedModel


_NAME = re.compile(r"[\w-]+(\.[\w-]+)*")
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


def load_base(
    args: ModelArguments, device: torch.device, training_args: SFTConfig | None = None, packed: bool = False
) -> "PreTrainedModel":
    """The base model with its weights frozen, ready for an adapter, if batches of ``training_args`` are right with it.

    ``training_args`` None: batches of one. ``packed``: sessions share rows. The model's ``name_or_path`` is what the
    adapter's configuration will name: a hub id or a folder.
    """
    ignore_renamed_checkpointing()
    if args.load_in_4bit or args.load_in_8bit:
        check_quantised_device(device.type)
    checkpoint = find_checkpoint(args.model_name_or_path, args.model_revision, True, False)
    if checkpoint.is_adapter:
        raise UserError(f"{checkpoint.source} is an adapter; merge it into its base first: centaurlab merge")
    sharded = is_sharded()
    if sharded and args.load_in_8bit:
        raise UserError("8-bit weights cannot be sharded over devices; use --load_in_4bit, or DDP (recipes/accelerate)")
    if is_fsdp_enabled() and os.environ.get("FSDP_STATE_DICT_TYPE") != "FULL_STATE_DICT":
        raise UserError("under FSDP the trainer saves adapters only with fsdp_state_dict_type: FULL_STATE_DICT")
    model = _load_for_sharding(args) if sharded else load_model(args, device)
    if checkpoint.source != args.model_name_or_path or "/" not in checkpoint.source:
        model.name_or_path = str(checkpoint.folder)
    model.requires_grad_(False)
    check_batches(model, identify(args).fingerprint, training_args, packed, sharded)
    return model


def is_sharded() -> bool:
    """Whether FSDP or DeepSpeed divides the weights among the processes."""
    return bool(is_fsdp_enabled() or is_deepspeed_zero3_enabled())


def name_published_base(folder: Path) -> None:
    """Let an adapter name its base as others find it: by its id on the hub, where it has one, and not by our cache."""
    path = folder / "adapter_config.json"
    if not path.is_file():
        return
    config = json.loads(path.read_text(encoding="utf-8"))
    if is_gemma(str(config.get("base_model_name_or_path"))):
        config["base_model_name_or_path"] = GEMMA_ON_HUB
        path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def lora_config(model_args: ModelConfig, model: "PreTrainedModel") -> LoraConfig | None:
    """The adapter that is asked for; ``UserError`` where it would be put on nothing, or on the LM head.

    TRL makes a list of one name into a pattern for whole names, which no module has.
    """
    config: Any = get_peft_config(model_args)
    if config is None:
        return None
    wanted = config.target_modules
    if isinstance(wanted, str) and wanted != "all-linear" and _NAME.fullmatch(wanted):
        wanted = {wanted}
    if wanted and not isinstance(wanted, str):
        modules = [f".{name}" for name, _ in model.named_modules()]
        if not any(name.endswith(tuple(f".{target}" for target in wanted)) for name in modules):
            linear = {name.rpartition(".")[2] for name, m in model.named_modules() if isinstance(m, torch.nn.Linear)}
            raise UserError(
                f"lora_target_modules is {', '.join(sorted(wanted))}, of which the model has none; it has "
                f"{', '.join(sorted(linear))}"
            )
        if "lm_head" in wanted:
            raise UserError("LoRA on lm_head is not trained here; leave it out of lora_target_modules")
        config.target_modules = set(wanted)
    lora: LoraConfig = config
    return lora


@contextmanager
def adapter_errors() -> Iterator[None]:
    """What PEFT refuses to put on a model (dropout on the experts of a mixture, a kind of layer), as a sentence."""
    try:
        yield
    except (ValueError, TypeError, NotImplementedError, re.error) as error:
        modules = (frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(error.__traceback__))
        if not any(name.startswith("peft.") for name in modules):
            raise
        said = failure(error)
        raise UserError(f"PEFT puts no such adapter on this model: {said}; change the lora options") from error


def check_quantised_device(device_type: str) -> None:
    """Raise ``UserError`` where bitsandbytes has no quantised layers for the device."""
    if device_type not in _QUANTISED_DEVICES:
        raise UserError(
            f"load_in_4bit and load_in_8bit do not work on {device_type}; leave them away (LoRA on bfloat16 weights) "
            f"or use one of {', '.join(_QUANTISED_DEVICES)}"
        )


def _load_for_sharding(args: ModelArguments) -> "PreTrainedModel":
    """The class that scoring loads, without a device map; 4-bit weights stored in a dtype that FSDP can shard.

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
    model_class, config, folder = class_and_config(args)
    with quiet_transformers():
        model: PreTrainedModel = model_class.from_pretrained(
            folder,
            config=config,
            dtype=getattr(torch, args.dtype),
            quantization_config=quantization,
            attn_implementation=args.attn_implementation,
            trust_remote_code=args.trust_remote_code,
        )
    return model
