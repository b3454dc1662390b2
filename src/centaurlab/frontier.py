"""Models by two qualities at once: how well they predict people, and how good assistants they are."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
from matplotlib.figure import Figure

from centaurlab.assistant.quality import Accuracy
from centaurlab.effects import Effect
from centaurlab.errors import UserError
from centaurlab.trajectory import CHANCE, accuracy_columns


@dataclass(frozen=True)
class NamedModel:
    """A model and what it is called in the table."""

    name: str
    model: str


@dataclass(frozen=True)
class Standing:
    """A model against the base: ``overall`` is its effect over all studies, None for the base model itself."""

    name: str
    model: str
    overall: Effect | None
    accuracy: Accuracy


def named_models(given: Sequence[str]) -> list[NamedModel]:
    """``NAME=MODEL`` or ``MODEL`` each; ``UserError`` where a name comes twice."""
    models = []
    for text in given:
        name, separator, model = text.partition("=")
        models.append(NamedModel(name.strip(), model.strip()) if separator else NamedModel(text, text))
    names = [model.name for model in models]
    for known in models:
        if not known.name or not known.model:
            raise UserError(
                f"--models: {known.name or known.model!r} is not NAME=MODEL; write for example sft=runs/sft"
            )
        if names.count(known.name) > 1:
            raise UserError(f"--models names {known.name!r} twice; give each model a name of its own: NAME=MODEL")
    return models


def frontier_table(standings: Sequence[Standing]) -> pd.DataFrame:
    """A row per model; ``on_frontier``: no other is at least as good in both qualities and better in one."""
    rows = []
    for s in standings:
        d = (s.overall.d.value, s.overall.d.low, s.overall.d.high) if s.overall else (0.0, 0.0, 0.0)
        nll = s.overall.nll_post if s.overall else _base_nll(standings)
        row = {"name": s.name, "model": s.model, "d": d[0], "d_low": d[1], "d_high": d[2], "nll": nll}
        rows.append({**row, **accuracy_columns(s.accuracy)})
    table = pd.DataFrame(rows)
    table["on_frontier"] = on_frontier(table["accuracy"].tolist(), table["d"].tolist())
    return table


def on_frontier(accuracy: Sequence[float], d: Sequence[float]) -> list[bool]:
    """Whether each point is not dominated: higher accuracy is better, lower d is better."""
    points = list(zip(accuracy, d, strict=True))
    return [not any(a >= x and e <= y and (a, e) != (x, y) for a, e in points) for x, y in points]


def plot_frontier(table: pd.DataFrame) -> Figure:
    """Assistant accuracy to the right, human-likeness upwards; filled: on the frontier; bars: 95 % intervals.

    The points carry numbers, whose names stand beside; points that coincide share a label.
    """
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    for number, row in enumerate(table.to_dict("records")):
        colour = f"C{(number - 1) % 10}" if number else "black"
        x, y = row["accuracy"], row["d"]
        axes.errorbar(
            x,
            y,
            xerr=[[x - row["accuracy_low"]], [row["accuracy_high"] - x]],
            yerr=[[y - row["d_low"]], [row["d_high"] - y]],
            fmt="o",
            markersize=8,
            color=colour,
            markerfacecolor=colour if row["on_frontier"] else "white",
            elinewidth=0.6,
            label=f"{number}  {row['name']}",
        )
    for group in coinciding(table["accuracy"].tolist(), table["d"].tolist()):
        x, y = table.loc[group[0], ["accuracy", "d"]]
        text = ", ".join(map(str, group))
        axes.annotate(text, (x, y), xytext=(7, 5), textcoords="offset points", fontsize=9)
    axes.axhline(0, color="grey", linewidth=0.8)
    axes.axvline(CHANCE, color="grey", linewidth=0.8, linestyle="--")
    axes.invert_yaxis()
    axes.set(
        xlabel="assistant accuracy, held-out items (dashed: guessing)",
        ylabel=f"d against {table['name'][0]}\n(higher up: predicts people better)",
    )
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=8, frameon=False)
    return figure


def coinciding(x: Sequence[float], y: Sequence[float], near: float = 0.03) -> list[list[int]]:
    """Indices of points in groups: each is within ``near`` of the spread of all, in x and y, of its group's first."""
    spread_x, spread_y = (max(values) - min(values) for values in (x, y))
    groups: list[list[int]] = []
    for i in range(len(x)):
        for group in groups:
            first = group[0]
            if abs(x[i] - x[first]) <= near * spread_x and abs(y[i] - y[first]) <= near * spread_y:
                group.append(i)
                break
        else:
            groups.append([i])
    return groups


def _base_nll(standings: Sequence[Standing]) -> float:
    return next((s.overall.nll_base for s in standings if s.overall), float("nan"))
