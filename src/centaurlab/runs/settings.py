"""What a run was asked and where it comes from, as one level of names and values: what trackers filter and sort by."""

import json
from collections.abc import Collection, Mapping
from typing import Any

from centaurlab.runs.integrity import ASKED, FILES, METRICS
from centaurlab.runtime.secrets import is_secret_name, masked

Setting = str | int | float | bool | list[Any]

_RESULTS = (
    *("speed", "coverage", "studies", "skipped_sessions", "failed_sessions", "notes", "held_out", "left_out"),
    *("overall", "summaries", "time", "nll_mean", "sample", "rows", "excluded", "points", "assistant", "table"),
    *("audit", "figures", FILES),
)
_OF_THE_RUN = (
    *(ASKED, METRICS, "written", "took", "memory", "verdict", "verdicts", "claims", "these", "novelty", "likeness"),
    *("nll_and_distance", "at_bound", "temperatures_base", "temperatures_post"),
)
"""More of these, and checksums: at the top of a record alone, as deeper down such a name is that of a setting."""


def flat_config(config: Mapping[str, Any], about: Mapping[str, Any]) -> dict[str, Setting]:
    """Arguments and provenance as one level of ``a.b.c`` names; results and secrets are left out.

    Examples
    --------
    >>> flat_config({"train": {"learning_rate": 0.0005}, "hub_token": "x"}, {"git": {"dirty": True}, "nll_mean": 1.0})
    {'git.dirty': True, 'train.learning_rate': 0.0005}
    """
    flat: dict[str, Setting] = {}

    def add(prefix: str, value: Any, but_not: Collection[str] = ()) -> None:
        if isinstance(value, Mapping):
            for key, inner in value.items():
                if key not in but_not:
                    add(f"{prefix}.{key}" if prefix else str(key), inner, but_not)
        elif isinstance(value, list) and any(isinstance(inner, Mapping) for inner in value):
            add(prefix, {str(number): inner for number, inner in enumerate(value)}, but_not)
        elif value is not None and not is_secret_name(prefix):
            flat[prefix] = masked(value if isinstance(value, str | int | float | list) else str(value))

    add("", {name: value for name, value in about.items() if name not in _OF_THE_RUN}, _RESULTS)
    add("", config)  # where both have a name, it is what was asked
    return flat


def as_text(value: Setting) -> str:
    """A setting where only text will do: text as it is, all else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, default=str)
