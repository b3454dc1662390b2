"""Models among rows without one, against sums by hand."""

import math

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from centaurlab.analyses.standing import HELD_AGAINST, Standings, find_standing
from centaurlab.stats.arguments import EstimateArguments
from centaurlab.stats.estimate import Estimate
from centaurlab.stats.standing import completeness, differences, joined, selection

ESTIMATES = EstimateArguments(resamples=200)


def table(nlls: dict[tuple[str, str], list[float]], option_nll: float | None = 0.0, n_options: int = 2) -> pa.Table:
    """Scores of people's responses, by study and person."""
    rows = [
        {"study": study, "experiment": "e", "participant": person, "response": r, "nll": nll}
        | {"option_nll": option_nll, "n_options": n_options}
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


def test_options_of_unknown_probability_are_not_taken_for_certain() -> None:
    tables = {"m": [table({("a", "p1"): MODEL["a", "p1"]}, 0.25), table({("a", "p2"): [3.0]}, None)]}
    tables |= {"r": [table(ROW)]}
    overall, _ = differences(joined(tables, among_options=True), "m", "r", ESTIMATES)
    assert (overall.nll_difference.value, overall.n_responses) == (pytest.approx((0.5 - 0.5) / 2 - 0.25), 2)
    none = {"m": [table(MODEL, None)], "r": [table(ROW)]}
    assert differences(joined(none, among_options=True), "m", "r", ESTIMATES) == []
    open_answers = joined({"m": [table(MODEL, None, 0)], "r": [table(ROW)]}, among_options=True)
    assert open_answers["m"].tolist() == [1.0, 2.0, 3.0, 4.0, 0.0]


@pytest.mark.parametrize(
    ("known", "said"),
    [
        ({}, "given the options offered, it is not known: the model's folder lacks their probability; difference = "),
        ({("a", "p1"): [1.0, 2.0]}, "(given the options offered (2 of 5 responses), difference = "),
        (MODEL, "(given the options offered, difference = "),
    ],
)
def test_a_sentence_says_of_how_many_responses_options_are_known(
    known: dict[tuple[str, str], list[float]], said: str
) -> None:
    unknown = {key: nlls for key, nlls in MODEL.items() if key not in known}
    models = {"m": [table(of, p) for of, p in ((known, 0.25), (unknown, None)) if of]}
    rows = dict.fromkeys(("uniform", *HELD_AGAINST), table(ROW))
    found = find_standing(Standings(rows, models, [], []), ESTIMATES)
    assert said in next(claim for claim in found.record["claims"] if "earlier answers" in claim)
    given = found.tables["against.csv"].set_index(["baseline", "study"])["difference_given_options"]
    assert given.notna().sum() == 3 * len({study for study, _ in known} | {"all"} if known else ())


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
