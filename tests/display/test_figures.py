"""Figures say what their axes are, keep their labels apart, fit a column, and come out the same every time."""

from dataclasses import replace
from itertools import pairwise, product
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from centaurlab.analyses.misalignment import effect_figures
from centaurlab.catalog.tables import published_effects, published_nll
from centaurlab.display.figures.behaviour import (
    curves_figure,
    distance_figure,
    effects_figure,
    marginals_figure,
    spread_figure,
    stay_figure,
)
from centaurlab.display.figures.curves import is_smoothed, training_curve
from centaurlab.display.figures.intervals import (
    Row,
    forest,
    gain_forest,
    nats_forest,
    nll_rows,
    pair_forest,
    part_rows,
    signed_forest,
)
from centaurlab.display.figures.paper import (
    ModelPoint,
    PairPoint,
    accuracy_by_size,
    domains,
    generations,
    nll_by_size,
    personas,
    templates,
)
from centaurlab.display.figures.posttraining import coinciding, frontier_figure, trajectory_figure
from centaurlab.display.figures.style import GREY, WIDTH_MM, save_figure, short
from centaurlab.runtime.errors import UserError
from centaurlab.stats.contrast import Contrast
from centaurlab.stats.estimate import Estimate
from helpers.effect_rows import LONG_NAMES, effect, effects_of

NAN = float("nan")
PERSONAS = Contrast("no", "their own", "persona", by="with")
LONG = Contrast("meta-llama/Llama-3.1-Nemotron-70B-Instruct-HF", "meta-llama/Llama-3.1-70B-of-a-long-name-indeed")
WIDE = Estimate(0.5, -0.4, 1.4)
BENEFITS = [
    ("org/one", Estimate(0.1, 0.05, 0.2), Estimate(0.1, 0.08, 0.12)),
    ("org/two", Estimate(-0.1, -0.2, 0.1), Estimate(-0.1)),
]


def steps_table() -> pd.DataFrame:
    """Two checkpoints of a run; the mean of the first has one very wide interval."""
    rows = []
    for step, d in ((0, 0.0), (10, 0.2), (20, 0.4)):
        row = {
            "step": step,
            "d": d,
            "d_low": d - 20 * (step == 10),
            "d_high": d + 0.3,
            "d_low_these": d,
            "d_high_these": d + 0.1,
        }
        row |= {"q": NAN, "assistant_accuracy": 0.6, "assistant_accuracy_low": 0.5, "assistant_accuracy_high": 0.7}
        rows.append(row | {"level": "overall", "name": "all studies"})
        rows += [row | {"level": "study", "name": name, "q": 0.01 * step} for name in LONG_NAMES[:5]]
    return pd.DataFrame(rows)


def standings_table() -> pd.DataFrame:
    """A base model, one that is worse, and one with a very wide interval."""
    places = (("base", 0.0, 0.0, 0.5), ("a model of a very long name indeed", 0.3, 0.1, 0.8), ("wide", -0.2, 9.0, 0.6))
    return pd.DataFrame(
        {"name": name, "d": d, "d_low": d - half, "d_high": d + half, "d_low_these": d - 0.05, "d_high_these": d + 0.05}
        | {"accuracy": right, "accuracy_low": right - 0.1, "accuracy_high": right + 0.1}
        | {"on_frontier": d < 0, "p_frontier": 0.4}
        for name, d, half, right in places
    )


