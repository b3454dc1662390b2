"""An adapter and its base model into one model folder: to serve it, or to train on from there."""

import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from centaurlab.data.held_out import keep_split
from centaurlab.models.arguments import ModelArguments
from centaurlab.models.checkpoints import base_notes, find_checkpoint
from centaurlab.models.identity import identify
from centaurlab.models.loading import load_model, load_tokenizer
from centaurlab.models.passes import check_known, evaluating, logits_of
from centaurlab.runs.folder import RunFolder
from centaurlab.runs.integrity import read_json, write_manifest
from centaurlab.runtime.errors import UserError, failure
from centaurlab.runtime.quiet import quiet_transformers
from centaurlab.runtime.terminal import say

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_SAID_ROUNDING = 0.2  # of what the adapter changes
_LARGEST_DIFFERENCE = 1e-3  # of logits, in float32; a base that is quantised anew, or tied weights, give 0.1 and more
_TEXT = "You will see two slot machines, J and F. You choose <<J>> and win 7 points. You choose <<F>> and win 3 points."

_MERGED_BASE, _MERGED_FROM = "merged-base", "merged_from.json"


def merged_if_adapter(args: ModelArguments, run: Path) -> ModelArguments:
    """``args`` or, where they name an adapter, those of what it makes with its base, merged into the folder ``run``.

    It is merged once; ``UserError`` where ``run`` holds what another adapter made.
    """
    if not find_checkpoint(args.model_name_or_path, args.model_revision, True, False).is_adapter:
        return args
    adapter = ModelArguments(args.model_name_or_path, args.model_revision)
    folder, unfinished = run / _MERGED_BASE, run / f".{_MERGED_BASE}.tmp"
    origin = {"adapter": args.model_name_or_path, "fingerprint": identify(adapter).fingerprint}
    if not folder.exists():
        shutil.rmtree(unfinished, ignore_errors=True)
        merge(args.model_name_or_path, None, str(unfinished), args.model_revision, lambda note: say(f"note: {note}"))
        RunFolder(unfinished, "merge").write_json(_MERGED_FROM, origin)
        write_manifest(unfinished)
        unfinished.rename(folder)
    elif read_json(folder / _MERGED_FROM).get("fingerprint") != origin["fingerprint"]:
        raise UserError(
            f"{run} holds a run on another adapter than {args.model_name_or_path}; give another --output_dir"
        )
    return replace(args, model_name_or_path=str(folder), model_revision=None)


def merge(
    adapter: str,
    base: str | None,
    output_dir: str,
    revision: str | None = None,
    tell: Callable[[str], object] = lambda _: None,
) -> Path:
    """Add the adapter's weights to the base model's in float32, save the sum in bfloat16 and return the folder.

    ``tell`` gets a sentence where the base is not as the adapter was trained on it, and where rounding the sum loses a
    good part of what the adapter changed. Raises ``UserError`` when ``adapter`` is none or does not fit ``base``,
    ``output_dir`` is not empty, or what was merged gives other logits than what it was merged from.
    """
    folder = RunFolder(Path(output_dir), "merge").path
    if any(folder.iterdir()):
        raise UserError(f"{folder} is not empty; give another --output_dir")
    args = ModelArguments(base or adapter, revision, adapter_name_or_path=adapter if base else None, dtype="float32")
    for note in base_notes(args):
        tell(note)
    model, tokenizer = load_model(args), load_tokenizer(args)
    ids_BT = tokenizer(_TEXT, return_tensors="pt").input_ids
    check_known(model, ids_BT[0].numpy())
    with evaluating(model):
        expected_TV = logits_of(model, ids_BT)[0]
        _enable_adapters(model, False)
        effect_TV = expected_TV - logits_of(model, ids_BT)[0]
        _enable_adapters(model, True)
        try:
            _merge_layers(model, adapter)
        except (RuntimeError, ValueError, AttributeError, TypeError) as error:  # PEFT's, by kind
            raise UserError(f"{adapter} cannot be merged: {failure(error)}; use it as an adapter") from error
        difference = _relative_difference(logits_of(model, ids_BT)[0], expected_TV)
        if not difference <= _LARGEST_DIFFERENCE:
            raise UserError(
                f"{adapter} cannot be merged: the logits would differ by {difference:.1%} of their spread; use it as "
                "an adapter, or merge it into a base that is not quantised (--base)"
            )
        for parameter in filter(torch.is_floating_point, model.parameters()):
            parameter.data = parameter.data.bfloat16().float()
        lost = float((logits_of(model, ids_BT)[0] - expected_TV).norm() / effect_TV.norm())
    if _SAID_ROUNDING < lost < math.inf:  # of an adapter that changes nothing it is infinite
        tell(
            f"rounding to bfloat16 changes the merged model's logits by {lost:.0%} of what the adapter changes them "
            f"by; to measure what it learned, use {adapter} as an adapter"
        )
    model._hf_peft_config_loaded = False
    trained = find_checkpoint(adapter, revision, False, False).folder
    template = trained / "chat_template.jinja"
    try:
        with quiet_transformers():
            model.bfloat16().save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        if template.is_file():  # of a post-trained model, whose base may have none
            shutil.copyfile(template, folder / template.name)
        keep_split(trained, folder)
    except BaseException:  # or a part of a model would be there, and the same command be refused
        shutil.rmtree(folder.resolve(), ignore_errors=True)
        raise
    return folder


