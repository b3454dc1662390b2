"""A model's name and settings into its identity, its tokenizer and the model itself.

Weights come from safetensors (or GGUF, converted once); a checkpoint that needs its own code, is pickled, or
would leave a weight at random is refused. What is not asked for is not imported: PEFT alone takes seconds.
"""

import dataclasses
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from centaurlab.checkpoints import TOKENIZER_FILES, Checkpoint, find_checkpoint
from centaurlab.errors import UserError, one_line
from centaurlab.fingerprints import content_digest, fingerprint, json_digest
from centaurlab.launcher import share_cores
from centaurlab.quantization import bitsandbytes_config, keep_unpacked, quantization_of
from centaurlab.quiet import import_bitsandbytes, quiet_transformers

if TYPE_CHECKING:
    import torch
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerFast
    from transformers.models.auto.auto_factory import _BaseAutoModelClass

DTYPES = ("bfloat16", "float16", "float32")


@dataclass
class ModelArguments:
    """Which model, and how to load it."""

    model_name_or_path: str = dataclasses.field(
        metadata={"help": "hub id, folder, *.gguf file, adapter folder or alias ('centaurlab models' lists these)"}
    )
    model_revision: str | None = dataclasses.field(
        default=None, metadata={"help": "branch, tag or commit of a hub model"}
    )
    adapter_name_or_path: str | None = dataclasses.field(
        default=None, metadata={"help": "PEFT adapter (folder or hub id) to put on the model"}
    )
    dtype: str = dataclasses.field(default="bfloat16", metadata={"help": f"of the weights: {', '.join(DTYPES)}"})
    load_in_4bit: bool = dataclasses.field(default=False, metadata={"help": "quantise to NF4 with bitsandbytes"})
    load_in_8bit: bool = dataclasses.field(default=False, metadata={"help": "quantise to int8 with bitsandbytes"})
    device_map: str | None = dataclasses.field(
        default=None, metadata={"help": "'auto' spreads one model over all devices (one process only)"}
    )
    attn_implementation: str | None = dataclasses.field(
        default=None,
        metadata={"help": "attention kernel, such as 'flash_attention_2' (default: the library's choice)"},
    )
    trust_remote_code: bool = dataclasses.field(
        default=False, metadata={"help": "run the Python code that the checkpoint brings"}
    )
    allow_pickle: bool = dataclasses.field(
        default=False, metadata={"help": "read pickled weights (*.bin) where there are no safetensors"}
    )

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise UserError(f"dtype {self.dtype!r} is none of {', '.join(DTYPES)}")
        if self.load_in_4bit and self.load_in_8bit:
            raise UserError("load_in_4bit and load_in_8bit exclude each other; give one")
        if self.device_map not in (None, "auto"):
            raise UserError(f"device_map {self.device_map!r} is not 'auto'; leave it out to use one device per process")


@dataclass(frozen=True)
class ModelIdentity:
    """What tells a model from every other: equal fingerprints give equal NLLs, up to the kernels' rounding.

    ``fingerprint``: SHA-256 over the contents of weights, config and adapter, the dtype and the quantisation.
    ``quantization``: 'none', 'nf4', 'int8', or the method that the checkpoint itself was quantised with.
    ``base``, ``adapter``: the two names where the model is an adapter on a base, else None.
    """

    name: str
    fingerprint: str
    tokenizer_fingerprint: str
    dtype: str
    quantization: str
    base: str | None
    adapter: str | None

    def as_dict(self) -> dict[str, str | None]:
        """For ``run.json``."""
        return dataclasses.asdict(self)


@dataclass(frozen=True)
class _Found:
    base: Checkpoint
    adapter: Checkpoint | None


