"""Models among rows without one, against sums by hand."""

import math

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from centaurlab.stats.arguments import EstimateArguments
from centaurlab.stats.estimate import Estimate
from centaurlab.stats.standing import completeness, differences, joined, selection

ESTIMATES = EstimateArguments(resamples=200)


def table(nlls: dict[tuple[str, str], list[float]], option_nll: float = 0.0) -> pa.Table:
    """Scores of people's responses, by study and person."""
    rows = [
        {"study": study, "experiment": "e", "participant": person, "response": r, "nll": nll, "option_nll": option_nll}
        for (study, person), of_person in nlls.items()
        for r, nll in enumerate(of_person)
    ]
    return pa.Table.from_pandas(pd.DataFrame(rows))


MODEL = {("a", "p1"): [1.0, 2.0], ("a", "p2"): [3.0], ("b", "p1"): [4.0, 0.0]}
ROW = {("a", "p1"): [0.5, 2.5], ("a", "p2"): [1.0, 9.0], ("b", "p1"): [2.0, 2.0]}


def test_rows_are_compared_on_the_responses_that_all_have_given_the_options_too() -> None:
    halves = [table({key: nlls for key, nlls in MODEL.items() if key[0] == study}, 0.25) for study in "ab"]
    frame = joined({"m": halves, "r": [table(ROW)]})
    assert len(frame) == 5  # the second response of p2 is the row's alone
    overall, *studies = differences(frame, "m", "r", ESTIMATES)
    assert [effect.nll_difference.value for effect in studies] == pytest.approx([(0.5 - 0.5 + 2) / 3, 0.0])
    assert overall.nll_difference.value == pytest.approx(1 / 3)
    given = joined({"m": halves, "r": [table(ROW)]}, among_options=True)
    assert given["m"].to_numpy() == pytest.approx(frame["m"].to_numpy() - 0.25)
    assert given["r"].to_numpy() == pytest.approx(frame["r"].to_numpy())


def test_completeness_is_the_share_of_the_way_from_chance_to_an_end() -> None:
    chance, end, nll = 3.0, 1.0, Estimate(1.5, 1.2, 2.0)
    distance = Estimate(nll.value - end, nll.low - end, nll.high - end)
    found = completeness(distance, chance - end)
    expected = [(chance - x) / (chance - end) for x in (nll.value, nll.high, nll.low)]
    assert (found.value, found.low, found.high) == pytest.approx(expected)
    assert math.isnan(completeness(distance, 0.0).value)


def test_people_are_counted_once_in_a_study_by_all_their_responses() -> None:
    frame = joined({"m": [table(MODEL)], "r": [table(ROW)]})
    found = selection(frame, ["m", "r"])
    evidence = np.array([[-3.0, -3.0], [-3.0, -1.0], [-4.0, -4.0]])
    assert found.share_NK.shape == (3, 2)
    order = np.argsort(found.share_NK[:, 1])
    expected = evidence[:, 1] - evidence[:, 0]
    assert np.diff(np.log(found.share_NK[:, 1] / found.share_NK[:, 0])[order]) == pytest.approx(
        np.diff(np.sort(expected))
    )
