"""Files that survive: renamed into place whole, and a disk that refuses them said in one sentence."""

import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from centaurlab.runtime.errors import DISK_FULL, UserError, is_disk_full


def user_cache() -> Path:
    """Where what takes long to make is kept: $CENTAURLAB_CACHE, by default ~/.cache/centaurlab."""
    own = os.environ.get("CENTAURLAB_CACHE")
    shared = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return (Path(own) if own else Path(shared) / "centaurlab").expanduser()


def replace_durably(temporary: Path, path: Path) -> None:
    """Rename the written file ``temporary``; after a power cut, ``path`` is the old file or the whole new one."""
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    temporary.replace(path)


def write_together(files: Iterable[tuple[Path, bytes]]) -> None:
    """Write files that belong together, in folders that are there.

    Where the disk refuses one (``OSError``), those that were there before are as they were, and nothing else is left.
    """
    temporaries: dict[Path, Path] = {}
    try:
        for path, content in files:
            temporaries[path] = path.with_name(f".{path.name}.tmp")
            temporaries[path].write_bytes(content)
        for path, temporary in temporaries.items():
            temporary.replace(path)
    finally:
        for temporary in temporaries.values():
            temporary.unlink(missing_ok=True)


@contextmanager
def full_disk_errors(folder: Path) -> Iterator[None]:
    """Turn whatever libraries raise while a training's disk is full into a ``UserError``."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if not is_disk_full(error):
            raise
        raise UserError(
            f"cannot write to {folder}: {DISK_FULL}; free space, then give the same command again: training goes on "
            "from the last whole checkpoint"
        ) from error


@contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """Turn what the disk says while a run writes to ``folder`` into a ``UserError``; the run can be continued."""
    try:
        yield
    except (OSError, sqlite3.OperationalError) as error:
        raise UserError(
            f"cannot write to {folder}: {error}; free space or permissions, then give the same command again: "
            "what is scored is kept"
        ) from error
