"""Simulated behaviour beside people's: distances over floors, curves, shares of answers, spread, effects."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd

from centaurlab.display.figures.style import GREY, INK, look, new_figure, short, styled
from centaurlab.stats.estimate import Estimate
from centaurlab.stats.words import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

_PART = r"^(?P<kind>.*), part (?P<part>\d+)$"
_MOST_PANELS = 12


@styled
def distance_figure(table: pd.DataFrame) -> Figure:
    """Distance over floor of each study and axis; filled where the model differs from people."""
    places = {pair: n for n, pair in enumerate(dict.fromkeys(zip(table["study"], table["axis"], strict=True)))}
    labels = [f"{short(study, 22)}, {axis}" for study, axis in places]
    figure = new_figure(22 + 4.2 * len(labels))
    axes = figure.subplots()
    for (system, rows), (colour, marker) in zip(
        table.groupby("system", sort=False), _looks(table).values(), strict=True
    ):
        for is_more in (True, False):
            part = rows[(rows["verdict"] == "differs") == is_more]
            where = [places[pair] for pair in zip(part["study"], part["axis"], strict=True)]
            face = colour if is_more else "white"
            axes.plot(part["ratio"], where, marker, color=colour, markerfacecolor=face, markersize=4)
        axes.plot([], [], marker, color=colour, markersize=4, label=str(system))
    axes.axvline(1, color=GREY, linewidth=0.8)
    _log_scale(axes, "x", table["ratio"])
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.set_xlabel("distance from people / floor\n(filled: more than by chance)")
    figure.suptitle("Simulated against human behaviour")
    figure.legend(loc="outside lower center", ncols=2)
    return figure


def curves_figure(cells: pd.DataFrame) -> Figure | None:
    """How often each study's commonest answer of people is given in each eighth of the session; None: of no study."""
    parts = cells[cells["axis"] == "dynamics"].copy()
    if parts.empty:
        return None
    parts[["kind", "part"]] = parts["item"].str.extract(_PART)
    parts = parts.dropna(subset="part").astype({"part": int})
    chosen = []
    for study, rows in parts.groupby("study", sort=False):
        counts = rows.assign(n=rows["people_share"] * rows["people_answers"]).groupby(["kind", "answer"])["n"].sum()
        if len(counts) and rows["part"].nunique() > 1:
            kind, answer = counts.index[int(counts.argmax())]
            of_answer = rows[(rows["kind"] == kind) & (rows["answer"] == answer)]
            chosen.append((f"{short(str(study), 17)}\n{short(str(answer), 17)}", of_answer.sort_values("part")))
    if not chosen:
        return None
    looks = _looks(cells)

    def draw(axes: Axes, rows: pd.DataFrame) -> None:
        first = rows.sort_values("people_answers").drop_duplicates("part", keep="last").sort_values("part")
        axes.plot(first["part"] + 1, first["people_share"], color=INK, linewidth=1.4, label="people")
        for system, of in rows.groupby("system", sort=False):
            colour, marker = looks[str(system)]
            axes.plot(of["part"] + 1, of["model_share"], f"{marker}-", color=colour, markersize=2.5, linewidth=0.8)
            axes.lines[-1].set_label(str(system))
        axes.set_xticks(range(1, 9, 7 if len(chosen) > 2 else 1))
        axes.set_ylim(-0.03, 1.03)

    return _panels(chosen, draw, "eighth of it", "share of answers", "Over the session")


def stay_figure(cells: pd.DataFrame) -> Figure | None:
    """How often a choice is made again after a reward or none, by transition; None where no study tells rewards."""
    stays = cells[(cells["axis"] == "dynamics") & (cells["answer"] == "the same again")]
    if stays.empty:
        return None
    panels = [(short(str(study), 17), rows) for study, rows in stays.groupby("study", sort=False)]
    looks = _looks(cells)

    def draw(axes: Axes, rows: pd.DataFrame) -> None:
        situations = [str(item) for item in dict.fromkeys(rows["item"])]
        first = rows.drop_duplicates("item")
        axes.plot(range(len(first)), first["people_share"], "_", color=INK, markersize=16, label="people")
        for system, of in rows.groupby("system", sort=False):
            colour, marker = looks[str(system)]
            where = [situations.index(item) for item in of["item"]]
            axes.plot(where, of["model_share"], marker, color=colour, markersize=4, label=str(system))
        names = [item.partition(" after ")[2].replace(", ", "\n") for item in situations]
        axes.set_xticks(range(len(names)), names)
        axes.set_ylim(0, 1)

    return _panels(panels, draw, "", "P(the same again)", "After rewards")


