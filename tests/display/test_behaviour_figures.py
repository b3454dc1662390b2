"""Figures of simulated beside human behaviour: who is who in every panel, and which row is which."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from centaurlab.analyses.fidelity import _said_of_gap
from centaurlab.display.figures.behaviour import (
    curves_figure,
    distance_figure,
    effects_figure,
    gap_figure,
    marginals_figure,
    stay_figure,
)
from centaurlab.display.figures.style import look
from centaurlab.stats.estimate import Estimate

SHARES = {"A": 0.2, "B": 0.7}


def cell(study: str, system: str, axis: str, item: str, answer: str) -> dict[str, object]:
    people = {"people_share": 0.5, "people_answers": 8, "model_answers": 8}
    return {"study": study, "system": system, "axis": axis, "item": item, "answer": answer} | people


def cells() -> pd.DataFrame:
    """Systems A and B in study s1, B alone in s2; the share of a system is its own everywhere."""
    rows = [
        cell(study, system, axis, item, answer) | {"model_share": SHARES[system]}
        for study, system in (("s1", "A"), ("s1", "B"), ("s2", "B"))
        for axis, item, answer in (
            ("marginal", "item", "yes"),
            ("dynamics", "choice, part 0", "yes"),
            ("dynamics", "choice, part 1", "yes"),
            ("dynamics", "choice after a reward", "the same again"),
        )
    ]
    return pd.DataFrame(rows)


@pytest.mark.parametrize("draw", [curves_figure, stay_figure, marginals_figure])
def test_a_system_has_the_colour_of_the_legend_in_every_panel(draw: Callable[[pd.DataFrame], Figure | None]) -> None:
    for table in (cells(), cells().iloc[::-1]):  # reversed, the first panel lacks A
        figure = draw(table)
        assert figure is not None
        (legend,) = figure.legends
        colours = {t.get_text(): h.get_color() for t, h in zip(legend.get_texts(), legend.legend_handles, strict=True)}
        assert colours.keys() >= SHARES.keys()
        drawn = [
            (line.get_color(), line.get_ydata()[0])
            for axes in figure.axes
            for line in axes.lines
            if len(axes.lines) > 1
        ]
        of_systems = {(colour, share) for colour, share in drawn if share in SHARES.values()}
        assert of_systems == {(colours[system], share) for system, share in SHARES.items()}


def test_effects_whose_names_are_shortened_alike_keep_rows_of_their_own() -> None:
    long = "the effect of a very long name that differs only in {} from here to its end"
    assert len({long.format(n) for n in "ab"}) == 2
    rows = [
        {"study": "s", "system": "m", "effect": long.format(n), "margin": 1.0, "difference": value, "people": 0.5}
        | {f"{what}_{end}": value for what in ("difference", "people") for end in ("low", "high")}
        for n, value in (("a", 1.0), ("b", 2.0))
    ]
    figure = effects_figure(pd.DataFrame(rows))
    assert figure is not None
    (axes,) = figure.axes
    (points,) = axes.containers
    assert list(points.lines[0].get_ydata()) == [0, 1]
    assert len(axes.get_yticks()) == 2


def test_no_two_of_many_series_look_alike() -> None:
    looks = [look(number) for number in range(36)]
    assert len(set(looks)) == 36
    assert len({to_hex(colour) for colour, _ in looks[:6]}) == len({marker for _, marker in looks[:6]}) == 6


def test_a_rank_correlation_that_is_not_zero_is_not_written_as_zero() -> None:
    agreement = Estimate(0.4, 0.003, 0.8, p=0.01)
    gap = pd.DataFrame({"study": "s", "system": ["A", "B"], "nll": [1.0, 1.2], "ratio": [1.5, 2.0]})
    (axes,) = gap_figure(gap, agreement).axes
    for said in (axes.get_title(), _said_of_gap(agreement)):
        assert "rank correlation 0.40 [0.003, 0.80]" in said


def test_a_rank_correlation_of_too_few_is_not_in_the_title() -> None:
    gap = pd.DataFrame({"study": "s", "system": ["A", "B"], "nll": [1.0, 1.2], "ratio": [1.5, 2.0]})
    (axes,) = gap_figure(gap, Estimate(1.0)).axes
    assert axes.get_title() == ""
    assert [np.size(line.get_xdata()) for line in axes.lines] == [1, 1], "a marker of each system, nothing between"


def test_a_distance_of_exactly_nothing_is_drawn() -> None:
    table = pd.DataFrame({"study": "s", "axis": "marginal", "system": ["A", "B"], "nll": [1.0, 1.2]})
    table = pd.concat([table.assign(study=f"s{n}", ratio=[0.0, 2.0], verdict="like people") for n in range(6)])
    (distances,) = distance_figure(table).axes
    (gap,) = gap_figure(table, Estimate(0.4)).axes
    for point in (distances.transData.transform((0, 0)), distances.transData.transform((2, 0))):
        assert distances.bbox.contains(*point)
    assert all(gap.bbox.contains(*gap.transData.transform(point)) for point in ((1.0, 0), (1.2, 2)))


def test_no_effect_at_all_is_where_each_system_has_it() -> None:
    """People differ between systems where each is compared over the sessions that it has."""
    rows = [
        {"study": "s", "system": system, "effect": "e", "margin": 1.0, "difference": 0.1, "people": people}
        | {f"{what}_{end}": 0.1 for what in ("difference", "people") for end in ("low", "high")}
        for system, people in (("A", 0.5), ("B", 0.25))
    ]
    figure = effects_figure(pd.DataFrame(rows))
    assert figure is not None
    (marks,) = [line for line in figure.axes[0].lines if line.get_label() == "no effect at all"]
    points = [float(container.lines[0].get_ydata()[0]) for container in figure.axes[0].containers]
    assert list(zip(marks.get_xdata(), marks.get_ydata(), strict=True)) == [(-0.5, points[0]), (-0.25, points[1])]
