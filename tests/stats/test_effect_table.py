"""The sentence under the table says which model is worse, and how sure that is."""

import dataclasses
import math

import pandas as pd
import pytest

from centaurlab.analyses.misalignment import print_effects
from centaurlab.stats.effect_table import effects_table, write_effects
from centaurlab.stats.effects import Effect
from centaurlab.stats.estimate import Estimate
from centaurlab.stats.words import verdict

EFFECT = Effect(
    group="pair",
    group_name="org/chat",
    base="org/base",
    level="overall",
    name="all studies",
    d=Estimate(0.2, 0.1, 0.3),
    d_paired=Estimate(0.5, 0.2, 0.8),
    nll_difference=Estimate(0.4, 0.3, 0.5),
    nll_base=1.1,
    nll_post=1.5,
    n_pairs=1,
    n_responses=12000,
    n_participants=30,
    n_studies=3,
    n_studies_d=3,
    n_studies_paired=3,
    unmatched_base=0,
    unmatched_post=0,
)


def with_d(value: float, low: float = math.nan, high: float = math.nan) -> Effect:
    return dataclasses.replace(EFFECT, d=Estimate(value, low, high))


@pytest.mark.parametrize(
    ("effect", "sentence"),
    [
        (
            EFFECT,
            "org/chat predicts people worse than org/base (d = +0.200, 95% interval +0.100 to +0.300, "
            "which excludes zero)",
        ),
        (
            with_d(-0.2, -0.3, -0.1),
            "org/base predicts people worse than org/chat (d = -0.200, 95% interval -0.300 to -0.100, "
            "which excludes zero)",
        ),
        (
            with_d(0.2, -0.1, 0.3),
            "no clear difference between org/base and org/chat (d = +0.200, 95% interval -0.100 to +0.300, "
            "which includes zero)",
        ),
        (
            with_d(0.2),
            "org/chat predicts people worse than org/base (d = +0.200); no interval: it needs two studies or more",
        ),
        (
            dataclasses.replace(with_d(0.0), level="study"),
            "org/base and org/chat predict people equally well (d = +0.000); "
            "no interval: it needs two participants or more",
        ),
        (with_d(math.nan), "d of all studies is not defined: too few responses, or all with the same NLL"),
        (
            dataclasses.replace(EFFECT, group="family", group_name="qwen3", base="", n_pairs=13),
            "on average over 13 pairs, the post-trained models predict people worse than the base models "
            "(d = +0.200, 95% interval +0.100 to +0.300, which excludes zero)",
        ),
    ],
)
def test_the_verdict(effect: Effect, sentence: str) -> None:
    assert verdict(effect) == sentence


def test_an_estimate_makes_three_columns(tmp_path) -> None:
    row = effects_table([EFFECT]).iloc[0]
    assert (row["d"], row["d_low"], row["d_high"], row["nll_difference_high"]) == (0.2, 0.1, 0.3, 0.5)
    write_effects(tmp_path, [EFFECT, with_d(0.1)])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["effects.csv", "effects.parquet"]
    assert pd.read_csv(tmp_path / "effects.csv")["d"].tolist() == [0.2, 0.1]
    assert pd.read_parquet(tmp_path / "effects.parquet")["d_low"].isna().tolist() == [False, True]


def test_what_was_left_out_is_said_and_names_are_not_markup(capsys: pytest.CaptureFixture[str]) -> None:
    left_out = dataclasses.replace(EFFECT, group_name="[bold]chat[/]", unmatched_post=1234, n_studies_d=2)
    print_effects([left_out])
    printed = capsys.readouterr().out
    assert "[bold]chat[/] against org/base" in printed
    assert "positive d: [bold]chat[/] predicts people worse than org/base" in printed
    assert "left out, scored by one model alone: 0 responses of org/base, 1,234 of [bold]chat[/]" in printed
    assert "d is defined in 2 of 3 studies" in printed


def test_bounds_that_say_nothing_stay_short(capsys: pytest.CaptureFixture[str]) -> None:
    print_effects([dataclasses.replace(EFFECT, d_paired=Estimate(1.972, -5379791.4, 753.61))])
    assert "-5.38e+06 … +754" in capsys.readouterr().out
