"""Files that answer for themselves: what a disk or a copy has changed is refused, and never another number.

A JSON file that a run writes holds the digest of its own content. ``run.json``, written last, holds those of the
tables, weights and tokenizer files beside it, and so does ``manifest.json`` of a checkpoint; and the digests by which
the run knows what it was asked and whom it held out, so that files of two runs cannot change places. Files without a
digest, of older versions and of other programs, are read as they are.
"""

import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Mapping
from fnmatch import fnmatch
from functools import lru_cache
from pathlib import Path
from typing import Any

from centaurlab.runtime.disk import replace_durably
from centaurlab.runtime.errors import UserError

RECORD, MANIFEST = "run.json", "manifest.json"
DIGEST, FILES, ASKED = "digest", "files", "asked"
_RUN = "run"
METRICS, METRICS_FILE = "metrics", "metrics.jsonl"
_OF_RUN = ("config.json", "run_config.json", "split.json", "data.json", "asked.json")
"""Files with a digest of their own that say what a run was asked, and of whom."""
_OWN = (RECORD, MANIFEST, "tracking.json", "training_args.bin")  # the last is read by nobody, and written again
_KINDS = (
    *(".parquet", ".csv", ".json", ".png", ".gz"),
    *(".safetensors", ".bin", ".pt", ".pth", ".distcp", ".jinja", ".model", ".txt"),  # of a model
)
# Written by whoever saved the file, or changed by who moves it; nothing that is computed depends on them.
_NOT_IDENTIFYING = {
    "transformers_version",
    "_name_or_path",
    "base_model_name_or_path",
    "peft_version",
    "revision",
}
_LARGE_JSON = 1 << 20
_OTHERS = (
    "{} is not that of the finished run beside it: the run was begun anew and has not ended, or the file is another "
    "run's; give the command again, or take the file from a copy"
)
_REMEDY = "give the command that wrote it again, or take the file from a copy"


class UnfinishedError(UserError):
    """A run that was finished once is begun anew; or it is as if it were, since a file is another run's."""


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
        if path.suffix != ".json" or DIGEST not in read_any(path)
    }


def own_digests(folder: Path) -> dict[str, str]:
    """The digests that the files which say what a run was asked hold of themselves; damaged ones are left out."""
    found = {}
    for name in _OF_RUN:
        content = dict(read_any(folder / name))
        digest = content.pop(DIGEST, None)
        if digest and digest == _digest_of(content):
            found[name] = str(digest)
    return found


def check_asked(folder: Path) -> None:
    """Raise ``UnfinishedError`` where what a finished run was asked is not what is beside its ``run.json``.

    ``UserError`` where it is gone. A file whose digest was deleted, as by whoever changes it on purpose, is taken as it
    is.
    """
    known = read_sound_json(folder / RECORD).get(ASKED)
    there = own_digests(folder)
    for name, digest in known.items() if isinstance(known, dict) else ():
        if not (folder / name).exists():
            raise UserError(f"{folder / name} is gone, of which {RECORD} beside it tells; {_REMEDY}")
        if there.get(name, digest) != digest:
            raise UnfinishedError(_OTHERS.format(folder / name))


def metrics_so_far(folder: Path) -> dict[str, Any] | None:
    """How long ``metrics.jsonl`` is, and its SHA-256; None where there is none. Lines may follow later."""
    try:
        content = (folder / METRICS_FILE).read_bytes()
    except FileNotFoundError:
        return None
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def check_metrics(folder: Path) -> None:
    """Raise ``UnfinishedError`` where lines that a finished run logged are gone, or are another run's."""
    known = read_sound_json(folder / RECORD).get(METRICS)
    if not isinstance(known, dict):
        return
    path = folder / METRICS_FILE
    content = path.read_bytes()[: known["bytes"]] if path.exists() else b""
    if hashlib.sha256(content).hexdigest() != known["sha256"]:
        raise UnfinishedError(_OTHERS.format(path))


def check_there(folder: Path, patterns: Collection[str], remedy: str = _REMEDY) -> None:
    """Raise ``UserError`` where a file that the record or manifest of a folder tells of, of such a name, is gone."""
    for record in (RECORD, MANIFEST):
        files = read_sound_json(folder / record).get(FILES)
        for name in files if isinstance(files, dict) else ():
            if any(fnmatch(name, pattern) for pattern in patterns) and not (folder / name).exists():
                raise UserError(f"{folder / name} is gone, of which {record} beside it tells; {remedy}")