def identify(args: ModelArguments) -> ModelIdentity:
    """The identity of the model that ``args`` name, from its files alone: no weights are loaded."""
    found = _find(args, weights=True)
    digests = {file.name: content_digest(file) for file in found.base.weight_files(args.allow_pickle)}
    parts: dict[str, object] = {
        "weights": digests,
        "config": json_digest(found.base.folder / "config.json"),
        "dtype": args.dtype,
        "quantization": quantization_of(found.base, args),
    }
    if args.trust_remote_code:
        parts["code"] = {file.name: content_digest(file) for file in sorted(found.base.folder.glob("*.py"))}
    if found.adapter:
        files = found.adapter.weight_files(args.allow_pickle)
        parts["adapter"] = {file.name: content_digest(file) for file in files}
        parts["adapter_config"] = json_digest(found.adapter.folder / "adapter_config.json")
    return ModelIdentity(
        name=args.adapter_name_or_path or args.model_name_or_path,
        fingerprint=fingerprint(parts),
        tokenizer_fingerprint=_tokenizer_fingerprint(found.base),
        dtype=args.dtype,
        quantization=quantization_of(found.base, args),
        base=found.base.source if found.adapter else None,
        adapter=found.adapter.source if found.adapter else None,
    )


def load_config(args: ModelArguments) -> "PretrainedConfig":
    """The configuration of the model (of an adapter: of its base); a hub model's weights are not downloaded."""
    return _read_config(_find(args, weights=False).base, args.trust_remote_code)


def load_tokenizer(args: ModelArguments) -> "PreTrainedTokenizerFast":
    """The model's tokenizer (of an adapter: its base's). A slow one is refused: it has no offsets."""
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    found = _find(args, weights=False)
    with quiet_transformers(), _sentences(found.base, "the tokenizer of "):
        tokenizer = AutoTokenizer.from_pretrained(found.base.folder, trust_remote_code=args.trust_remote_code)
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise UserError(
            f"{found.base.source} has a slow tokenizer ({type(tokenizer).__name__}), which cannot say which "
            "characters a token holds, so responses cannot be found; use a checkpoint with a tokenizer.json"
        )
    tokenizer.name_or_path = found.base.source
    return tokenizer


def load_model(args: ModelArguments, device: "torch.device | None" = None) -> "PreTrainedModel":
    """The model in evaluation mode, its adapter attached unmerged, on ``device`` (None: the CPU).

    Several processes pass each its own device; ``device_map='auto'`` needs a single process and ignores
    ``device``.
    Raises ``UserError`` for a checkpoint that cannot be loaded whole.
    """
    import torch

    if device is None or device.type == "cpu":
        share_cores()
    found = _find(args, weights=True)
    for checkpoint in filter(None, (found.base, found.adapter)):
        checkpoint.weight_files(args.allow_pickle)
    config = _read_config(found.base, args.trust_remote_code)
    with quiet_transformers(), _sentences(found.base, ""):
        loaded: Any = _auto_class(config, found.base).from_pretrained(
            found.base.folder,
            config=config,
            dtype=getattr(torch, args.dtype),
            quantization_config=bitsandbytes_config(args, found.base),
            device_map=_device_map(args, device),
            attn_implementation=args.attn_implementation,
            trust_remote_code=args.trust_remote_code,
            use_safetensors=None if args.allow_pickle else True,
            ignore_mismatched_sizes=True,  # reported below, in one sentence
            output_loading_info=True,
        )
    model: PreTrainedModel = loaded[0]
    report: dict[str, Any] = loaded[1]
    if absent := sorted([*report["missing_keys"], *(key for key, *_ in report["mismatched_keys"])]):
        raise UserError(
            f"{found.base.source} has no weights that fit {len(absent)} tensors of {type(model).__name__} "
            f"({absent[0]}, …): it is not a whole causal language model"
        )
    model.name_or_path = found.base.source
    if quantization_of(found.base, args) in ("nf4", "fp4"):
        keep_unpacked(model)
    if found.adapter:
        model = _with_adapter(model, found.adapter, found.base)
    model.eval()
    return model


