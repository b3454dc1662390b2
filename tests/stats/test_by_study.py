"""Sentences on studies count those that are clearly worse, and part what is free from what has options."""

import math
from dataclasses import replace

from centaurlab.stats.by_study import of_studies
from centaurlab.stats.estimate import Estimate
from helpers.effect_rows import effect


def studies(q_of: dict[str, tuple[float, float]], **changes: float):
    """The mean over studies, and studies with their difference in nats and its q."""
    found = [replace(effect(name, Estimate(d / 2)), nll_difference_q=q, **changes) for name, (d, q) in q_of.items()]
    return [effect("all studies", Estimate(0.4), "overall"), *found]


KNOWN = {"a": (0.2, 0.01), "b": (-0.3, 0.02), "c": (0.9, 0.01), "d": (-0.1, 0.7)}


def test_studies_are_counted_by_their_q() -> None:
    said = of_studies(studies(KNOWN))
    assert said.startswith(
        "people are predicted worse by org/post in 2 of 4 studies (q < .05, in nats), better in 1; of"
    )
    assert said.endswith("from -0.300 (b) to +0.900 (c), in nats per response")


def test_nothing_is_clear_where_no_q_is_known() -> None:
    said = of_studies(studies({name: (d, math.nan) for name, (d, _) in KNOWN.items()}))
    assert said == "from -0.300 (b) to +0.900 (c), in nats per response"


def test_free_answers_are_parted_from_options() -> None:
    effects = [replace(e, chance=math.nan) if e.name == "c" else e for e in studies(KNOWN)]
    assert of_studies(effects).endswith(
        "where options are known -0.300 to +0.200 (3 studies), where none are known, as of free answers, +0.900 (c)"
    )
    assert "kind of answer" not in of_studies(studies(KNOWN, chance=math.nan))


def test_of_a_single_study_nothing_is_said() -> None:
    assert of_studies(studies({"a": (0.2, 0.01)})) == ""
