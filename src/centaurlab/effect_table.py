"""Effects as files to compute with, as a table to look at, and in a sentence."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich import box
from rich.markup import escape
from rich.table import Table

from centaurlab import terminal
from centaurlab.bootstrap import CONFIDENCE
from centaurlab.effects import Effect, Estimate
from centaurlab.errors import UserError

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


def verdict(effect: Effect) -> str:
    """The effect in a sentence: which model predicts people worse, and whether the interval excludes zero."""
    base, post, predict, on_average = effect.base, effect.group_name, "predicts", ""
    if effect.group != "pair":
        base, post, predict = "the base models", "the post-trained models", "predict"
        on_average = f"on average over {effect.n_pairs} pair{'s' * (effect.n_pairs > 1)}, "
    d = effect.d
    if not np.isfinite(d.value):
        return f"{on_average}d of {effect.name} is not defined: too few responses, or all with the same NLL"
    worse, better = (post, base) if d.value > 0 else (base, post)
    size = f"d = {d.value:+.3f}"
    if not np.isfinite(d.low):
        missing = no_interval("participants" if effect.level == "study" else "studies")
        if d.value == 0:
            return f"{on_average}{base} and {post} predict people equally well ({size}); {missing}"
        return f"{on_average}{worse} {predict} people worse than {better} ({size}); {missing}"
    size += f", {CONFIDENCE:.0%} interval {d.low:+.3f} to {d.high:+.3f}"
    if d.low <= 0 <= d.high:
        return f"{on_average}no clear difference between {base} and {post} ({size}, which includes zero)"
    return f"{on_average}{worse} {predict} people worse than {better} ({size}, which excludes zero)"


def no_interval(units: str) -> str:
    """Why an estimate has no interval, in words."""
    return f"no interval: it needs two {units} or more"


def print_effects(effects: Sequence[Effect]) -> None:
    """Print the effects, how to read them, and the verdict overall.

    Several pairs are listed overall, with their averages, and then averaged in every domain and study.
    """
    console = terminal.console()
    first = effects[0]
    detailed = [effect for effect in effects if (effect.group, effect.group_name) == (first.group, first.group_name)]
    if first.group == "pair":
        base, post = first.base, first.group_name
        console.print(_table(f"{escape(post)} against {escape(base)}", detailed, [effect.name for effect in detailed]))
    else:
        base, post = "the base models", "the post-trained models"
        overall = [effect for effect in effects if effect.level == "overall"]
        console.print(_table(f"{first.n_pairs} pairs, all studies", overall, [_group_label(row) for row in overall]))
        console.print(_table(f"mean of {first.n_pairs} pairs", detailed[1:], [row.name for row in detailed[1:]]))
    notes = [
        f"positive d: {post} predict{'s' * (first.group == 'pair')} people worse than {base}; NLL: nats per response"
    ]
    if first.n_studies_d < first.n_studies:
        notes.append(f"d is defined in {first.n_studies_d} of {first.n_studies} studies; the mean is over these")
    if first.unmatched_base or first.unmatched_post:
        notes.append(
            f"left out, scored by one model alone: {first.unmatched_base:,} responses of {base}, "
            f"{first.unmatched_post:,} of {post}"
        )
    for note in notes:
        console.print(note, markup=False, highlight=False, soft_wrap=True)
    console.print(f"overall: {verdict(first)}", style="bold", markup=False, highlight=False, soft_wrap=True)


def _table(title: str, effects: Sequence[Effect], labels: Sequence[str]) -> Table:
    table = Table(title=title, box=box.SIMPLE_HEAD)
    table.add_column("", overflow="fold")
    for header in ("d", "95 % interval", "paired d", "95 % interval", "NLL base", "NLL post", "responses", "people"):
        table.add_column(header, justify="right", no_wrap=True)
    sections = [(effect.group, effect.level) for effect in effects]
    for i, (effect, label) in enumerate(zip(effects, labels, strict=True)):
        if i and sections[i] != sections[i - 1]:
            table.add_section()
        table.add_row(
            escape(label),
            *cells(effect.d),
            *cells(effect.d_paired),
            f"{effect.nll_base:.3f}",
            f"{effect.nll_post:.3f}",
            f"{effect.n_responses:,}",
            f"{effect.n_participants:,}",
        )
    return table


def _group_label(effect: Effect) -> str:
    if effect.group == "pair":
        return f"{effect.group_name} against {effect.base}"
    return f"{effect.group_name} (mean of {effect.n_pairs})"


def cells(estimate: Estimate) -> tuple[str, str]:
    """An estimate and its interval; a dash for what is not defined."""
    value = f"{estimate.value:+.3f}" if np.isfinite(estimate.value) else "–"
    interval = f"{_bound(estimate.low)} … {_bound(estimate.high)}" if np.isfinite(estimate.low) else "–"
    return value, interval


def _bound(value: float) -> str:
    """Three decimals; three digits from a hundred on, as of a paired d of three people."""
    return f"{value:+.3f}" if abs(value) < 100 else f"{value:+.3g}"


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
