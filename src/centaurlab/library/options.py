"""Keyword arguments into the options of commands, with errors that name the nearest, or the type that is meant."""

import difflib
from collections.abc import Collection, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from centaurlab.runtime.arguments import typed_values
from centaurlab.runtime.errors import UserError

_COMMA_SEPARATED = ("studies", "domains", "novel_studies")


def options_of(given: Mapping[str, Any], *kinds: type[Any], but: Collection[str] = ()) -> dict[str, Any]:
    """``given``, every name of which is an option of one of the dataclasses ``kinds`` and not in ``but``.

    Each value has the type of its option. Raises ``UserError`` for a name that is no option, and for another type.
    """
    known = {option.name for kind in kinds for option in fields(kind) if option.init} - set(but)
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            meant = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(sorted(known))}"
            raise UserError(f"there is no option {name!r}; {meant}")
    return typed_values({name: plain_value(name, value) for name, value in given.items()}, kinds)


def plain_value(name: str, value: Any) -> Any:
    """A value as a YAML file would have it; several names for an option that takes them in one are joined."""
    value = value.tolist() if hasattr(value, "tolist") else value  # of NumPy or pandas
    if isinstance(value, list | tuple):
        value = [plain_value("", one) for one in value]
        return ",".join(map(str, value)) if name in _COMMA_SEPARATED and value else value
    return str(value) if isinstance(value, Path) else value


def of_kind(given: Mapping[str, Any], kind: type[Any]) -> dict[str, Any]:
    """Those of ``given`` that are options of ``kind``."""
    names = {option.name for option in fields(kind) if option.init}
    return {name: value for name, value in given.items() if name in names}
