"""Effects as files to compute with, and as a table to look at."""

import dataclasses
import math
from pathlib import Path

import pandas as pd
import pytest

from centaurlab.analyses.misalignment import shown_effects
from centaurlab.display.terminal import show
from centaurlab.runtime.errors import UserError
from centaurlab.stats.contrast import POST_TRAINING, Contrast
from centaurlab.stats.effect_table import effects_table, read_effects
from centaurlab.stats.effects import Effect
from centaurlab.stats.estimate import Estimate
from helpers.effect_rows import effect, effects_of, write_effects

EFFECT = effect(
    "all studies",
    Estimate(0.2, 0.1, 0.3),
    "overall",
    group_name="org/chat",
    d_paired=Estimate(0.5, 0.2, 0.8),
    nll_difference=Estimate(0.4, 0.3, 0.5),
    nll_difference_these=Estimate(0.4, 0.35, 0.45),
    nll_difference_models=Estimate(0.4, 0.25, 0.55),
    nll_second=1.1,
    nll_first=1.5,
    n_responses=12000,
    n_participants=30,
    n_studies=3,
    n_studies_d=3,
    n_studies_paired=3,
    unmatched_second=0,
)


def assert_same(found: list[Effect], expected: list[Effect]) -> None:
    """Equal in every number, NaN being equal to itself."""
    pd.testing.assert_frame_equal(effects_table(found), effects_table(expected))
    assert [e.contrast for e in found] == [e.contrast for e in expected]


def with_d(value: float, low: float = math.nan, high: float = math.nan) -> Effect:
    return dataclasses.replace(EFFECT, d=Estimate(value, low, high))


def test_an_estimate_makes_three_columns(tmp_path) -> None:
    row = effects_table([EFFECT]).iloc[0]
    assert (row["d"], row["d_low"], row["d_high"], row["nll_difference_high"]) == (0.2, 0.1, 0.3, 0.5)
    write_effects(tmp_path, [EFFECT, with_d(0.1)])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["effects.csv", "effects.parquet"]
    assert pd.read_csv(tmp_path / "effects.csv")["d"].tolist() == [0.2, 0.1]
    assert pd.read_parquet(tmp_path / "effects.parquet")["d_low"].isna().tolist() == [False, True]


def test_first_and_second_are_post_and_base_in_the_file(tmp_path) -> None:
    assert list(effects_table([EFFECT])) == [
        *("group", "group_name", "base", "level", "name", "d", "d_low", "d_high", "d_paired", "d_paired_low"),
        *("d_paired_high", "nll_difference", "nll_difference_low", "nll_difference_high", "nll_base", "nll_post"),
        *("n_pairs", "n_responses", "n_participants", "n_studies", "n_studies_d", "n_studies_paired"),
        *("unmatched_base", "unmatched_post", "d_low_these", "d_high_these", "nll_difference_low_these"),
        *("nll_difference_high_these", "d_paired_raw", "q", "nll_difference_q", "chance", "top_share"),
        *("p_worse", "p_worse_low", "p_worse_high", "d_within", "d_within_low", "d_within_high"),
        *("p_worse_low_these", "p_worse_high_these", "tail_base", "tail_post"),
        *("d_low_models", "d_high_models", "nll_difference_low_models", "nll_difference_high_models"),
        *("d_low_items", "d_high_items", "nll_difference_low_items", "nll_difference_high_items", "item_share"),
    ]
    row = effects_table([dataclasses.replace(EFFECT, unmatched_first=7)]).iloc[0]
    assert (row["group_name"], row["base"], row["nll_post"], row["nll_base"]) == ("org/chat", "org/base", 1.5, 1.1)
    assert (row["unmatched_post"], row["unmatched_base"]) == (7, 0)
    average = dataclasses.replace(EFFECT, group="all", group_name="all pairs", contrast=POST_TRAINING)
    write_effects(tmp_path, [EFFECT, average])
    assert_same(read_effects(tmp_path), [EFFECT, average])


def test_what_was_left_out_is_said_and_names_are_not_markup(capsys: pytest.CaptureFixture[str]) -> None:
    contrast = Contrast("[bold]chat[/]", "org/base")
    show(*shown_effects([dataclasses.replace(EFFECT, contrast=contrast, unmatched_first=1234, n_studies_d=2)]))
    printed = capsys.readouterr().out
    assert "[bold]chat[/] against org/base" in printed
    assert "above zero, people are predicted worse by [bold]chat[/] than by org/base" in printed
    assert "left out, scored by one model alone: 1,234 responses of [bold]chat[/], 0 of org/base" in printed
    assert "d is defined in 2 of 3 studies" in printed


def test_bounds_that_say_nothing_stay_short(capsys: pytest.CaptureFixture[str]) -> None:
    show(*shown_effects([dataclasses.replace(EFFECT, d_paired=Estimate(1.972, -5379791.4, 753.61))]))
    assert "-5,380,000 to +800" in capsys.readouterr().out


def test_effects_are_read_as_they_were_written(tmp_path: Path) -> None:
    effects = effects_of(["a2020", "NA"], Estimate(0.4, 0.1, 0.7))
    write_effects(tmp_path, effects)
    assert_same(read_effects(tmp_path), effects)
    (tmp_path / "effects.parquet").write_bytes(b"PAR1 no more")
    with pytest.raises(UserError, match="missing or damaged"):
        read_effects(tmp_path)
