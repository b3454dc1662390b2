"""What an adapter gains on people and studies held out, beside simple baselines, and what cannot be judged."""

import math

import pytest

from centaurlab.analyses.generalisation import (
    GeneralisationArguments,
    StudyGain,
    Summary,
    find_gains,
    marginal_nll,
    standard_error,
    uniform_nll,
)
from centaurlab.data.transcripts import Transcript
from centaurlab.display.terminal import show


def told(*answers: str) -> Transcript:
    return Transcript(" ".join(f"You say <<{answer}>>." for answer in answers), "study", "exp", "1")


def test_uniform_spreads_over_the_answers_of_each_session() -> None:
    expected = (2 * math.log(2) + 4 * math.log(4)) / 6
    assert uniform_nll([told("J", "F"), told("a", "b", "c", "d")]) == pytest.approx(expected)


def test_marginal_uses_training_frequencies_with_room_for_other_answers() -> None:
    training, test = [told("J", "J", "J", "F")], [told("J", "F", "never seen")]
    expected = -(math.log(4 / 7) + math.log(2 / 7) + math.log(1 / 7)) / 3
    assert marginal_nll(training, test) == pytest.approx(expected)


def test_without_training_participants_there_is_no_marginal() -> None:
    assert math.isnan(marginal_nll([], [told("J")]))


def test_standard_error_over_studies() -> None:
    assert standard_error([1.0, 3.0, float("nan")]) == pytest.approx(1.0)
    assert math.isnan(standard_error([1.0]))


def test_an_interval_that_does_not_exist_is_printed_as_such(capsys: pytest.CaptureFixture[str]) -> None:
    numbers = {"nll_base": 0.7, "nll_centaur": 0.6, "d": 0.25, "d_low": math.nan, "d_high": math.nan}
    gain = StudyGain("novel", "alpha", 1, 20, **numbers, nll_uniform=0.69, nll_marginal=math.nan, q=math.nan)
    asked = GeneralisationArguments("org/base", "runs/centaur", "out")
    ends = {"d_low_these": math.nan, "d_high_these": math.nan, "improved_low": 0.207, "improved_high": 1.0}
    show(*find_gains(asked, [gain], [Summary("novel", 1, **numbers, d_sem=math.nan, improved=1.0, **ends)]).shown)
    printed = capsys.readouterr().out
    assert "nan" not in printed
    (row,) = (line.split() for line in printed.splitlines() if line.split()[:1] == ["alpha"])
    assert row[-8:] == ["+0.250", "–", "1", "20", "0.700", "0.600", "0.690", "–"]
    assert (
        "on novel studies (1 study), in alpha, whether people are predicted worse by base or by centaur cannot be told "
        "(d = +0.250; no interval: it needs two people or more); this says nothing of other studies; the NLL fell in "
        "100 % of the studies (95 % interval 21 % to 100 %)"
    ) in printed
