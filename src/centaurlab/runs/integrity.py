"""Files that answer for themselves: what a disk or a copy has changed is refused, and never another number.

A JSON file that a run writes holds the digest of its own content. ``run.json``, written last, holds those of the
tables, weights and tokenizer files beside it, and so does ``manifest.json`` of a checkpoint. Files without a digest, of
older versions and of other programs, are read as they are.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from centaurlab.runtime.errors import UserError

RECORD, MANIFEST = "run.json", "manifest.json"
DIGEST, FILES = "digest", "files"
_OWN = (RECORD, MANIFEST, "tracking.json")
_KINDS = (".parquet", ".csv", ".json", ".safetensors", ".bin", ".pt", ".pth", ".jinja", ".model", ".txt", ".png")
_REMEDY = "give the command that wrote it again, or take the file from a copy"


class DamageError(ValueError):
    """A file is not as it was written; the message says in what."""


def sealed(content: Mapping[str, Any]) -> dict[str, Any]:
    """``content``, which JSON can hold, with the digest of it all."""
    return dict(content) | {DIGEST: _digest_of(content)}


def read_sealed(path: Path) -> dict[str, Any]:
    """The object in a JSON file, without its digest.

    Raises ``DamageError`` where the digest is not that of the content, ``ValueError`` where the file holds no object,
    and ``OSError`` where it cannot be read.
    """
    content = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise DamageError("it holds no 'name: value' pairs")
    known = content.pop(DIGEST, None)
    if known is not None and known != _digest_of(content):
        raise DamageError("its content is not what its digest says; where that was changed by hand, delete the digest")
    return content


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file, empty where there is none; ``UserError`` where it is damaged."""
    try:
        return read_sealed(path)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise damaged(path, error) from error


def read_sound_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file, empty where there is none or it is damaged: for what is only a help."""
    try:
        return read_sealed(path)
    except (OSError, ValueError, RecursionError):
        return {}


def damaged(path: Path, reason: object, remedy: str = _REMEDY) -> UserError:
    """The one sentence for a file that is not as it was written."""
    return UserError(f"{path} is damaged ({reason}); {remedy}")


def digests(folder: Path, paths: Iterable[Path]) -> dict[str, str]:
    """SHA-256 of those files of a folder that hold numbers, weights or settings and no digest of their own."""
    chosen = [path for path in sorted(paths) if path.suffix in _KINDS and path.name not in _OWN]
    chosen = [path for path in chosen if path.is_file() and not path.name.startswith(".")]
    return {
        path.relative_to(folder).as_posix(): file_digest(path)
        for path in chosen
        if path.suffix != ".json" or DIGEST not in _read_any(path)
    }


def check_file(path: Path, remedy: str = _REMEDY) -> None:
    """Raise ``UserError`` where a file is not the one that the record or manifest beside it, or above, tells of."""
    for folder, name in ((folder, name) for folder in (path.parent, path.parent.parent) for name in (RECORD, MANIFEST)):
        files = read_json(folder / name).get(FILES)
        known = files.get(path.relative_to(folder).as_posix()) if isinstance(files, dict) else None
        if known and path.is_file() and known != file_digest(path):
            raise damaged(path, f"its content is not what {folder / name} says", remedy)


def file_digest(path: Path) -> str:
    """SHA-256 of a file's content, hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_any(path: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _digest_of(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