def every_figure() -> dict[str, Figure]:
    effects = effects_of(LONG_NAMES, Estimate(0.1, -0.1, 0.3))
    averages = effects_of(["a2020", "b2021"], Estimate(0.1, 0.05, 0.3), group="all", group_name="all pairs")
    pairs = [*averages, *effects_of(["a2020", "b2021"], Estimate(0.2, -0.05, 0.3), group_name="Qwen/Qwen3-8B")]
    gains = [{"kind": "held_out", "study": n, "d": 0.1, "d_low": -0.1, "d_high": 0.2} for n in LONG_NAMES[:8]]
    gains += [{"kind": "novel", "study": n, "d": 1.0, "d_low": 0.5, "d_high": 2.0} for n in LONG_NAMES[8:]]
    summaries = [{"kind": k, "d": 0.1, "d_low": None, "d_high": None} for k in ("held_out", "novel")]
    nlls = [Row(name, Estimate(1.5, 1.2, 1.9), i, name == "mean") for name in [*LONG_NAMES, "mean"] for i in range(3)]
    parts = [Row(name, Estimate(0.5 - i / 3, -1, 1), i) for name in LONG_NAMES for i in range(4)]
    kinds = [("base", 0.27), ("instruct", 0.135), ("instruct", NAN)]
    nll, nll_these = Estimate(2, 1.5, 2.5), Estimate(2, 1.8, 2.2)
    models = [ModelPoint(f"org/{i}", size, kind, nll, nll_these) for i, (kind, size) in enumerate(kinds)]
    d, d_these = Estimate(0.1, 0, 0.3), Estimate(0.1, 0.05, 0.15)
    names = ("qwen2", "qwen2.5")
    sized = [PairPoint(s, g, Estimate(2, 1, 3), d, nll_these, d_these) for s in (0.5, 7) for g in names]
    means = [Row("qwen2", Estimate(0.1, 0, 0.2), these=d_these, models=Estimate(0.1, -0.2, 0.4))]
    means.append(Row("qwen2.5", Estimate(0.1)))
    templated = [Row("org/smol", one, these=nll_these) for one in (nll, Estimate(4.0, 3.0, 5.0))]
    return {
        "forest": forest(effects),
        "nats": nats_forest(effects),
        "long names": forest([replace(e, contrast=LONG) for e in effects]),
        "pairs": pair_forest(pairs),
        "gains": gain_forest(gains, summaries, Contrast("base", "centaur")),
        "nll": nll_rows(nlls, ["one", "two", "a model of a very long name indeed, much longer than that"], "starter"),
        "parts": part_rows(parts, ["difference", "calibration", "format", "preference"], Contrast("one", "two")),
        "nll_by_size": nll_by_size(models),
        "accuracy_by_size": accuracy_by_size([replace(m, value=WIDE) for m in models if m.size_b > 0]),
        "generations": generations(sized, means),
        "domains": domains(effects),
        "personas": personas(BENEFITS, PERSONAS),
        "templates": templates([("org/smol", templated[0], templated[1])]),
        "trajectory": trajectory_figure(steps_table()),
        "frontier": frontier_figure(standings_table()),
        "training": training_curve([(i, 3 / i) for i in range(1, 40)], [(20, 2.0), (40, 1.8)]),
    }


def figures_of_behaviour() -> dict[str, Figure | None]:
    """Of three models in four studies, one of which collapsed while parameters of another have very wide intervals."""
    systems, studies = (
        ("acting-base", "acting-post", "a model of a very long name"),
        ("ape", "revelle2010personality", LONG_NAMES[0], LONG_NAMES[1]),
    )
    table = pd.DataFrame(
        list(product(systems, studies, ("individuals", "parameters"))), columns=["system", "study", "axis"]
    )
    table = table.assign(ratio=1.5, verdict="differs", sd_ratio=1.0, sd_ratio_low=0.2, sd_ratio_high=313)
    spread = table.copy()
    spread.loc[0, "sd_ratio"] = 0.0
    items = [f"choice, part {part}" for part in range(8)] + [
        "choice, after a reward, common",
        "choice, after none, rare",
    ]
    cells = pd.DataFrame(list(product(systems, studies, items)), columns=["system", "study", "item"])
    cells = cells.assign(axis="dynamics", answer="the same again", people_answers=8, model_answers=8)
    cells = cells.assign(people_share=0.5, model_share=np.linspace(0, 1, len(cells)))
    effects = table.drop(columns="axis").assign(effect=["one", "loss aversion after gains in the young group"] * 12)
    ends = dict.fromkeys([f"{of}{end}" for of in ("people", "difference") for end in ("", "_low", "_high")], 0.2)
    return {
        "distances": distance_figure(table),
        "spread": spread_figure(table),
        "spread at zero": spread_figure(spread),
        "curves": curves_figure(cells),
        "stay": stay_figure(cells[cells["item"].str.contains("after")]),
        "marginals": marginals_figure(cells.assign(axis="marginal")),
        "effects": effects_figure(effects.assign(margin=0.1, **ends)),
    }


