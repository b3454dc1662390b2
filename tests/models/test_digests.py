"""Files are known by their contents; a large file is read once."""

import hashlib
import json
import os
import time
from pathlib import Path

import pytest
from huggingface_hub import constants

from centaurlab.models import digests as fingerprints
from centaurlab.models.digests import content_digest, fingerprint, json_digest
from centaurlab.runs import integrity
from centaurlab.runtime.disk import user_cache

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Every file whose contents are read."""
    seen: list[Path] = []
    original = fingerprints._sha256_of_file

    def counted(path: Path) -> str:
        seen.append(path)
        return original(path)

    monkeypatch.setattr(fingerprints, "_sha256_of_file", counted)
    return seen


def test_digest_is_sha256_of_the_contents(tmp_path: Path) -> None:
    file = tmp_path / "weights"
    file.write_bytes(b"abc")
    # FIPS 180-2, appendix B.1
    assert content_digest(file) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_unchanged_file_is_read_once_and_a_changed_one_again(tmp_path: Path, reads: list[Path]) -> None:
    file = tmp_path / "weights"
    file.write_bytes(b"abc")
    first = content_digest(file)
    assert content_digest(file) == first
    assert len(reads) == 1
    file.write_bytes(b"abd")
    os.utime(file, ns=(0, 1))
    assert content_digest(file) == hashlib.sha256(b"abd").hexdigest()
    assert len(reads) == 2


def test_damaged_note_is_not_believed(tmp_path: Path, own_cache: Path) -> None:
    file = tmp_path / "weights"
    file.write_bytes(b"abc")
    expected = content_digest(file)
    (note,) = (own_cache / "digests").glob("*.json")
    for content in ("", "[]", '{"sha256": "0"}'):
        note.write_text(content)
        assert content_digest(file) == expected


def test_a_file_that_was_replaced_under_its_size_and_time_is_read_again(tmp_path: Path, reads: list[Path]) -> None:
    file, other = tmp_path / "weights", tmp_path / "other"
    file.write_bytes(b"abc")
    first, times = content_digest(file), file.stat()
    other.write_bytes(b"abd")
    os.utime(other, ns=(times.st_atime_ns, times.st_mtime_ns))
    os.replace(other, file)
    assert (file.stat().st_size, file.stat().st_mtime_ns) == (times.st_size, times.st_mtime_ns)
    assert content_digest(file) != first
    time.sleep(0.05)  # or the clock of the file system has not moved
    file.write_bytes(b"abc")
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert content_digest(file) == first
    assert len(reads) == 3


def test_a_note_with_another_digest_is_not_believed(tmp_path: Path, own_cache: Path) -> None:
    file = tmp_path / "weights"
    file.write_bytes(b"abc")
    expected = content_digest(file)
    (note,) = (own_cache / "digests").glob("*.json")
    note.write_text(note.read_text().replace(expected, "0" * 64))
    assert content_digest(file) == expected


def test_only_the_hubs_own_cache_is_trusted_to_name_files_by_their_digests(tmp_path: Path, reads: list[Path]) -> None:
    (tmp_path / "blobs").mkdir()
    blob = tmp_path / "blobs" / hashlib.sha256(b"any").hexdigest()
    blob.write_bytes(b"abc")
    assert content_digest(blob) == hashlib.sha256(b"abc").hexdigest()
    assert reads == [blob]


def test_hub_cache_file_is_named_by_its_digest_and_not_read(
    tmp_path: Path, reads: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    name = hashlib.sha256(b"any").hexdigest()
    (tmp_path / "blobs").mkdir()
    (tmp_path / "blobs" / name).write_bytes(b"stands for gigabytes")
    link = tmp_path / "model.safetensors"
    link.symlink_to(tmp_path / "blobs" / name)
    assert content_digest(link) == name
    assert reads == []


def test_unwritable_cache_only_costs_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("CENTAURLAB_CACHE", str(blocked))
    file = tmp_path / "weights"
    file.write_bytes(b"abc")
    assert content_digest(file) == hashlib.sha256(b"abc").hexdigest()


def test_json_is_compared_by_what_it_says(tmp_path: Path) -> None:
    config = {"hidden_size": 32, "rope": {"theta": 1.0}}
    one, other, different = (tmp_path / name for name in ("one", "other", "different"))
    one.write_text(json.dumps({**config, "transformers_version": "5.0"}))
    other.write_text(json.dumps({"transformers_version": "6.0", **config}, indent=4, sort_keys=True))
    different.write_text(json.dumps({**config, "hidden_size": 33}))
    assert json_digest(one) == json_digest(other) != json_digest(different)


def test_fingerprint_is_of_the_parts_not_their_order() -> None:
    assert fingerprint({"a": "1", "b": "2"}) == fingerprint({"b": "2", "a": "1"}) != fingerprint({"a": "2", "b": "1"})


def test_cache_is_where_the_environment_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert user_cache() == tmp_path / "cache"
    monkeypatch.delenv("CENTAURLAB_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert user_cache() == tmp_path / "xdg" / "centaurlab"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert user_cache() == tmp_path / ".cache" / "centaurlab"


def test_a_large_json_file_is_read_once_and_a_changed_one_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(integrity, "_LARGE_JSON", 8)
    file, read = tmp_path / "tokenizer.json", list[Path]()
    original = integrity._json_digest
    monkeypatch.setattr(integrity, "_json_digest", lambda path: read.append(path) or original(path))
    file.write_text('{"vocab": 1}')
    first = json_digest(file)
    assert (json_digest(file), len(read)) == (first, 1)
    file.write_text('{"vocab": 2}')
    os.utime(file, ns=(0, 1))
    assert json_digest(file) != first
    assert len(read) == 2
