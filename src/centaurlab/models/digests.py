"""What identifies a model's files: their contents, never their names or dates.

Weights are large, so a digest is kept in the user's cache and used again while the file is the same by its inode, its
size and its times of change, of which no program can set the second; files of the hub's own cache need no reading at
all, since they are named by their digest.
"""

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path

from filelock import FileLock

from centaurlab.runs.integrity import json_digest as json_digest
from centaurlab.runtime.disk import user_cache

_SHA256 = re.compile(r"[0-9a-f]{64}")


def content_digest(path: Path) -> str:
    """SHA-256 of a file's contents, hex. The second call on an unchanged file reads a note, not the file.

    Several processes that ask at the same time read the file once. A cache that cannot be written only costs
    time.
    """
    target = path.resolve()
    if target.parent.name == "blobs" and _SHA256.fullmatch(target.name) and _is_in_hub_cache(target):
        return target.name
    status = target.stat()
    state = {"path": str(target), "size": status.st_size, "inode": status.st_ino}
    state |= {"mtime_ns": status.st_mtime_ns, "ctime_ns": status.st_ctime_ns}
    note = user_cache() / "digests" / f"{hashlib.sha256(str(target).encode()).hexdigest()}.json"
    try:
        note.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(note.with_suffix(".lock")):
            known = _read_note(note)
            digest = str(known.get("sha256"))
            if known == _answering(state, digest):
                return digest
            digest = _sha256_of_file(target)
            _write_note(note, _answering(state, digest))
            return digest
    except OSError:
        return _sha256_of_file(target)


def fingerprint(parts: Mapping[str, object]) -> str:
    """SHA-256 over named parts, hex; the order of the parts does not matter."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _answering(state: Mapping[str, object], digest: str) -> dict[str, object]:
    """What is kept of a file's digest, with a digest of that, so that a damaged note is not believed."""
    content = {**state, "sha256": digest}
    return {**content, "note": fingerprint(content)}


def _is_in_hub_cache(target: Path) -> bool:
    from huggingface_hub import constants  # here: it takes a while to import

    return target.is_relative_to(Path(constants.HF_HUB_CACHE).resolve())


def _sha256_of_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_note(note: Path) -> dict[str, object]:
    try:
        known = json.loads(note.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _write_note(note: Path, content: Mapping[str, object]) -> None:
    descriptor, name = tempfile.mkstemp(dir=note.parent, suffix=".partial")
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(content, file)
    os.replace(name, note)
