"""A header whose lengths lie is refused before the reader believes it; what a writer writes passes."""

import struct
from contextlib import suppress
from pathlib import Path

import gguf
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from centaurlab.models.gguf import check_header, gguf_folder
from centaurlab.runtime.errors import UserError

HUGE = 1 << 40
KEY = struct.pack("<Q", 1) + b"k"
STRING, ARRAY, UINT32 = struct.pack("<I", 8), struct.pack("<I", 9), struct.pack("<I", 4)


def header(n_tensors: int, n_entries: int, content: bytes) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", 3, n_tensors, n_entries) + content


def write_whole(path: Path, endianness: gguf.GGUFEndian) -> gguf.GGUFReader:
    """Write a file with a value of every type, arrays and two tensors, and read it."""
    writer = gguf.GGUFWriter(path, "llama", endianess=endianness)
    for code in ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float32", "float64"):
        getattr(writer, f"add_{code}")(code, 7)
    writer.add_bool("bool", True)
    writer.add_string("string", "wörd")
    writer.add_array("strings", ["a", "", "ccc"])
    writer.add_array("numbers", [1, 2, 3])
    for name, shape in (("one", (32,)), ("two", (2, 32))):
        writer.add_tensor(name, np.ones(shape, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return gguf.GGUFReader(path)


def n_parts(reader: gguf.GGUFReader) -> int:
    return sum(len(field.parts) for field in reader.fields.values())


@pytest.mark.parametrize("endianness", list(gguf.GGUFEndian))
def test_a_header_is_read_to_its_end_and_not_beyond(tmp_path: Path, endianness: gguf.GGUFEndian) -> None:
    path = tmp_path / "whole.gguf"
    last = write_whole(path, endianness).tensors[-1].field
    length = last.offset + sum(part.nbytes for part in last.parts)
    header = path.read_bytes()[:length]
    check_header(path)
    path.write_bytes(header)
    check_header(path)
    for size in range(4, length):
        path.write_bytes(header[:size])
        with pytest.raises(ValueError, match="its header"):
            check_header(path)


@pytest.mark.parametrize(
    "content",
    [
        header(0, 1, KEY + ARRAY + STRING + struct.pack("<Q", HUGE)),
        header(0, 1, KEY + ARRAY + UINT32 + struct.pack("<Q", HUGE)),
        header(0, 1, KEY + STRING + struct.pack("<Q", HUGE)),
        header(0, 1, struct.pack("<Q", HUGE)),
        header(0, HUGE, b""),
        header(HUGE, 0, b""),
        header(1, 0, KEY + struct.pack("<I", 0xFFFFFFFF)),
        header(0, 1, KEY + struct.pack("<I", 99)),
        header(0, 1, KEY + ARRAY + ARRAY + struct.pack("<Q", 1)),
        b"GGUF" + struct.pack("<IQQ", 1, 0, 0),
        b"GGUF",
    ],
)
def test_lengths_that_lie_are_refused_in_a_sentence(tmp_path: Path, own_cache: Path, content: bytes) -> None:
    path = tmp_path / "bomb.gguf"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"cannot read .*bomb\.gguf: (a length in )?its header"):
        gguf_folder(path)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("gguf") / "whole.gguf"
    assert n_parts(write_whole(path, gguf.GGUFEndian.LITTLE)) < path.stat().st_size
    return path.read_bytes()


@given(st.data())
def test_what_passes_never_makes_the_reader_build_more_than_the_file_holds(
    whole: bytes, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    changed = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 3))):
        changed[data.draw(st.integers(8, len(whole) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "changed.gguf"
    path.write_bytes(changed)
    try:
        check_header(path)
    except ValueError:
        return
    with suppress(ValueError, KeyError):  # what the reader refuses
        assert n_parts(gguf.GGUFReader(path)) < len(whole)
