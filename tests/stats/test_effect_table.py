"""Effects as files to compute with, and as a table to look at."""

import dataclasses
import math

import pandas as pd
import pytest

from centaurlab.analyses.misalignment import print_effects
from centaurlab.stats.effect_table import effects_table, write_effects
from centaurlab.stats.effects import Effect
from centaurlab.stats.estimate import Estimate

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
    assert "-5,380,000 to +800" in capsys.readouterr().out
