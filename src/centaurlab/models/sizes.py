"""Sizes that a checkpoint states, held against its weights before anything of that size is allocated.

A config is a stranger's text: a hundred million layers, experts or labels use up the memory before any library looks at
the weights, and so does an adapter of rank 10^8. Counts that no model has are refused at once; what the numbers come to
together is held against the weight files, where every parameter has to be.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from centaurlab.runtime.errors import UserError

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

MAX_LAYERS, MAX_COUNT = 10_000, 100_000
"""More layers, and more heads, experts or labels, than any model has."""

_LAYER_NUMBER = re.compile(r"\.\d+\.")
_COUNTED = re.compile(r"(layers?|blocks?|stages?|experts?|heads?|labels?)$")
_LAYERS = re.compile(r"(layers?|blocks?|stages?)$")
_LEAST_BYTES, _LEAST_BYTES_QUANTISED = 1, 1 / 8  # of a parameter: in 8 bits, and in the fewest that anybody packs
_SLACK = 1.1  # for what is stored once and counted twice
_SPARE_RANK = 16  # a default rank above all that are used is no fault


def check_config(config: Mapping[str, Any], path: Path) -> None:
    """Raise ``UserError`` where a config counts more layers, heads, experts or labels than a model can have."""
    for name, value in _numbers(config):
        limit = MAX_LAYERS if _LAYERS.search(name) else MAX_COUNT
        if _COUNTED.search(name) and not value <= limit:
            raise UserError(f"{path}: {name} is {value:,}, and no model has more than {limit:,}; the file is damaged")
    n_layers = config.get("num_hidden_layers")
    if isinstance(n_layers, int) and n_layers < 1:
        raise UserError(f"{path}: num_hidden_layers is {n_layers}, and a model has at least one; the file is damaged")


def check_fits(
    without_weights: "PreTrainedModel", config: "PretrainedConfig", files: Iterable[Path], source: str
) -> None:
    """Raise ``UserError`` where a model has more parameters than its weight files have room for."""
    n_parameters = sum(parameter.numel() for parameter in without_weights.parameters())
    n_bytes = sum(file.stat().st_size for file in files)
    is_quantised = getattr(config, "quantization_config", None) is not None
    if n_parameters * (_LEAST_BYTES_QUANTISED if is_quantised else _LEAST_BYTES) > n_bytes * _SLACK:
        raise UserError(
            f"cannot load {source}: its config.json describes {n_parameters:,} parameters, which do not fit in "
            f"{n_bytes:,} bytes of weights; one of them is damaged, or belongs to another model"
        )


def check_all_layers(unexpected: Iterable[str], model: "PreTrainedModel", source: str) -> None:
    """Raise ``UserError`` where weights that were left over are of a further layer of the kind that the model has.

    Layers that predict tokens beyond the next one (MTP) are left out on purpose, and a config says so.
    """
    names = {_LAYER_NUMBER.sub(".0.", name, count=1) for name, _ in model.named_parameters()}
    config = model.config.get_text_config()
    if not (getattr(config, "num_nextn_predict_layers", 0) or getattr(config, "mtp_num_hidden_layers", 0)):
        for name in sorted(unexpected):
            if _LAYER_NUMBER.search(name) and _LAYER_NUMBER.sub(".0.", name, count=1) in names:
                raise UserError(
                    f"cannot load {source}: it has weights for layers that its config.json does not count ({name}, …); "
                    "the config is damaged, or belongs to another model"
                )


def check_in_memory(model: "PreTrainedModel", source: str) -> None:
    """Raise ``UserError`` where weights were left on the host or the disk, to be fetched for every pass."""
    if any(weight.is_meta for weight in model.parameters()):
        raise UserError(
            f"{source} does not fit in the memory of these devices: part of its weights would be fetched for every "
            "pass; use --load_in_4bit or more devices"
        )


def check_ranks(config: Mapping[str, Any], path: Path, files: Iterable[Path]) -> None:
    """Raise ``UserError`` where an adapter's ranks are no numbers, or far above those of its weights in ``files``."""
    patterns = config.get("rank_pattern") or {}
    if not isinstance(patterns, Mapping):
        raise UserError(f"{path}: rank_pattern is {patterns!r}, not ranks by name; the file is damaged")
    largest = _largest_rank(files)
    for rank in (config.get("r"), *patterns.values()):
        if rank is not None and (not isinstance(rank, int) or isinstance(rank, bool)):
            raise UserError(f"{path}: rank {rank!r} is not a whole number; the file is damaged")
        if rank and largest and rank > _SPARE_RANK * largest:
            raise UserError(f"{path}: rank {rank:,} is far above that of its weights, {largest:,}; the file is damaged")


def _largest_rank(files: Iterable[Path]) -> int:
    """The largest rank of LoRA matrices in safetensors files; of other adapters, their largest size; 0: not known."""
    from safetensors import safe_open

    shapes: dict[str, list[int]] = {}
    for file in files:
        if file.suffix == ".safetensors":
            with safe_open(file, "np") as tensors:
                shapes |= {name: tensors.get_slice(name).get_shape() for name in tensors.keys()}  # noqa: SIM118 (no dict)
    ranks = [shape[0] for name, shape in shapes.items() if "lora_A" in name or "lora_embedding_A" in name]
    return max(ranks or [max(shape, default=0) for shape in shapes.values()], default=0)


def _numbers(config: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Every number of a config, those of nested ones too, with its name."""
    found: list[tuple[str, object]] = [("", config)]
    while found:
        name, value = found.pop()
        if isinstance(value, Mapping):
            found += [(str(key), inner) for key, inner in value.items()]
        elif isinstance(value, list):
            found += [("", inner) for inner in value]
        elif isinstance(value, int | float):
            yield name, value
