"""A model's name and settings into its identity, its tokenizer and the model itself.

Weights come from safetensors (or GGUF, converted once); a checkpoint that needs its own code, is pickled, or
would leave a weight at random is refused. What is not asked for is not imported: PEFT alone takes seconds.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

from centaurlab.models.adapter_config import check_numbers, check_patterns, read_settings
from centaurlab.models.arguments import ModelArguments
from centaurlab.models.checkpoints import Checkpoint, _find
from centaurlab.models.quantization import bitsandbytes_config, check_quantized, keep_unpacked, quantization_of
from centaurlab.models.sharding import check_plan, division, share_logits
from centaurlab.models.sizes import check_all_layers, check_fits, check_in_memory, check_ranks
from centaurlab.models.tokenizers import n_tokens, tokenizer_home
from centaurlab.runtime.errors import UserError, failure
from centaurlab.runtime.processes import share_cores
from centaurlab.runtime.quiet import quiet_bitsandbytes, quiet_transformers

if TYPE_CHECKING:
    import torch
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerFast
    from transformers.models.auto.auto_factory import _BaseAutoModelClass


def load_config(args: ModelArguments) -> "PretrainedConfig":
    """The configuration of the model (of an adapter: of its base); a hub model's weights are not downloaded."""
    return _read_config(_find(args, weights=False).base, args.trust_remote_code)


def load_tokenizer(args: ModelArguments) -> "PreTrainedTokenizerFast":
    """The model's tokenizer (of an adapter: its base's, or its own if that has other tokens).

    A slow one is refused: it has no offsets.
    """
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    found = _find(args, weights=False)
    home = tokenizer_home(found.base, found.adapter)
    with quiet_transformers(), _sentences(home, "the tokenizer of "):
        tokenizer = AutoTokenizer.from_pretrained(home.folder, trust_remote_code=args.trust_remote_code)
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise UserError(
            f"{home.source} has a slow tokenizer ({type(tokenizer).__name__}), which cannot say which "
            "characters a token holds, so responses cannot be found; use a checkpoint with a tokenizer.json"
        )
    tokenizer.name_or_path = home.source
    return tokenizer


