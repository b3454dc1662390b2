"""An adapter and its base model into one model folder."""

import shutil
from pathlib import Path

from centaurlab.checkpoints import find_checkpoint
from centaurlab.errors import UserError
from centaurlab.models import ModelArguments, load_model, load_tokenizer
from centaurlab.runs import RunFolder


def merge(adapter: str, base: str | None, output_dir: str) -> Path:
    """Add the adapter's weights to the base model's in float32, save the sum in bfloat16 and return the folder.

    Raises ``UserError`` when ``adapter`` is none, does not fit ``base``, or ``output_dir`` is not empty.
    """
    from peft.tuners.tuners_utils import BaseTunerLayer

    folder = RunFolder(Path(output_dir), "merge").path
    if any(folder.iterdir()):
        raise UserError(f"{folder} is not empty; give another --output_dir")
    args = ModelArguments(base or adapter, adapter_name_or_path=adapter if base else None, dtype="float32")
    model = load_model(args)
    layers = [(name, layer) for name, layer in model.named_modules() if isinstance(layer, BaseTunerLayer)]
    if not layers:
        raise UserError(f"{adapter} is not an adapter; give the folder that recipes/centaur.py wrote")
    for name, layer in layers:
        layer.merge()
        model.set_submodule(name, layer.get_base_layer())
    model._hf_peft_config_loaded = False
    model.bfloat16().save_pretrained(folder)
    load_tokenizer(args).save_pretrained(folder)
    template = find_checkpoint(adapter, None, False, False).folder / "chat_template.jinja"
    if template.is_file():  # of a post-trained model, whose base may have none
        shutil.copyfile(template, folder / template.name)
    return folder
