from dataclasses import replace

import pytest

from centaurlab.analyses.trajectory import Point, trajectory_table, verdict
from centaurlab.display.figures.posttraining import trajectory_figure
from centaurlab.stats.effects import Effect
from centaurlab.stats.estimate import Accuracy, Estimate
from helpers.effect_rows import effect

ACCURACY = Accuracy(100, 0.5, 0.4, 0.6)


def overall(d: float, low: float, high: float) -> Effect:
    return effect("all studies", Estimate(d, low, high), "overall", nll_second=1.0, nll_first=1.0 + d)


def points(d: Estimate, after: Accuracy) -> list[Point]:
    effects = [overall(d.value, d.low, d.high)]
    effects.append(replace(effects[0], level="study", name="alpha"))
    return [Point(0, "base", [], ACCURACY), Point(10, "run/checkpoint-10", effects, after)]


def test_table_starts_at_the_base_model() -> None:
    table = trajectory_table(points(Estimate(0.2, 0.1, 0.3), ACCURACY))
    shown = table[["step", "level", "nll", "d", "assistant_accuracy"]].to_numpy().tolist()
    assert shown == [
        [0, "overall", 1.0, 0.0, 0.5],
        [0, "study", 1.0, 0.0, 0.5],
        [10, "overall", 1.2, 0.2, 0.5],
        [10, "study", 1.2, 0.2, 0.5],
    ]
    assert len(trajectory_figure(table).axes) == 2
    assert len(trajectory_figure(table.drop(columns="assistant_accuracy")).axes) == 1


@pytest.mark.parametrize(
    ("d", "after", "sentence"),
    [
        (
            Estimate(0.2, 0.1, 0.3),
            Accuracy(100, 0.8, 0.7, 0.9),
            "It is a better assistant than the base model (",
        ),
        (
            Estimate(0.2, 0.1, 0.3),
            ACCURACY,
            "people are predicted worse by the checkpoint of step 10 than by",
        ),
        (
            Estimate(-0.2, -0.3, -0.1),
            ACCURACY,
            "people are predicted better by the checkpoint of step 10 than by",
        ),
        (
            Estimate(0.2, -0.1, 0.3),
            ACCURACY,
            "no clear difference between the checkpoint of step 10 and",
        ),
        (Estimate(0.2, 0.1, 0.3), Accuracy(100, 0.3, 0.2, 0.39), "a worse assistant"),
        (Estimate(0.2, 0.1, 0.3), ACCURACY, "neither clearly a better nor a worse assistant"),
    ],
)
def test_verdict_says_no_more_than_the_intervals(d: Estimate, after: Accuracy, sentence: str) -> None:
    assert sentence in verdict(*points(d, after))


def test_without_an_interval_nobody_is_better_or_worse() -> None:
    said = verdict(*points(Estimate(0.2), ACCURACY))
    assert said.startswith("in alpha, whether people are predicted worse by the checkpoint of step 10 or by")
    assert "; d = +0.200; no interval: too few people, or too few responses of theirs)" in said
