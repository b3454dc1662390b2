"""An adapter and its base model into one model folder: to serve it, or to train on from there."""

import shutil
from dataclasses import replace
from pathlib import Path

from centaurlab.models.arguments import ModelArguments
from centaurlab.models.checkpoints import find_checkpoint
from centaurlab.models.identity import identify
from centaurlab.models.loading import load_model, load_tokenizer
from centaurlab.runs.folder import RunFolder
from centaurlab.runs.integrity import read_json
from centaurlab.runtime.errors import UserError
from centaurlab.runtime.quiet import quiet_transformers

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
        merge(args.model_name_or_path, None, str(unfinished), args.model_revision)
        RunFolder(unfinished, "merge").write_json(_MERGED_FROM, origin)
        unfinished.rename(folder)
    elif read_json(folder / _MERGED_FROM).get("fingerprint") != origin["fingerprint"]:
        raise UserError(
            f"{run} holds a run on another adapter than {args.model_name_or_path}; give another --output_dir"
        )
    return replace(args, model_name_or_path=str(folder), model_revision=None)


def merge(adapter: str, base: str | None, output_dir: str, revision: str | None = None) -> Path:
    """Add the adapter's weights to the base model's in float32, save the sum in bfloat16 and return the folder.

    Raises ``UserError`` when ``adapter`` is none, does not fit ``base``, or ``output_dir`` is not empty.
    """
    from peft.tuners.tuners_utils import BaseTunerLayer
    from peft.utils import ModulesToSaveWrapper

    folder = RunFolder(Path(output_dir), "merge").path
    if any(folder.iterdir()):
        raise UserError(f"{folder} is not empty; give another --output_dir")
    args = ModelArguments(base or adapter, revision, adapter_name_or_path=adapter if base else None, dtype="float32")
    model = load_model(args)
    layers = [(name, layer) for name, layer in model.named_modules() if isinstance(layer, BaseTunerLayer)]
    if not layers:
        raise UserError(f"{adapter} is not an adapter; give the folder that 'centaurlab train' wrote")
    for name, layer in layers:
        layer.merge()
        model.set_submodule(name, layer.get_base_layer())
    whole = [(name, module) for name, module in model.named_modules() if isinstance(module, ModulesToSaveWrapper)]
    for name, module in whole:
        model.set_submodule(name, module.modules_to_save[module.active_adapters[0]])
    head, embeddings = model.get_output_embeddings(), model.get_input_embeddings()
    if whole and head.weight is not embeddings.weight:
        model.config.tie_word_embeddings = False
    model._hf_peft_config_loaded = False
    with quiet_transformers():
        model.bfloat16().save_pretrained(folder)
    load_tokenizer(args).save_pretrained(folder)
    template = find_checkpoint(adapter, revision, False, False).folder / "chat_template.jinja"
    if template.is_file():  # of a post-trained model, whose base may have none
        shutil.copyfile(template, folder / template.name)
    return folder
