"""On the frontier is what nothing dominates, and its verdict says no more than the intervals."""

from dataclasses import replace

from centaurlab.analyses import frontier
from centaurlab.analyses.frontier import Standing, frontier_table, on_frontier
from centaurlab.display.figures.posttraining import frontier_figure
from centaurlab.stats.effects import Effect
from centaurlab.stats.estimate import Accuracy, Estimate
from helpers.effect_rows import effect

ACCURACY = Accuracy(100, 0.5, 0.4, 0.6)


def overall(d: float, low: float, high: float) -> Effect:
    return effect("all studies", Estimate(d, low, high), "overall", nll_second=1.0, nll_first=1.0 + d)


def test_frontier_is_what_nothing_else_dominates() -> None:
    assert on_frontier([0.5, 0.8, 0.6, 0.8], [0.0, 0.3, 0.4, 0.2]) == [True, False, False, True]
    assert on_frontier([0.5, 0.5], [0.1, 0.1]) == [True, True]
    assert on_frontier([0.5, 0.9], [0.0, float("nan")]) == [True, False]


def test_frontier_table_and_figure() -> None:
    standings = [
        Standing("base", "b", None, ACCURACY),
        Standing("sft", "s", overall(0.2, 0.1, 0.3), replace(ACCURACY, value=0.55)),
    ]
    table = frontier_table(standings)
    assert table[["name", "d", "nll", "accuracy"]].to_numpy().tolist() == [
        ["base", 0, 1.0, 0.5],
        ["sft", 0.2, 1.2, 0.55],
    ]
    figure = frontier_figure(table)
    (axes,) = figure.axes
    low, high = sorted(axes.get_ylim())
    assert low < 0 < 0.2 < high
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        *("0  base", "1  sft", "studies like these", "new people in these studies")
    ]


def test_frontier_verdict_says_no_more_than_the_intervals() -> None:
    standings = [
        Standing("base", "b", None, ACCURACY),
        Standing("sft", "s", overall(0.2, 0.1, 0.3), replace(ACCURACY, value=0.8)),
        Standing("kl", "k", overall(0.3, 0.2, 0.4), replace(ACCURACY, value=0.7)),
        Standing("half", "h", overall(0.1, -0.1, 0.3), replace(ACCURACY, value=0.6)),
        Standing("centaur", "c", overall(-0.2, -0.3, -0.1), replace(ACCURACY, value=0.55)),
    ]
    assert frontier.verdict(frontier_table(standings)) == (
        "on the frontier, where no other is at least as good in both: sft, half and centaur; "
        "people are predicted worse by sft and kl than by base; people are predicted better by centaur than by base; "
        "no clear difference of half from base"
    )


def test_frontier_verdict_says_where_there_is_no_interval() -> None:
    standings = [
        Standing("base", "b", None, ACCURACY),
        Standing("sft", "s", overall(0.2, float("nan"), float("nan")), replace(ACCURACY, value=0.8)),
    ]
    assert frontier.verdict(frontier_table(standings)).endswith(
        "; of sft, whether it differs from base cannot be told (no interval: it needs two studies or more)"
    )
