"""Pairs of models in a figure: each by a name that is no other's."""

import pytest

from centaurlab.display.figures.intervals import pair_rows
from centaurlab.stats.contrast import Contrast
from centaurlab.stats.estimate import Estimate
from helpers.effect_rows import effect


@pytest.mark.parametrize(
    ("pairs", "names"),
    [
        ([("org/inst", "org/base"), ("org/chat", "org/base")], ["inst", "chat"]),
        ([("a/inst", "m/base"), ("b/inst", "m/base")], ["a/inst", "b/inst"]),
        ([("org/inst", "m/one"), ("org/inst", "m/two"), ("org/chat", "m/two")], ["inst − one", "inst − two", "chat"]),
    ],
)
def test_pairs_are_told_apart(pairs: list[tuple[str, str]], names: list[str]) -> None:
    d = Estimate(0.1, 0.05, 0.3)
    effects = [effect("all", d, "overall", group_name=post, contrast=Contrast(post, base)) for post, base in pairs]
    assert [row.label for row in pair_rows(effects)] == names