def _adapted(model: "PreTrainedModel") -> dict[str, Any]:
    """The modules that are an adapter's layers, by name."""
    from peft.tuners.tuners_utils import BaseTunerLayer
    from peft.utils.other import AuxiliaryTrainingWrapper

    return {n: m for n, m in model.named_modules() if isinstance(m, BaseTunerLayer | AuxiliaryTrainingWrapper)}


def _enable_adapters(model: "PreTrainedModel", enabled: bool) -> None:
    for module in _adapted(model).values():
        module.enable_adapters(enabled)


def _merge_layers(model: "PreTrainedModel", adapter: str) -> None:
    """Replace every module that the adapter changed by one with its weights.

    Embeddings and LM head that were one matrix become two where the adapter changes one of them or each in its way.
    """
    from peft.utils.other import AuxiliaryTrainingWrapper

    adapted = _adapted(model)
    outermost = {n: m for n, m in adapted.items() if not any(n.startswith(f"{other}.") for other in adapted)}
    if not outermost:
        raise UserError(f"{adapter} is not an adapter; give the folder that 'centaurlab train' wrote")
    inner = {name: _without_adapter(module) for name, module in outermost.items()}
    embeddings, head = (_without_adapter(m) for m in (model.get_input_embeddings(), model.get_output_embeddings()))
    is_tied = head.weight is embeddings.weight
    if is_tied and any(module in (embeddings, head) for module in inner.values()):
        head.weight = torch.nn.Parameter(head.weight.detach().clone())
    for name, module in outermost.items():
        if isinstance(module, AuxiliaryTrainingWrapper):
            merged = module.unload_and_optionally_merge_module(merge=True, safe_merge=False, adapter_names=None)
        else:
            module.merge()
            merged = module.get_base_layer()
        model.set_submodule(name, merged)
    embeddings, head = (_without_adapter(m) for m in (model.get_input_embeddings(), model.get_output_embeddings()))
    if is_tied and head.weight.shape == embeddings.weight.shape and torch.equal(head.weight, embeddings.weight):
        head.weight = embeddings.weight
    elif is_tied:
        model.config.tie_word_embeddings = model.config.get_text_config().tie_word_embeddings = False


def _without_adapter(module: Any) -> Any:
    """The module of the base model that an adapter's layers are around."""
    while (inner := getattr(module, "original_module", None) or getattr(module, "base_layer", None)) is not None:
        module = inner
    return module


def _relative_difference(logits_TV: torch.Tensor, expected_TV: torch.Tensor) -> float:
    """Of the position that differs most, to how much logits vary between positions."""
    spread = (expected_TV - expected_TV.mean(0)).square().mean().sqrt()
    return float((logits_TV - expected_TV).square().mean(1).sqrt().max() / spread)
