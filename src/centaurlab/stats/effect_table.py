"""Effects as files to compute with, as a table to look at, and in a sentence."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from centaurlab.runtime.errors import UserError
from centaurlab.stats.effects import Effect
from centaurlab.stats.estimate import Estimate

if TYPE_CHECKING:
    import pandas as pd


def effects_table(effects: Iterable[Effect]) -> "pd.DataFrame":
    """One row per effect, columns as in ``Effect``; an estimate makes three: ``d``, ``d_low`` and ``d_high``."""
    import pandas as pd

    return pd.DataFrame([_flat(effect) for effect in effects])


def write_effects(folder: Path, effects: Iterable[Effect]) -> None:
    """Write ``effects.parquet`` and ``effects.csv`` into ``folder``, each whole or not at all."""
    table = effects_table(effects)
    for name, write in (("effects.parquet", table.to_parquet), ("effects.csv", table.to_csv)):
        temporary = folder / f".{name}.tmp"
        try:
            write(temporary, index=False)
            temporary.replace(folder / name)
        except OSError as error:
            raise UserError(f"cannot write {folder / name}: {error}; give another --output_dir") from error


def read_effects(folder: Path) -> list[Effect]:
    """The effects that ``write_effects`` wrote into ``folder``; ``UserError`` where they are missing or damaged."""
    import pandas as pd

    path = folder / "effects.parquet"
    try:
        return [_effect(row) for row in pd.read_parquet(path).to_dict("records")]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is missing or damaged ({error}); give the run's command again") from error


def _effect(row: Mapping[Any, Any]) -> Effect:
    values: dict[str, Any] = {}
    for name, kind in Effect.__annotations__.items():
        if kind is Estimate:
            values[name] = Estimate(row[name], row[f"{name}_low"], row[f"{name}_high"])
        else:
            values[name] = row[name]
    return Effect(**values)


def _flat(effect: Effect) -> dict[str, str | float]:
    row: dict[str, str | float] = {}
    for name, value in asdict(effect).items():
        if isinstance(value, dict):
            row |= {name: value["value"], f"{name}_low": value["low"], f"{name}_high": value["high"]}
        else:
            row[name] = value
    return row
