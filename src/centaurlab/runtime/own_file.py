"""A Python file of the user's own that defines a tuple of things: the one place that runs such a file.

The file is run: use your own only.
"""

import hashlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import TypeVar

from centaurlab.runtime.errors import UserError, one_line

T = TypeVar("T")


def own_digest(path: str | None) -> str | None:
    """SHA-256 of the file, hex, by which a run knows that it was changed since; None of none."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest() if path else None


def run_file(path: Path, what: str) -> ModuleType:
    """Run a Python file, as a module that nobody else has; ``what`` it is stands in messages.

    Raises ``UserError`` for a file that cannot be read or run.
    """
    name = f"_own_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise UserError(f"no {what} {path}; name a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where a data class looks for what its annotations name
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # somebody's file may fail in any way
        raise UserError(
            f"{path} fails when it is run: {type(error).__name__}: {one_line(error)}; correct it, or leave it out"
        ) from error
    finally:
        sys.modules.pop(name, None)
    return module


def files_of(path: Path, pattern: str, what: str) -> list[Path]:
    """``path``, or the files of such names in the folder that it is, or in its folders; ``UserError`` for none."""
    files = sorted(path.glob(pattern)) or sorted(path.glob(f"*/{pattern}")) if path.is_dir() else [path]
    if not files or not files[0].is_file():
        raise UserError(f"no {what} in {path}; name a file {pattern}, or a folder with such")
    return files


def load_own(path: Path, name: str, kind: type[T], what: str) -> tuple[T, ...]:
    """What the file defines as ``name``, a tuple of ``kind``; ``what`` it is stands in messages.

    Raises
    ------
    UserError
        For a file that cannot be read or run, or that defines something else.
    """
    found = vars(run_file(path, what)).get(name)
    if not isinstance(found, tuple | list) or not all(isinstance(one, kind) for one in found) or not found:
        raise UserError(f"{path} defines no {name}; end it with {name} = ({kind.__name__}(...),)")
    return tuple(found)
