"""Effects as tables, in the file's names: what is first and second here is ``post`` and ``base`` in ``effects.csv``."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from centaurlab.runs.integrity import check_file
from centaurlab.runtime.errors import UserError
from centaurlab.stats.contrast import POST_TRAINING, Contrast
from centaurlab.stats.effects import Effect
from centaurlab.stats.estimate import NAN, Estimate

if TYPE_CHECKING:
    import pandas as pd

_ESTIMATES = ("d", "d_paired", "nll_difference")
_SIDES = {"nll_base": "nll_second", "nll_post": "nll_first"}
_UNMATCHED = {"unmatched_base": "unmatched_second", "unmatched_post": "unmatched_first"}
_THESE = ("d_these", "nll_difference_these")
_MORE = ("p_worse", "d_within")
_NUMBERS = ("d_paired_raw", "q", "nll_difference_q", "chance", "top_share")
_MODELS = ("d_models", "nll_difference_models")
_ITEMS = ("d_items", "nll_difference_items")
_TAILS = {"tail_base": "tail_second", "tail_post": "tail_first"}
_COUNTS = ("n_pairs", "n_responses", "n_participants", "n_studies", "n_studies_d", "n_studies_paired")


def effects_table(effects: Iterable[Effect]) -> "pd.DataFrame":
    """One row per effect, columns as in ``effect_record``; an estimate makes three: ``d``, ``d_low`` and ``d_high``."""
    import pandas as pd

    return pd.DataFrame([_flat(effect_record(effect)) for effect in effects])


def effect_record(effect: Effect) -> dict[str, Any]:
    """An effect under the names of the file, estimates as mappings of ``value``, ``low`` and ``high``.

    ``base`` is the second side of one pair, '' for averages; ``nll_base``, ``nll_post``, ``unmatched_base`` and
    ``unmatched_post`` are those of the second and the first side. ``d_these`` is the interval of d over new people in
    these studies, and ``d_low_these`` and ``d_high_these`` are its ends in a table.
    """
    record: dict[str, Any] = {"group": effect.group, "group_name": effect.group_name}
    record["base"] = effect.contrast.second if effect.group == "pair" else ""
    record |= {"level": effect.level, "name": effect.name}
    record |= {name: {"value": getattr(effect, name).value} | _ends(getattr(effect, name)) for name in _ESTIMATES}
    record |= {name: getattr(effect, field) for name, field in _SIDES.items()}
    record |= {name: getattr(effect, name) for name in _COUNTS}
    record |= {name: getattr(effect, field) for name, field in _UNMATCHED.items()}
    record |= {name: _ends(getattr(effect, name)) for name in _THESE}
    record |= {name: getattr(effect, name) for name in _NUMBERS}
    record |= {name: {"value": getattr(effect, name).value} | _ends(getattr(effect, name)) for name in _MORE}
    record["p_worse_these"] = _ends(effect.p_worse_these)
    record |= {name: getattr(effect, field) for name, field in _TAILS.items()}
    record |= {name: _ends(getattr(effect, name)) for name in (*_MODELS, *_ITEMS)}
    return record | {"item_share": effect.item_share}


def _ends(estimate: Estimate) -> dict[str, float]:
    return {"low": estimate.low, "high": estimate.high}


def read_effects(folder: Path) -> list[Effect]:
    """The effects that stand in ``effects.parquet`` of ``folder``; ``UserError`` where it is missing or damaged."""
    import pandas as pd

    path = folder / "effects.parquet"
    check_file(path)
    try:
        return [_effect(row) for row in pd.read_parquet(path).to_dict("records")]
    except (OSError, ValueError, KeyError, TypeError, MemoryError) as error:
        raise UserError(f"{path} is missing or damaged ({error}); give the run's command again") from error


def _effect(row: Mapping[Any, Any]) -> Effect:
    values: dict[str, Any] = {name: row[name] for name in ("group", "group_name", "level", "name", *_COUNTS)}
    values["contrast"] = Contrast(row["group_name"], row["base"]) if row["group"] == "pair" else POST_TRAINING
    values |= {name: Estimate(row[name], row[f"{name}_low"], row[f"{name}_high"]) for name in _ESTIMATES}
    values |= {name: _estimate(row, name) for name in _MORE}
    if row["level"] in ("study", "answers"):  # why one has no interval
        known = {name: replace(values[name], n_units=row["n_participants"]) for name in (*_ESTIMATES, *_MORE)}
        values |= known
    values |= {name: interval_of(row, *name.rsplit("_", 1)) for name in (*_THESE, "p_worse_these", *_MODELS, *_ITEMS)}
    values["item_share"] = float(row.get("item_share", NAN))
    values |= {name: float(row.get(name, NAN)) for name in _NUMBERS}
    values |= {field: float(row.get(name, NAN)) for name, field in _TAILS.items()}
    return Effect(**values, **{field: row[name] for name, field in (_SIDES | _UNMATCHED).items()})


def interval_of(row: Mapping[Any, Any], quantity: str, about: str) -> Estimate:
    """``quantity`` with another of its intervals, ``d_low_these`` and ``d_high_these``; older tables have none."""
    value = float(row.get(quantity, NAN))
    return Estimate(value, *(float(row.get(f"{quantity}_{end}_{about}", NAN)) for end in ("low", "high")))


def _estimate(row: Mapping[Any, Any], name: str) -> Estimate:
    return Estimate(*(float(row.get(key, NAN)) for key in (name, f"{name}_low", f"{name}_high")))


def _flat(record: Mapping[str, Any]) -> dict[str, str | float]:
    row: dict[str, str | float] = {}
    for name, value in record.items():
        if isinstance(value, dict) and "value" not in value:
            quantity, about = name.rsplit("_", 1)
            row |= {f"{quantity}_{end}_{about}": bound for end, bound in value.items()}
        elif isinstance(value, dict):
            row |= {name: value["value"], f"{name}_low": value["low"], f"{name}_high": value["high"]}
        else:
            row[name] = value
    return row
