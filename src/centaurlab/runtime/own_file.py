"""A Python file of the user's own that defines a tuple of things: the one place that runs such a file.

The file is run: use your own only.
"""

import hashlib
import importlib.util
from pathlib import Path
from typing import TypeVar

from centaurlab.runtime.errors import UserError, one_line

T = TypeVar("T")


def own_digest(path: str | None) -> str | None:
    """SHA-256 of the file, hex, by which a run knows that it was changed since; None of none."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest() if path else None


def load_own(path: Path, name: str, kind: type[T], what: str) -> tuple[T, ...]:
    """What the file defines as ``name``, a tuple of ``kind``; ``what`` it is stands in messages.

    Raises
    ------
    UserError
        For a file that cannot be read or run, or that defines something else.
    """
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise UserError(f"no {what} {path}; name a Python file of your own that defines {name}")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # a user's file may fail in any way
        raise UserError(
            f"{path} fails when it is run: {type(error).__name__}: {one_line(error)}; correct it"
        ) from error
    found = vars(module).get(name)
    if not isinstance(found, tuple | list) or not all(isinstance(one, kind) for one in found) or not found:
        raise UserError(f"{path} defines no {name}; end it with {name} = ({kind.__name__}(...),)")
    return tuple(found)