def load_without_weights(args: ModelArguments) -> "PreTrainedModel":
    """The model (of an adapter: its base) as its config describes it, on PyTorch's ``meta`` device: shapes alone."""
    import torch

    base = _find(args, weights=False).base
    config = _read_config(base, args.trust_remote_code)
    with quiet_transformers(), _sentences(base, ""), torch.device("meta"):
        model: PreTrainedModel = _auto_class(config, base).from_config(
            config, dtype=getattr(torch, args.dtype), trust_remote_code=args.trust_remote_code
        )
    return model


def quantization(args: ModelArguments) -> str:
    """As in ``ModelIdentity``, without the weights."""
    return quantization_of(_find(args, weights=False).base, args)


def usable_window(config: "PretrainedConfig", max_length: int | None) -> int:
    """The longest that a session may be: the context window, or ``max_length`` where that is shorter or alone known."""
    if max_length is not None and max_length < 1:
        raise UserError(f"--max_length is {max_length}; it must be at least 1")
    if max_length is not None and not isinstance(_stated_window(config), int):
        return max_length
    window = context_window(config)
    return min(window, max_length or window)


def _stated_window(config: "PretrainedConfig") -> Any:
    return getattr(config.get_text_config(), "max_position_embeddings", None)


def context_window(model_or_config: "PreTrainedModel | PretrainedConfig") -> int:
    """How many tokens the model was made for, by its config; a tokenizer's word is often a placeholder.

    With YaRN the config may still state the length before scaling; then factor × original length counts
    (arXiv 2309.00071).
    """
    whole: Any = getattr(model_or_config, "config", model_or_config)
    config = whole.get_text_config()
    stated = _stated_window(config)
    if not isinstance(stated, int):
        raise UserError(f"a {config.model_type} config does not state its context window; pass --max_length")
    rope = getattr(config, "rope_parameters", None) or {}
    if rope.get("rope_type") == "yarn" and rope.get("original_max_position_embeddings"):
        return max(stated, int(rope["factor"] * rope["original_max_position_embeddings"]))
    return stated


def _find(args: ModelArguments, weights: bool) -> _Found:
    """The checkpoints of the base model and, where there is one, of the adapter."""
    model = find_checkpoint(args.model_name_or_path, args.model_revision, weights, args.allow_pickle)
    if args.adapter_name_or_path is None:
        if not model.is_adapter:
            return _Found(model, adapter=None)
        return _Found(_base_of(model, weights, args.allow_pickle), adapter=model)
    adapter = find_checkpoint(args.adapter_name_or_path, None, weights, args.allow_pickle)
    if not adapter.is_adapter:
        raise UserError(f"{adapter.source} holds no adapter_config.json: it is not a PEFT adapter")
    if model.is_adapter:
        raise UserError(f"{model.source} is an adapter itself; give the base as --model_name_or_path")
    trained_on = adapter.config().get("base_model_name_or_path")
    if trained_on and trained_on != model.source and not _is_path(trained_on) and not _is_path(model.source):
        raise UserError(
            f"{adapter.source} was trained on {trained_on}, not on {model.source}; if these are the same "
            "weights, say so in its adapter_config.json"
        )
    return _Found(model, adapter)


def _is_path(source: str) -> bool:
    """Whether a checkpoint's source is a place on some disk, which says nothing about what lies there."""
    return Path(source).is_absolute() or Path(source).exists()


def _base_of(adapter: Checkpoint, weights: bool, allow_pickle: bool) -> Checkpoint:
    config = adapter.config()
    name = config.get("base_model_name_or_path")
    remedy = (
        "name it in its adapter_config.json (base_model_name_or_path) or, where a command takes both, give "
        "--model_name_or_path BASE --adapter_name_or_path ADAPTER"
    )
    if not name:
        raise UserError(f"adapter {adapter.source} does not say which base model it is for; {remedy}")
    try:
        base = find_checkpoint(name, config.get("revision"), weights, allow_pickle)
    except UserError as error:
        raise UserError(f"the base of adapter {adapter.source} was not found: {error}; {remedy}") from error
    if base.is_adapter:
        raise UserError(f"the base of adapter {adapter.source} is itself an adapter, {name}; merge that one first")
    return base