def marginals_figure(cells: pd.DataFrame) -> Figure | None:
    """What share of each item's answers people and simulated people have, a point per item and answer."""
    known = cells[(cells["axis"] == "marginal") & (cells["people_answers"] > 0) & (cells["model_answers"] > 0)]
    if known.empty:
        return None
    panels = [(short(str(study), 17), rows) for study, rows in known.groupby("study", sort=False)]
    looks = _looks(cells)

    def draw(axes: Axes, rows: pd.DataFrame) -> None:
        axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.6)
        for system, of in rows.groupby("system", sort=False):
            colour, marker = looks[str(system)]
            axes.plot(of["people_share"], of["model_share"], marker, color=colour, markersize=1.8, alpha=0.5)
            axes.lines[-1].set_label(str(system))
        axes.set_xlim(-0.04, 1.04)
        axes.set_ylim(-0.04, 1.04)

    return _panels(panels, draw, "of people's answers", "share of simulated answers", "Answers to each item")


def spread_figure(table: pd.DataFrame) -> Figure | None:
    """SD of simulated people over SD of people; below 1, simulated people are too alike.

    A row per study, and one for the parameters of its cognitive model.
    """
    known = table[np.isfinite(table["sd_ratio"])]
    if known.empty:
        return None
    said = {"individuals": "", "parameters": ", parameters"}
    places = known.groupby(["study", "axis"], sort=False).ngroup()
    names = [short(str(study), 26) + said[axis] for study, axis in zip(known["study"], known["axis"], strict=True)]
    return _spread(known.assign(place=places, name=names), _looks(table))


@styled
def _spread(known: pd.DataFrame, looks: Mapping[str, tuple[str, str]]) -> Figure:
    figure = new_figure(26 + 7 * known["place"].nunique())
    axes = figure.subplots()
    _rows(axes, known, looks, ("sd_ratio", "sd_ratio_low", "sd_ratio_high"))
    axes.axvline(1, color=GREY, linewidth=0.8)
    _log_scale(axes, "x", *(known[f"sd_ratio{end}"] for end in ("", "_low", "_high")))
    axes.set_xlabel("SD of simulated people /\nSD of people")
    figure.suptitle("How different people are")
    figure.legend(loc="outside lower center", ncols=2)
    return figure


def effects_figure(effects: pd.DataFrame, has_zero: bool = True) -> Figure | None:
    """Model − people of each effect over what two halves of the people stay within, which is grey; None: no effects.

    ``has_zero``: whether an effect of 0 is none, which is marked.
    """
    known = effects[effects["margin"] > 0].copy()
    if known.empty:
        return None
    known["place"] = known.groupby(["study", "effect"], sort=False).ngroup()
    known["name"] = [f"{short(s, 22)}\n{short(e, 28)}" for s, e in zip(known["study"], known["effect"], strict=True)]
    for end in ("", "_low", "_high"):
        known[f"relative{end}"] = known[f"difference{end}"] / known["margin"]
        known[f"people_relative{end}"] = known[f"people{end}"] / known["margin"]
    return _effects(known, _looks(effects), has_zero)


@styled
def _effects(known: pd.DataFrame, looks: Mapping[str, tuple[str, str]], has_zero: bool) -> Figure:
    figure = new_figure(28 + 9 * known["place"].nunique())
    axes = figure.subplots()
    axes.axvspan(-1, 1, color="#EEEEEE", zorder=0)
    axes.axvline(0, color=GREY, linewidth=0.8)
    if has_zero:
        axes.plot(-known["people_relative"], _places(known), "|", color=INK, markersize=5, label="no effect at all")
    _rows(axes, known, looks, ("relative", "relative_low", "relative_high"))
    axes.set_xlabel("difference from people / margin\n(grey: halves of the people)")
    figure.suptitle("What becomes of effects")
    figure.legend(loc="outside lower center", ncols=2)
    return figure


@styled
def gap_figure(gap: pd.DataFrame, agreement: Estimate) -> Figure:
    """Distance over floor against NLL, a line of systems per study; no line where their agreement is not known."""
    figure = new_figure(72)
    axes = figure.subplots()
    if agreement.has_interval:
        for _, rows in gap.groupby("study", sort=False):
            axes.plot(rows["nll"], rows["ratio"], color="#DDDDDD", linewidth=0.7, zorder=1)
        value, low, high = (number(one, decimals=2) for one in (agreement.value, agreement.low, agreement.high))
        axes.set_title(f"Within studies, rank correlation {value} [{low}, {high}]")
    for system, (colour, marker) in _looks(gap).items():
        rows = gap[gap["system"] == system]
        axes.plot(rows["nll"], rows["ratio"], marker, color=colour, markersize=4, label=str(system))
    _log_scale(axes, "y", gap["ratio"])
    axes.set_xlabel("NLL of people's answers, nats per response")
    axes.set_ylabel("distance / floor of simulated behaviour")
    figure.legend(loc="outside lower center", ncols=2)
    return figure


