"""What an adapter gains on people and studies held out, beside simple baselines, and what cannot be judged."""

import math
from pathlib import Path

import pandas as pd
import pytest

from centaurlab.analyses.generalisation import (
    GeneralisationArguments,
    StudyGain,
    Summary,
    find_gains,
    standard_error,
    study_gains,
)
from centaurlab.cognitive.simple import marginal_nll
from centaurlab.data.transcripts import Transcript
from centaurlab.display.terminal import show
from centaurlab.results.run import read_run
from helpers.score_folders import table_folder


def told(*answers: str, participant: str = "1") -> Transcript:
    return Transcript(" ".join(f"You say <<{answer}>>." for answer in answers), "study", "exp", participant)


def stroop(keys: str, pressed: str) -> Transcript:
    """A session of a study that the catalog knows, whose keys stand for colours."""
    text = "To respond, press: {} for RED LETTERS, {} for GREEN LETTERS, {} for BLUE LETTERS.\n".format(*keys)
    for key in pressed:
        text += (
            "The stimulus on the next trial is the word RED, the letters of the word are colored in RED. "
            f"You press <<{key}>> after 500 milliseconds. The correct answer was pressing {keys[0]}.\n"
        )
    return Transcript(text, "busch2024_stroop", "e", keys)


def test_marginal_is_how_often_training_participants_gave_the_answer() -> None:
    training, test = [told("J", "J", "J", "F")], [told("J", "F", participant="2")]
    expected = -(math.log(3.5 / 5) + math.log(1.5 / 5)) / 2
    assert marginal_nll(training, test) == pytest.approx(expected)


def test_marginal_goes_by_what_a_letter_means() -> None:
    """Three red and a green of somebody with other keys; a red and a blue are to be predicted."""
    training, test = [stroop("abc", "aaab")], [stroop("xyz", "xz")]
    expected = -(math.log(3.5 / 5.5) + math.log(0.5 / 5.5)) / 2
    assert marginal_nll(training, test) == pytest.approx(expected)


def test_letters_that_mean_nothing_have_no_marginal() -> None:
    assert math.isnan(marginal_nll([told("J", "F")], [told("X", "Q", participant="2")]))


def test_without_training_participants_there_is_no_marginal() -> None:
    assert math.isnan(marginal_nll([], [told("J")]))


def test_simple_baselines_are_over_the_responses_that_the_models_scored(tmp_path: Path) -> None:
    """Six answers "1" and two "2" were trained on; of 1, 1, 2, 2 the window leaves the first two."""
    training = [told("1", "1", "1", "2", participant=name) for name in ("t", "u")]
    sessions = [told("1", "1", "2", "2", participant=name) for name in ("v", "w")]
    tables = [
        pd.DataFrame(
            {"study": "study", "experiment": "exp", "participant": name, "response": number, "nll": nll + number / 10}
            | {"n_options": n_options}
            for name in ("v", "w")
            for number, n_options in enumerate((2, last))
        )
        for nll, last in ((0.65, 2), (0.6, 2), (0.65, 0), (0.6, 0))
    ]
    base, centaur, *fewer = [read_run(table_folder(tmp_path / str(i), table)) for i, table in enumerate(tables)]
    ((gain,), _) = study_gains("held_out", base, centaur, sessions, training, n_resamples=50)
    assert gain.nll_marginal == pytest.approx(-math.log(6.5 / 9))
    assert gain.nll_uniform == pytest.approx(math.log(2))
    ((gain,), _) = study_gains("held_out", *fewer, sessions, training, n_resamples=50)
    assert math.isnan(gain.nll_uniform), "of the second response no options are known"


def test_a_marginal_that_does_not_speak_of_all_responses_is_none() -> None:
    """The second of two answers is no key of the person's."""
    training, sessions = [stroop("abc", "aaab")], [stroop("xyz", "xq")]
    key = sessions[0].key
    assert marginal_nll(training, sessions, scored={(key, 0)}) == pytest.approx(-math.log(3.5 / 5.5))
    assert math.isnan(marginal_nll(training, sessions, scored={(key, 0), (key, 1)}))


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
