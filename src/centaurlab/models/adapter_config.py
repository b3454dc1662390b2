"""What an adapter's own files say of it, held against what PEFT would make of that in silence.

PEFT passes over settings that it does not know, puts its own in the place of those that are missing, takes the text
"false" for true, and draws anew what an initialisation by a randomised SVD had drawn. Each gives another model than was
trained, so each is refused here.
"""

import math
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from centaurlab.runtime.errors import UserError
from centaurlab.runtime.limits import OutOfTimeError, time_limit

if TYPE_CHECKING:
    from peft import PeftConfig
    from transformers import PreTrainedModel

_LORA = "LORA"
_NEEDED = ("r", "lora_alpha")
_PATTERN_SECONDS = 10.0
_REDRAWN = ("pissa_niter", "lora_ga")
"""Ways to begin that change the base as well, which loading does not do again."""


def read_settings(said: Mapping[str, Any], path: Path) -> Any:
    """The settings that an adapter's file ``path`` says, as PEFT reads them.

    Raises ``UserError`` where PEFT makes something else of them.
    """
    from peft import PeftConfig  # here: it takes seconds

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Unexpected keyword arguments")  # said below, in one sentence
        config: PeftConfig = PeftConfig.from_pretrained(str(path.parent))
    _check_settings(said, config, path)
    return config


def _check_settings(said: Mapping[str, Any], config: "PeftConfig", path: Path) -> None:
    known = {one.name: one.type for one in fields(config)}
    if passed_over := sorted(name for name, value in said.items() if name not in known and value):
        raise UserError(
            f"{path}: PEFT does not know the setting {passed_over[0]!r} and would pass over it; install the version "
            "that wrote it or, where it changes nothing, delete it"
        )
    for name, value in said.items():
        if known.get(name) in (bool, "bool") and value not in (True, False, None):
            raise UserError(f"{path}: {name} is {value!r}, not true or false; the file is damaged")
    if config.peft_type != _LORA:
        return
    if missing := [name for name in _NEEDED if said.get(name) is None]:
        raise UserError(f"{path} lacks {missing[0]!r}, for which PEFT would take its own default; the file is damaged")
    patterns = said.get("alpha_pattern") or {}
    for alpha in (said["lora_alpha"], *(patterns.values() if isinstance(patterns, Mapping) else ())):
        if type(alpha) not in (int, float) or not math.isfinite(alpha) or alpha == 0:
            raise UserError(f"{path}: lora_alpha is {alpha!r}, with which an adapter is none; the file is damaged")
    if str(said.get("init_lora_weights")).startswith(_REDRAWN):
        raise UserError(
            f"{path}: the adapter changed its base when it began ({said['init_lora_weights']}), as no one can again; "
            "save it converted (save_pretrained with path_initial_model_for_weight_conversion)"
        )


def check_patterns(config: "PeftConfig", model: "PreTrainedModel", path: Path) -> None:
    """Raise ``UserError`` where telling an adapter's modules by its regular expressions takes too long."""
    names = [name for name, _ in model.named_modules()]
    try:
        with time_limit(_PATTERN_SECONDS):
            for pattern in _patterns(config):
                expression = re.compile(pattern)
                for name in names:
                    expression.fullmatch(name)
    except OutOfTimeError:
        raise UserError(
            f"{path}: its patterns need more than {_PATTERN_SECONDS:.0f} s to tell the modules of the model; write "
            "them without repetitions within repetitions"
        ) from None


def check_numbers(files: Iterable[Path], source: str) -> None:
    """Raise ``UserError`` where LoRA matrices are of whole numbers, of which nobody has said the scale."""
    from safetensors import safe_open

    for file in files:
        if file.suffix == ".safetensors":
            with safe_open(file, "np") as tensors:
                for name in tensors.keys():  # noqa: SIM118 (no dict)
                    kind = tensors.get_slice(name).get_dtype()
                    if ".lora_" in name and not kind.startswith(("F", "BF")):
                        raise UserError(f"adapter {source}: {name} has numbers of the type {kind}; save it as floats")


def _patterns(config: "PeftConfig") -> Iterator[str]:
    for name in ("target_modules", "exclude_modules"):
        if isinstance(pattern := getattr(config, name, None), str):
            yield pattern
    for name in ("rank_pattern", "alpha_pattern"):
        for key in getattr(config, name, None) or ():
            yield rf"(.*\.)?({key})"