FIGURES = every_figure()
OF_BEHAVIOUR = figures_of_behaviour()


def texts(figure: Figure) -> list[mpl.text.Text]:
    """Every text that is drawn; matplotlib keeps labels of ticks beyond the axis, which are not."""
    found = [text for text in figure.texts if text.get_text()]
    found += [text for legend in figure.legends for text in [legend.get_title(), *legend.get_texts()]]
    for axes in [axes for axes in figure.axes if axes.axison]:
        found += [axes.title, *axes.texts]
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            ticks = zip(axis.get_major_ticks(), axis.get_majorticklocs(), strict=True)
            found += [tick.label1 for tick, at in ticks if low <= at <= high and tick.label1.get_visible()] + [
                axis.label
            ]
    return [text for text in found if text.get_text().strip()]


def boxes(figure: Figure) -> list[mpl.transforms.Bbox]:
    """Extents in pixels of every text that is drawn."""
    figure.draw_without_rendering()
    return [text.get_window_extent() for text in texts(figure)]


@pytest.mark.parametrize("name", FIGURES)
def test_axes_are_labelled_with_their_unit(name: str) -> None:
    figure = FIGURES[name]
    labels = [figure.get_supxlabel(), *(axes.get_xlabel() for axes in figure.axes)]
    assert any(labels)
    labels += [axes.get_ylabel() for axes in figure.axes]
    units = ("standard deviations", "nats per response", "nats per token", "share of choices", "nats per choice")
    units = (*units, "d(checkpoint − base model)", "d(model − base)")
    assert any(unit in label for unit in units for label in labels)
    if name in ("training", "generations", "nll_by_size"):
        assert "nats per response" in " ".join(labels)


@pytest.mark.parametrize("name", [*FIGURES, *OF_BEHAVIOUR])
def test_no_text_overlaps_another_or_leaves_the_figure(name: str) -> None:
    figure = (FIGURES | OF_BEHAVIOUR)[name]
    assert figure is not None
    found = boxes(figure)
    assert len(found) > 5
    for i, box in enumerate(found):
        assert not [other for other in found[i + 1 :] if box.overlaps(other)]
    whole = figure.bbox
    assert all(box.x0 >= -1 and box.x1 <= whole.x1 + 1 and box.y0 >= -1 and box.y1 <= whole.y1 + 1 for box in found)


@pytest.mark.parametrize("name", FIGURES)
def test_figures_are_one_column_wide(name: str) -> None:
    assert FIGURES[name].get_figwidth() * 25.4 == pytest.approx(WIDTH_MM)


def test_studies_are_sorted_and_the_mean_stands_below() -> None:
    effects = effects_of(["a", "b", "c"], Estimate(0.1, -0.1, 0.3))
    (axes,) = forest(effects).axes
    labels = [label.get_text() for label in axes.get_yticklabels()]
    by_d = sorted(effects[2:], key=lambda e: -e.d.value)
    assert labels == [*(e.name for e in by_d), "mean over studies"]
    bottom, top = axes.get_ylim()
    assert bottom > top


def test_points_and_intervals_are_those_of_the_effects() -> None:
    effects = effects_of(["a", "b"], Estimate(0.1, -0.1, 0.3))
    (axes,) = forest(effects).axes
    drawn = {tuple(np.round(line.get_xdata(), 12)) for line in axes.lines}
    for e in [effects[0], *effects[2:]]:
        assert {(round(e.d.value, 12),), (round(e.d.low, 12), round(e.d.high, 12))} <= drawn


