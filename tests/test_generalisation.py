import math
from pathlib import Path

import pytest

from centaurlab.baselines import marginal_nll, uniform_nll
from centaurlab.errors import UserError
from centaurlab.generalisation import Split, check_base, read_split, standard_error
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


def test_an_adapter_of_another_base_is_refused() -> None:
    split = Split(("alpha",), (), 0, base_fingerprint="abc")
    check_base(split, "abc", "base", Path("runs/centaur"))
    with pytest.raises(UserError, match="runs/centaur was trained on another base than other"):
        check_base(split, "abd", "other", Path("runs/centaur"))


def test_a_folder_that_is_no_adapter_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"split\.json"):
        read_split(tmp_path)