def _device_map(args: ModelArguments, device: "torch.device | None") -> "str | dict[str, str]":
    """Where the weights are read to: at once to their device, so that no rank passes through another's."""
    if args.device_map is None:
        return {"": str(device or "cpu")}
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UserError(
            "device_map 'auto' spreads one model over all devices and needs a single process: start with "
            "--num_processes 1, or leave it out to have one model per process"
        )
    return args.device_map


def _read_config(base: Checkpoint, trust_remote_code: bool) -> "PretrainedConfig":
    from transformers import AutoConfig

    with quiet_transformers(), _sentences(base, "the configuration of "):
        config: PretrainedConfig = AutoConfig.from_pretrained(base.folder, trust_remote_code=trust_remote_code)
    return config


def _auto_class(config: "PretrainedConfig", base: Checkpoint) -> "type[_BaseAutoModelClass]":
    """What loads the model: a multimodal checkpoint is loaded whole and reads text only."""
    from transformers import AutoModelForCausalLM, AutoModelForImageTextToText
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING

    if config.is_encoder_decoder or any("MaskedLM" in name for name in config.architectures or ()):
        raise UserError(
            f"{base.source} is a {config.model_type} model that does not read from left to right; only a causal "
            "language model gives a response its probability"
        )
    has_more_than_text = config.get_text_config() is not config
    if has_more_than_text and type(config) in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING:
        return AutoModelForImageTextToText
    return AutoModelForCausalLM


def _with_adapter(model: "PreTrainedModel", adapter: Checkpoint, base: Checkpoint) -> "PreTrainedModel":
    """The model with the adapter's layers in place.

    They stay unmerged: merging would round the sum to the weights' dtype.
    """
    import_bitsandbytes()
    from peft import PeftConfig, get_peft_model

    with quiet_transformers(), _sentences(adapter, "adapter "):
        config = PeftConfig.from_pretrained(str(adapter.folder))
        if config.is_prompt_learning:
            raise UserError(f"adapter {adapter.source} is {config.peft_type}, not a LoRA-like one; it cannot be scored")
        config.inference_mode, config.base_model_name_or_path = True, base.source
    try:
        with quiet_transformers():
            adapted = get_peft_model(model, config)
            report = adapted.load_adapter(str(adapter.folder), "default", torch_device=str(model.device))
    except (ValueError, RuntimeError) as error:
        raise UserError(f"adapter {adapter.source} does not fit {base.source}: {one_line(error)}") from error
    if left_over := sorted([*report.missing_keys, *report.unexpected_keys]):
        raise UserError(f"adapter {adapter.source} does not fit {base.source}: {left_over[0]} has no counterpart")
    with_layers: PreTrainedModel = adapted.get_base_model()
    return with_layers


def _tokenizer_fingerprint(base: Checkpoint) -> str:
    files = sorted({file for pattern in TOKENIZER_FILES for file in base.folder.glob(pattern) if file.is_file()})
    return fingerprint(
        {f.name: json_digest(f) if f.name == "tokenizer_config.json" else content_digest(f) for f in files}
    )


@contextmanager
def _sentences(checkpoint: Checkpoint, what: str) -> Iterator[None]:
    """What transformers says of a checkpoint that it cannot load, as one sentence."""
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, ValueError, ImportError, SafetensorError) as error:
        if "trust_remote_code" in str(error):
            raise UserError(
                f"{checkpoint.source} needs the Python code it brings; read it, then pass --trust_remote_code"
            ) from error
        raise UserError(f"cannot load {what}{checkpoint.source}: {one_line(error)}") from error