def test_filled_markers_are_intervals_that_exclude_zero() -> None:
    effects = [effect("all studies", Estimate(0.3, 0.1, 0.5), "overall"), effect("a", Estimate(0.2, -0.1, 0.5))]
    effects.append(effect("no interval", Estimate(0.4)))
    (axes,) = forest(effects).axes
    filled = {
        float(line.get_xdata()[0]): line.get_markerfacecolor() != "white"
        for line in axes.lines
        if line.get_marker() in ("o", "D")
    }
    assert filled == {0.3: True, 0.2: False, 0.4: False}


def test_an_interval_too_wide_to_be_shown_ends_in_arrows() -> None:
    rows = [Row(f"s{i}", Estimate(0.1 * i, 0.1 * i - 0.3, 0.1 * i + 0.3)) for i in range(5)]
    figure = signed_forest([*rows, Row("two people", Estimate(0.2, -20, 24))], "title", PERSONAS)
    (axes,) = figure.axes
    left, right = axes.get_xlim()
    assert -1 < left < -0.3
    assert 0.7 < right < 1.5
    arrows = {line.get_marker(): line.get_xdata()[0] for line in axes.get_lines() if line.get_marker() in "<>"}
    assert arrows == {"<": left, ">": right}


def test_what_goes_beyond_an_upright_axis_ends_in_an_arrow_there() -> None:
    for name, down in (("trajectory", "v"), ("frontier", "^")):
        axes = FIGURES[name].axes[0]
        low = min(axes.get_ylim())
        assert -2 < low < 0
        arrows = {line.get_marker() for line in axes.get_lines() if line.get_ydata()[0] == low}
        assert arrows == {down}, name


def test_means_show_new_people_in_these_studies_thick_and_models_like_these_dotted() -> None:
    said = {name: " ".join(text.get_text() for text in texts(FIGURES[name])) for name in FIGURES}
    for name in ("generations", "nll_by_size", "templates", "trajectory", "frontier", "forest", "personas"):
        assert "new people in these studies" in said[name].replace("\n", " "), name
    assert "models like these" in said["generations"]
    panel = FIGURES["generations"].axes[2]
    drawn = {(line.get_linewidth() > 2, line.get_linestyle()): line.get_xdata() for line in panel.lines[:3]}
    assert {look: tuple(ends) for look, ends in drawn.items()} == {
        (False, ":"): (-0.2, 0.4),
        (False, "-"): (0, 0.2),
        (True, "-"): (0.05, 0.15),
    }


def test_what_is_not_defined_is_left_out_and_counted() -> None:
    effects = [effect("all studies", Estimate(0.3), "overall"), effect("a", Estimate(0.2)), effect("b", Estimate(NAN))]
    figure = forest(effects)
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["a", "mean over studies"]
    assert "not defined, left out: 1" in figure.get_supxlabel()


def test_a_name_is_text_and_never_a_formula() -> None:
    figure = forest(effects_of(["$5 or $10", "x_1^2 $\\frac$", "一二三"], Estimate(0.1, -0.1, 0.3)))
    assert "$5 or $10" in [label.get_text() for label in figure.axes[0].get_yticklabels()]


def test_long_names_keep_their_ends() -> None:
    assert short("collins2014recall") == "collins2014recall"
    assert short(LONG_NAMES[3], 30) != short(LONG_NAMES[4], 30)
    assert len(short(LONG_NAMES[3], 30)) == 30


def test_files_are_the_same_bytes_every_time(tmp_path: Path) -> None:
    effects = effects_of(["a", "b"], Estimate(0.1, -0.1, 0.3))
    for folder in ("one", "two"):
        for name, figure in effect_figures(effects).items():
            save_figure(figure, tmp_path / folder / "figures", name)
    files = sorted((tmp_path / "one/figures").iterdir())
    names = [f"{name}.{kind}" for name in ("domains", "forest", "nats") for kind in ("pdf", "png")]
    assert [file.name for file in files] == names
    assert files[0].read_bytes().startswith(b"%PDF")
    for file in files:
        assert file.read_bytes() == (tmp_path / "two/figures" / file.name).read_bytes()