def run_digest(asked: Mapping[str, Any]) -> str:
    """What the checkpoints of a run are known by: the digest of all that it cannot change on its way.

    What is None is left out, as a later version of a library has settings more.
    """
    return _digest_of(_without_none(asked))


def _without_none(content: Any) -> Any:
    if not isinstance(content, Mapping):
        return content
    return {name: _without_none(value) for name, value in content.items() if value is not None}


def write_manifest(folder: Path, run: str | None = None) -> None:
    """Write ``manifest.json``, the last file of a checkpoint, with the digests of all that it is read with.

    ``run``: the ``run_digest`` of the training that the checkpoint is of.
    """
    temporary = folder / f".{MANIFEST}.tmp"
    content = sealed({FILES: digests(folder, folder.rglob("*")), _RUN: run})
    temporary.write_text(json.dumps(content, indent=2, sort_keys=True), encoding="utf-8")
    replace_durably(temporary, folder / MANIFEST)


def run_of(checkpoint: Path) -> str | None:
    """The ``run_digest`` of the training that a checkpoint is of; None: older versions did not note it."""
    known = read_sound_json(checkpoint / MANIFEST).get(_RUN)
    return str(known) if known else None


def changed_file(folder: Path) -> str | None:
    """The first file that is not the one of the folder's manifest, or is gone; None: none, or it has no manifest."""
    files = read_sound_json(folder / MANIFEST).get(FILES)
    known = files if isinstance(files, dict) else {}
    paths = ((name, folder / name) for name in known)
    return next((name for name, path in paths if not path.is_file() or file_digest(path) != known[name]), None)


def written_digest(folder: Path, name: str) -> str | None:
    """The SHA-256 that ``run.json`` of a folder tells of a file; None where it tells of none."""
    files = read_sound_json(folder / RECORD).get(FILES)
    return files.get(name) if isinstance(files, dict) else None


def check_unchanged(path: Path, digest: str | None) -> None:
    """Raise ``UserError`` where a later run has written a file anew since its digest was ``digest``."""
    now = written_digest(path.parent, path.name)
    if digest and now and now != digest:
        raise UserError(
            f"a later run into {path.parent} has written {path.name} anew, and what was read of it before is another "
            "run's; read it again, or give each run a folder"
        )


def check_file(path: Path, remedy: str = _REMEDY, digest: Callable[[Path], str] | None = None) -> None:
    """Raise ``UserError`` where a file is not the one that the record or manifest beside it, or above, tells of.

    ``digest`` gives the SHA-256 of a file; default: by reading it.
    """
    for folder, name in ((folder, name) for folder in (path.parent, path.parent.parent) for name in (RECORD, MANIFEST)):
        is_own = name == RECORD and folder == path.parent  # one above may be anybody's
        files = (read_json if is_own else read_sound_json)(folder / name).get(FILES)
        known = files.get(path.relative_to(folder).as_posix()) if isinstance(files, dict) else None
        if known and path.is_file() and known != _digest_with(digest, path):
            changed = f"its content is not what {folder / name} says"
            raise damaged(path, changed, f"{remedy}; where it was changed on purpose, copy it elsewhere")


def file_digest(path: Path) -> str:
    """SHA-256 of a file's content, hex; of a JSON file, of what it says."""
    return _digest_with(None, path)


def json_digest(path: Path) -> str:
    """SHA-256 of what a JSON file says, whatever its layout and the library version that wrote it.

    A large one, as a tokenizer of a second's reading, is read once while it is the same by inode, size and times.
    """
    status = path.stat()
    if status.st_size < _LARGE_JSON:
        return _json_digest(path)
    state = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    return _large_json_digest(path, state)


@lru_cache(maxsize=16)
def _large_json_digest(path: Path, _state: tuple[int, ...]) -> str:
    return _json_digest(path)


def _json_digest(path: Path) -> str:
    content = json.loads(path.read_text(encoding="utf-8"))
    if isinstance(content, dict):
        content = {key: value for key, value in content.items() if key not in _NOT_IDENTIFYING}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _digest_with(digest: Callable[[Path], str] | None, path: Path) -> str:
    if path.suffix == ".json":
        try:
            return json_digest(path)
        except (ValueError, RecursionError):
            pass  # it is known by its bytes
    if digest:
        return digest(path)
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_any(path: Path) -> Mapping[str, Any]:
    """The object in a JSON file with its digest, right or not; empty where there is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _digest_of(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