def _log_scale(axes: Axes, side: Literal["x", "y"], ratios: pd.Series[float], *ends: pd.Series[float]) -> None:
    """Powers of two on one side, and 0 where a ratio is exactly that; ends of intervals at most four of them beyond."""
    some, around = (
        of[np.isfinite(of) & (of > 0)].to_numpy(float) for of in (ratios, pd.concat([ratios, *ends], ignore_index=True))
    )
    least, most = np.min(some, initial=1), np.max(some, initial=1)
    drawn = np.append(around.clip(least / 16, most * 16), (least, most))
    lowest, highest = (int(np.floor(np.log2(end))) for end in (drawn.min(), drawn.max()))
    step = max(-((lowest - highest) // 4), 1)
    ticks = [2.0**n for n in (*range(0, lowest - 1, -step), *range(step, highest + 1, step))]
    scale = getattr(axes, f"set_{side}scale")
    start = 2.0**lowest / 1.2
    if (ratios == 0).any():
        scale("symlog", base=2, linthresh=2.0**lowest, linscale=1.5)
        start = -(2.0**lowest) / 4
        ticks.append(0)
    else:
        scale("log", base=2)
    axes.set(**{f"{side}lim": (start, 2.0 ** (highest + 1) * 1.2)})
    axis: Axis = getattr(axes, f"{side}axis")
    axis.set_ticks(ticks, [f"{tick:.{6 if tick >= 0.1 else 1}g}" for tick in ticks])


def _looks(table: pd.DataFrame) -> dict[str, tuple[str, str]]:
    """Colour and marker of each system, the same in all panels: not all systems are in every one."""
    return {str(system): look(number) for number, system in enumerate(dict.fromkeys(table["system"]))}


def _rows(axes: Axes, table: pd.DataFrame, looks: Mapping[str, tuple[str, str]], columns: tuple[str, str, str]) -> None:
    """A row per ``place``, each system a little below the one before, with its interval."""
    for system, rows in table.assign(where=_places(table)).groupby("system", sort=False):
        colour, marker = looks[str(system)]
        where = rows["where"].to_numpy()
        value, low, high = (rows[column].to_numpy(float) for column in columns)
        around = np.abs(np.array([value - low, high - value]))
        axes.errorbar(
            *(value, where), xerr=np.nan_to_num(around), fmt=marker, color=colour, markersize=3, elinewidth=0.8
        )
        axes.containers[-1].set_label(str(system))
    names = table.drop_duplicates("place")["name"]
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)


def _places(table: pd.DataFrame) -> pd.Series[float]:
    """Of each row its place, those of one place side by side by system."""
    systems = table.groupby("system", sort=False)
    return table["place"] + 0.5 * ((systems.ngroup() + 0.5) / systems.ngroups - 0.5)


@styled
def _panels(
    panels: Sequence[tuple[str, pd.DataFrame]],
    draw: Callable[[Axes, pd.DataFrame], None],
    x_label: str,
    y_label: str,
    title: str,
) -> Figure:
    """Small panels of the first studies, up to three beside one another, with one legend."""
    shown = panels[:_MOST_PANELS]
    n_columns = min(3, len(shown))
    n_rows = -(-len(shown) // n_columns)
    figure = new_figure(24 + 30 * n_rows)
    grid = figure.subplots(n_rows, n_columns, sharey=True, squeeze=False)
    for axes, (name, rows) in zip(grid.flat, shown, strict=False):
        draw(axes, rows)
        axes.set_title(name, fontsize=6)
    for axes in list(grid.flat)[len(shown) :]:
        axes.set_axis_off()
    drawn = [zip(*axes.get_legend_handles_labels(), strict=True) for axes in grid.flat]
    keys = {label: handle for of_panel in drawn for handle, label in of_panel}
    labels = [short(label, 30) for label in keys]
    columns = next((n for n, most in ((3, 15), (2, 24)) if max(map(len, labels)) <= most), 1)
    figure.legend(keys.values(), labels, loc="outside lower center", ncols=columns)
    for axes in list(grid.flat)[max(len(shown) - n_columns, 0) : len(shown)]:
        axes.set_xlabel(x_label)
    figure.supylabel(y_label)
    left_out = f"; the first {len(shown)} of {len(panels)} studies" if len(shown) < len(panels) else ""
    figure.suptitle(title + left_out)
    return figure