def test_several_pairs_have_a_figure_of_their_own() -> None:
    averages = effects_of(["a"], Estimate(0.1), group="all", group_name="all pairs")
    assert effect_figures([*averages, *effects_of(["a"], Estimate(0.1))]).keys() == {
        "domains",
        "forest",
        "nats",
        "pairs",
    }


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot write .*file/figures/.*; give another --output_dir"):
        save_figure(FIGURES["forest"], tmp_path / "file" / "figures", "forest")


@pytest.mark.parametrize("n_steps", [20, 21])
def test_of_many_losses_the_running_mean_is_drawn_but_never_of_held_out_people(n_steps: int) -> None:
    points = [(step, 3 / step) for step in range(1, n_steps + 1)]
    losses, held_out = training_curve(points, points).axes
    assert [len(axes.lines) for axes in (losses, held_out)] == [1 + is_smoothed(points), 1]
    assert is_smoothed(points) == (n_steps > 20)
    assert list(held_out.lines[0].get_ydata()) == [value for _, value in points]


def test_the_callers_matplotlib_is_left_as_it_was() -> None:
    before = dict(mpl.rcParams)
    every_figure()
    assert dict(mpl.rcParams) == before


def test_colours_differ_for_colour_blind_readers() -> None:
    """Neighbouring series differ in lightness or in marker, so that no pair is told apart by hue alone."""
    from centaurlab.display.figures.style import SERIES

    assert len({marker for _, marker in SERIES}) == len(SERIES)
    for (one, _), (two, _) in pairwise(SERIES):
        assert one != two


def test_published_points_are_those_of_the_catalog_in_grey() -> None:
    (axes,) = FIGURES["nll_by_size"].axes
    grey = [line for line in axes.lines if line.get_color() == GREY]
    drawn = sorted(float(y) for line in grey for y in line.get_ydata())
    assert drawn == sorted(published_nll().query("figure == 'Fig. 2'")["mean_nll"])
    (axes,) = FIGURES["domains"].axes
    drawn = sorted(float(x) for line in axes.lines if line.get_color() == GREY for x in line.get_xdata())
    assert drawn == sorted(published_effects()["cohens_d"])


def test_axes_end_where_a_share_or_an_nll_does() -> None:
    (axes,) = FIGURES["accuracy_by_size"].axes
    assert axes.get_ylim() == (0, 1)
    wide = [ModelPoint("org/one", 1, "base", Estimate(2, -8, 12))]
    (axes,) = nll_by_size(wide).axes
    bottom, top = axes.get_ylim()
    assert bottom == 0
    assert top >= 12
    panel = generations([PairPoint(1, "qwen2", wide[0].value, WIDE)], [Row("qwen2", WIDE)]).axes[0]
    assert panel.get_ylim()[0] == 0


def test_models_of_unknown_size_are_left_out_and_counted() -> None:
    (legend,) = FIGURES["nll_by_size"].legends
    assert "of unknown size, left out: 1" in legend.get_title().get_text()


def test_the_ends_of_an_axis_say_which_side_is_worse_there() -> None:
    effects = effects_of(["a"], Estimate(0.3, 0.1, 0.5))
    assert "← base worse   |   post worse →" in forest(effects).get_supxlabel()
    turned = [replace(e, contrast=e.contrast.turned, d=-e.d) for e in effects]
    assert "← post worse   |   base worse →" in forest(turned).get_supxlabel()


def test_points_that_coincide_share_a_label() -> None:
    assert coinciding([0.5, 0.7, 0.501, 0.7], [0.0, 0.2, 0.001, 0.1]) == [[0, 2], [1], [3]]
    assert coinciding([0.5, 0.5], [0.0, 0.0]) == [[0, 1]]
