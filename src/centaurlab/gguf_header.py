"""Whether the lengths in a GGUF file's header stay within the file.

The reader that transformers uses takes them at their word: in a file of fifty bytes one of them fills all memory. No
longer needed once a release of gguf holds https://github.com/ggml-org/llama.cpp/pull/27188 (0.19.0 does not).
"""

import os
import struct
from pathlib import Path
from typing import BinaryIO

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
