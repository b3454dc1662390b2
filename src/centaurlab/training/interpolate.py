"""Models between a base and its post-trained version: weights base + α (post − base).

Known as WiSE-FT (arXiv 2109.01903). For a LoRA adapter the difference is the product B A, so that scaling B by α is
exact and the result again an adapter; 0 and 1 give the base and the post-trained model.
"""

import json
import math
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from centaurlab.data.held_out import keep_split
from centaurlab.models.arguments import ModelArguments
from centaurlab.models.checkpoints import BASE_WEIGHTS, QUANTISED, Checkpoint, find_checkpoint
from centaurlab.models.identity import identify
from centaurlab.models.loading import load_model, load_tokenizer
from centaurlab.runs.folder import RunFolder
from centaurlab.runs.integrity import read_json
from centaurlab.runtime.errors import UserError

_ADAPTER = "adapter_model.safetensors"
_MADE_OF = "made_of.json"  # the last file that a model gets
_NOT_LINEAR = (
    "use_dora",
    "modules_to_save",
    "trainable_token_indices",
    "lora_bias",
    "kasa_config",
    "layer_replication",
)
_BASE_KEPT = (None, True, False, "gaussian", "orthogonal", "eva", "mica")  # others subtract their start from the base


def interpolate(post: str, base: str | None, alpha: float, output_dir: Path) -> Path:
    """Write the model at ``alpha`` between ``base`` and ``post`` into ``output_dir``, which is returned.

    ``base`` is needed only where ``post`` is no adapter. A model that is there already is kept. Raises ``UserError``
    where the two do not fit, for adapters that are more than a LoRA, and when ``output_dir`` holds anything else.
    """
    if not math.isfinite(alpha):
        raise UserError(f"--alpha is {alpha}; give a number, 0 for the base and 1 for the post-trained model")
    found = find_checkpoint(post, None, True, False)
    if not found.is_adapter and not base:
        raise UserError(f"{post} is a whole model; name the one it was trained from: --base")
    if is_there(post, base, alpha, output_dir):
        return output_dir
    unfinished = output_dir.with_name(f".{output_dir.name}.tmp")
    shutil.rmtree(unfinished, ignore_errors=True)
    folder = RunFolder(unfinished, "interpolate").path
    if found.is_adapter:
        _scale_adapter(found, alpha, folder)
    else:
        assert base is not None, "checked above"
        _mix_weights(post, base, alpha, folder)
    template = found.folder / "chat_template.jinja"
    if template.is_file():
        shutil.copyfile(template, folder / template.name)
    keep_split(found.folder, folder)
    about_base: dict[str, object] = {}
    if found.is_adapter:
        asked = found.asked_of_base()
        about_base = {BASE_WEIGHTS: found.base_weights(), "model": {n: asked[n] for n in QUANTISED if n in asked}}
    RunFolder(folder, "interpolate").write_json(_MADE_OF, _made_of(post, base, alpha) | about_base)
    folder.rename(output_dir)
    return output_dir


def is_there(post: str, base: str | None, alpha: float, output_dir: Path) -> bool:
    """Whether ``output_dir`` holds this very model; ``UserError`` where it holds something else."""
    if not output_dir.exists() or not any(output_dir.iterdir()):
        return False
    known = read_json(output_dir / _MADE_OF)
    if {name: known.get(name) for name in ("alpha", "post", "base")} != _made_of(post, base, alpha):
        raise UserError(
            f"{output_dir} holds something else; leave {alpha:g} out of --alpha, or give another --output_dir"
        )
    return True


def _made_of(post: str, base: str | None, alpha: float) -> dict[str, object]:
    prints = {name: identify(ModelArguments(name)).fingerprint for name in (post, base) if name}
    return {"alpha": alpha, "post": prints[post], "base": prints[base] if base else None}


def _scale_adapter(post: Checkpoint, alpha: float, folder: Path) -> None:
    config = post.config()
    more = [name for name in _NOT_LINEAR if config.get(name)]
    if (start := config.get("init_lora_weights")) not in _BASE_KEPT:
        more.append(f"init_lora_weights: {start}")
    if config.get("peft_type") != "LORA" or more or config.get("bias", "none") != "none":
        kind = more[0] if more else config.get("peft_type")
        raise UserError(f"{post.source} is not a plain LoRA adapter ({kind}); merge it first: centaurlab merge")
    tensors = {
        name: tensor * alpha if ".lora_B." in name or ".lora_embedding_B" in name else tensor
        for name, tensor in load_file(post.folder / _ADAPTER).items()
    }
    save_file(tensors, folder / _ADAPTER, metadata={"format": "pt"})
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")


def _mix_weights(post: str, base: str, alpha: float, folder: Path) -> None:
    model, other = (load_model(ModelArguments(name, dtype="float32")) for name in (post, base))
    weights, base_weights = model.state_dict(), other.state_dict()
    mixed = set()  # tied weights have two names
    for name, tensor in weights.items():
        if name not in base_weights or base_weights[name].shape != tensor.shape:
            raise UserError(f"{base} does not fit {post}: the tensor {name} has no counterpart of the same shape")
        if tensor.data_ptr() in mixed:
            continue
        mixed.add(tensor.data_ptr())
        with torch.no_grad():
            tensor.mul_(alpha).add_(base_weights[name], alpha=1 - alpha)
    model.save_pretrained(folder)
    load_tokenizer(ModelArguments(post)).save_pretrained(folder)
