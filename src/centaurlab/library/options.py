"""Keyword arguments into the options of commands, with errors that name the nearest."""

import difflib
from collections.abc import Collection, Mapping
from dataclasses import fields
from typing import Any

from centaurlab.runtime.errors import UserError


def options_of(given: Mapping[str, Any], *kinds: type[Any], but: Collection[str] = ()) -> dict[str, Any]:
    """``given``, every name of which is an option of one of the dataclasses ``kinds`` and not in ``but``.

    Raises ``UserError`` for one that is not.
    """
    known = {option.name for kind in kinds for option in fields(kind) if option.init} - set(but)
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            meant = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(sorted(known))}"
            raise UserError(f"there is no option {name!r}; {meant}")
    return dict(given)


def of_kind(given: Mapping[str, Any], kind: type[Any]) -> dict[str, Any]:
    """Those of ``given`` that are options of ``kind``."""
    names = {option.name for option in fields(kind) if option.init}
    return {name: value for name, value in given.items() if name in names}
