import math

import pytest

from centaurlab.baselines import marginal_nll, uniform_nll
from centaurlab.generalisation import standard_error
from centaurlab.transcripts import Transcript


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
