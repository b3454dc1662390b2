"""What identifies a model's files: their contents, never their names or dates.

Weights are large, so a digest is kept in the user's cache and used again while the file's size and time of
change stay the same; files of the hub's cache need no reading at all, since they are named by their digest.
"""

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path

from filelock import FileLock

_SHA256 = re.compile(r"[0-9a-f]{64}")
# Written by whoever saved the file; nothing that is computed depends on them.
_NOT_IDENTIFYING = {
    "transformers_version",
    "_name_or_path",
    "base_model_name_or_path",
    "peft_version",
    "revision",
}


def user_cache() -> Path:
    """Where converted models and digests are kept: $CENTAURLAB_CACHE, by default ~/.cache/centaurlab."""
    own = os.environ.get("CENTAURLAB_CACHE")
    shared = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return (Path(own) if own else Path(shared) / "centaurlab").expanduser()


def content_digest(path: Path) -> str:
    """SHA-256 of a file's contents, hex. The second call on an unchanged file reads a note, not the file.

    Several processes that ask at the same time read the file once. A cache that cannot be written only costs
    time.
    """
    target = path.resolve()
    if target.parent.name == "blobs" and _SHA256.fullmatch(target.name):
        return target.name
    status = target.stat()
    state = {"path": str(target), "size": status.st_size, "mtime_ns": status.st_mtime_ns}
    note = user_cache() / "digests" / f"{hashlib.sha256(str(target).encode()).hexdigest()}.json"
    try:
        note.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(note.with_suffix(".lock")):
            known = _read_note(note)
            if {key: known.get(key) for key in state} == state:
                return str(known["sha256"])
            digest = _sha256_of_file(target)
            _write_note(note, {**state, "sha256": digest})
            return digest
    except OSError:
        return _sha256_of_file(target)


def json_digest(path: Path) -> str:
    """SHA-256 of what a JSON file says, whatever its layout and the library version that wrote it."""
    content = json.loads(path.read_text(encoding="utf-8"))
    if isinstance(content, dict):
        content = {key: value for key, value in content.items() if key not in _NOT_IDENTIFYING}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def fingerprint(parts: Mapping[str, object]) -> str:
    """SHA-256 over named parts, hex; the order of the parts does not matter."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


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