def load_model(args: ModelArguments, device: "torch.device | None" = None, shards: int = 1) -> "PreTrainedModel":
    """The model in evaluation mode, its adapter attached unmerged, on ``device`` (None: the CPU).

    Several processes pass each its own device; ``device_map='auto'`` needs a single process and ignores
    ``device``. With ``shards`` each gets a part of the model, and as many consecutive ones hold all of it.
    Raises ``UserError`` for a checkpoint that cannot be loaded whole.
    """
    import torch

    if device is None or device.type == "cpu":
        share_cores()
    found = _find(args, weights=True)
    files = found.base.weight_files(args.allow_pickle)
    if found.adapter:
        found.adapter.weight_files(args.allow_pickle)
    config = _read_config(found.base, args.trust_remote_code)
    without_weights = _without_weights(args, deepcopy(config), found.base)
    check_fits(without_weights, config, files, found.base.source)
    if shards > 1:
        _check_divisible(args, found.adapter, found.base, without_weights, shards)
    n_processes = int(os.environ.get("WORLD_SIZE", "1"))
    with quiet_transformers(), _sentences(found.base, ""):
        loaded: Any = _auto_class(config, found.base).from_pretrained(
            found.base.folder,
            config=config,
            dtype=getattr(torch, args.dtype),
            quantization_config=bitsandbytes_config(args, found.base),
            device_map=_device_map(args, device) if shards == 1 else None,
            **({"distributed_config": division(shards, n_processes)} if shards > 1 else {}),
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
    check_all_layers(report["unexpected_keys"], model, found.base.source)
    check_in_memory(model, found.base.source)
    model.name_or_path = found.base.source
    if args.load_in_4bit or args.load_in_8bit:
        check_quantized(model, found.base.source)
    if quantization_of(found.base, args) in ("nf4", "fp4"):
        keep_unpacked(model)
    if found.adapter:
        model = _with_adapter(model, found.adapter, found.base)
    if shards > 1:
        share_logits(model)
    model.eval()
    return model


def check_divisible(args: ModelArguments, shards: int) -> None:
    """Raise ``UserError`` where so many processes cannot have the model together; its weights are not needed."""
    found = _find(args, weights=False)
    _check_divisible(args, found.adapter, found.base, load_without_weights(args), shards)


def _check_divisible(
    args: ModelArguments,
    adapter: Checkpoint | None,
    base: Checkpoint,
    without_weights: "PreTrainedModel",
    shards: int,
) -> None:
    """Raise ``UserError`` for what cannot be divided among processes."""
    if adapter:
        raise UserError(f"--tensor_parallel divides no adapters: merge {adapter.source} first (centaurlab merge)")
    if (quantization := quantization_of(base, args)) != "none":
        raise UserError(f"--tensor_parallel divides whole weights, and those of {base.source} are to be {quantization}")
    if args.device_map is not None:
        raise UserError("--tensor_parallel and --device_map exclude each other; give one")
    check_plan(without_weights, shards, base.source)


def class_and_config(
    args: ModelArguments,
) -> "tuple[type[_BaseAutoModelClass], PretrainedConfig, Path]":
    """What ``load_model`` loads a whole model with, and from where."""
    base = _find(args, weights=True).base
    config = _read_config(base, args.trust_remote_code)
    return _auto_class(config, base), config, base.folder


def load_without_weights(args: ModelArguments) -> "PreTrainedModel":
    """The model (of an adapter: its base) as its config describes it, on PyTorch's ``meta`` device: shapes alone."""
    base = _find(args, weights=False).base
    return _without_weights(args, _read_config(base, args.trust_remote_code), base)


def _without_weights(args: ModelArguments, config: "PretrainedConfig", base: Checkpoint) -> "PreTrainedModel":
    import torch

    with quiet_transformers(), _sentences(base, ""), torch.device("meta"):
        model: PreTrainedModel = _auto_class(config, base).from_config(
            config, dtype=getattr(torch, args.dtype), trust_remote_code=args.trust_remote_code
        )
    return model


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
        for part in (config, *(getattr(config, name, None) for name in config.sub_configs)):
            if part is not None:
                _forget_use(part, may_choose_kernels=trust_remote_code)
        if not hasattr(config.get_text_config(), "model_type"):
            raise UserError(f"the configuration of {base.source} names as that of its text what is none")
    return config


def _forget_use(config: "PretrainedConfig", may_choose_kernels: bool) -> None:
    """Let whoever runs the model say how: what it returns, and by which kernels.

    A checkpoint may name some that would be fetched from a hub, and its author's last experiment may have left it to
    return tuples.
    """
    if not may_choose_kernels:
        config._attn_implementation = config._experts_implementation = None
    config.return_dict = True
    for name in ("output_attentions", "output_hidden_states", "output_router_logits", "torchscript"):
        if getattr(config, name, False):
            setattr(config, name, False)


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
    quiet_bitsandbytes()
    from peft import get_peft_model

    from centaurlab.models.passes import acts_in_layers, evaluating  # here: it imports torch

    with quiet_transformers(), _sentences(adapter, "adapter "):
        said, files = adapter.config(), adapter.weight_files(allow_pickle=True)
        check_ranks(said, adapter.config_file, files)
        check_numbers(files, adapter.source)
        config = read_settings(said, adapter.config_file)
        if config.is_prompt_learning:
            kind = config.peft_type.value
            raise UserError(f"adapter {adapter.source} is {kind}, not a LoRA-like one; it cannot be scored")
        if getattr(config, "alora_invocation_tokens", None):
            raise UserError(
                f"adapter {adapter.source} is an activated LoRA, which acts from certain tokens on "
                "(alora_invocation_tokens); it cannot be scored"
            )
        check_patterns(config, model, adapter.config_file)
        config.inference_mode, config.base_model_name_or_path = True, base.source
        if tokenizer_home(base, adapter) is adapter:
            _make_room(model, adapter, config)
    try:
        with quiet_transformers():
            adapted = get_peft_model(model, config)
            report = adapted.load_adapter(str(adapter.folder), "default", torch_device=str(model.device))
            with evaluating(adapted):
                in_layers = acts_in_layers(adapted)
            past = "" if getattr(model, "is_quantized", False) else _read_past(adapted)
    except Exception as error:
        raise UserError(f"adapter {adapter.source} does not fit {base.source}: {failure(error)}") from error
    copies = tuple(
        f".{name}.{copy}.weight" for name in _saved_whole(config) for copy in ("modules_to_save", "original_module")
    )  # PEFT 0.21 writes them beside the weight itself where embeddings were resized
    unexpected = [key for key in report.unexpected_keys if not key.endswith(copies)]
    missing = _really_missing(adapted, report.missing_keys)
    if left_over := sorted([*missing, *unexpected]):
        raise UserError(f"adapter {adapter.source} does not fit {base.source}: {left_over[0]} has no counterpart")
    if not in_layers:
        raise UserError(
            f"adapter {adapter.source} is {config.peft_type.value}, part of which acts outside the model's layers; it "
            "cannot be scored"
        )
    if past:
        raise UserError(
            f"adapter {adapter.source} has weights for {past}, which the code of {base.source} does not use in this "
            "precision: they would change nothing; score it as it was trained (--load_in_4bit)"
        )
    with_layers: PreTrainedModel = adapted.get_base_model()
    return with_layers


def _really_missing(adapted: Any, names: Iterable[str]) -> list[str]:
    """Those of the weights so called that no other name has either: VB-LoRA's layers share one bank of vectors."""
    absent = set(names)
    weights = dict(adapted.named_parameters(remove_duplicate=False))
    read = {id(weight) for name, weight in weights.items() if name not in absent}
    return [name for name in absent if id(weights.get(name)) not in read]


def _saved_whole(config: Any) -> list[str]:
    """Modules that an adapter brings whole; some kinds cannot."""
    return getattr(config, "modules_to_save", None) or []


def _read_past(adapted: Any) -> str:
    """Names of linear layers whose weights the model's own code reads itself, past their adapter.

    Such an adapter does nothing; those that are zero are not named, nor are layers without any part in a text (of an
    expert that no token chose, or of pictures). In 4 or 8 bits no code can read a weight itself.
    """
    import torch
    from peft.tuners.tuners_utils import BaseTunerLayer

    from centaurlab.models.passes import evaluating  # here: it imports torch

    def logits() -> torch.Tensor:
        ids_BT = torch.arange(1, 17, device=adapted.device)[None]
        with evaluating(adapted):
            found: torch.Tensor = adapted.get_base_model()(input_ids=ids_BT).logits
        return found

    linears: dict[str, Any] = {
        name: layer
        for name, layer in adapted.named_modules()
        if isinstance(layer, BaseTunerLayer) and type(layer.get_base_layer()) is torch.nn.Linear
    }
    acting: set[int] = set()  # where their weights lie, which several layers may share
    handles = [
        layer.register_forward_hook(lambda layer, *_: acting.add(layer.get_base_layer().weight.data_ptr()))
        for layer in linears.values()
    ]
    whole = logits()
    for handle in handles:
        handle.remove()
    one_of_each: dict[str, torch.Tensor] = {}
    for name, layer in linears.items():
        weight = layer.get_base_layer().weight.data
        if weight.data_ptr() not in acting and _is_not_zero(layer):
            one_of_each[name.rpartition(".")[2]] = weight
    past = set()
    noise = float((logits() - whole).abs().max()) if one_of_each else 0.0  # experts on a GPU are summed in any order
    for leaf, weight in one_of_each.items():
        kept = weight.clone()
        try:
            weight.zero_()
            past |= {leaf} if float((logits() - whole).abs().max()) > 10 * noise else set()
        finally:
            weight.copy_(kept)
    return ", ".join(sorted(past))


def _is_not_zero(layer: Any) -> bool:
    """Whether an adapter changes its layer: by its weights, or by what it adds or scales besides (a bias, DoRA)."""
    import torch

    if hasattr(layer, "get_delta_weight") and layer.get_delta_weight("default").any():
        return True
    base = layer.get_base_layer()
    with torch.inference_mode():
        x_1D = torch.linspace(-1, 1, base.in_features, dtype=base.weight.dtype, device=base.weight.device)[None]
        return not torch.equal(layer(x_1D), base(x_1D))


def _make_room(model: "PreTrainedModel", adapter: Checkpoint, config: Any) -> None:
    """Rows in embedding and LM head for the tokens of the adapter's own tokenizer; it has to bring their weights.

    Spare rows of the base are room enough.
    """
    embeddings: Any = model.get_input_embeddings()
    head: Any = model.get_output_embeddings()
    rows, needed = embeddings.weight.shape[0], n_tokens(adapter)
    if needed <= rows:
        return
    ends = {embeddings} if head.weight is embeddings.weight else {embeddings, head}
    names = {name.rpartition(".")[2] for name, module in model.named_modules() if module in ends}
    tokens = config.trainable_token_indices if hasattr(config, "trainable_token_indices") else None
    by_name = tokens if isinstance(tokens, dict) else {name: tokens or [] for name in names if len(ends) == 1}
    new = set(range(rows, needed))
    brought = {name for name in names if name in _saved_whole(config) or new <= set(by_name.get(name, ()))}
    if brought != names:
        raise UserError(
            f"adapter {adapter.source} has a tokenizer of {needed:,} tokens and its base an embedding of {rows:,}, and "
            f"it does not bring the missing rows of {', '.join(sorted(names - brought))} (modules_to_save)"
        )
    model.resize_token_embeddings(needed, mean_resizing=False)


@contextmanager
def _sentences(checkpoint: Checkpoint, what: str) -> Iterator[None]:
    """Whatever libraries raise of a checkpoint that they cannot load, as one sentence; so are panics of Rust's."""
    try:
        yield
    except UserError:
        raise
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        if "trust_remote_code" in str(error):
            raise UserError(
                f"{checkpoint.source} needs the Python code it brings; read it, then pass --trust_remote_code"
            ) from error
        raise UserError(f"cannot load {what}{checkpoint.source}: {failure(error)}") from error
