"""What is timed where free runs are: sessions of so many answers, as many of them in each contestant."""

from pathlib import Path

import pytest

from centaurlab.data.source import DataArguments
from centaurlab.data.transcripts import find_responses
from centaurlab.runtime.errors import UserError
from centaurlab.simulation.benchmark import (
    CONTESTANTS,
    seconds_per_session,
    sessions_of_answers,
    spread,
    time_contestant,
)
from helpers.tiny_models import in_float32
from helpers.transcripts import sessions_of, write_transcripts


@pytest.fixture
def data(tmp_path: Path) -> DataArguments:
    trial = {"short": "You press <<{}>>. ", "long": "After a long while you press <<{}>>. "}
    rows = sessions_of(trial, 6, lambda study, person: "".join(trial[study].format("JF"[n % 2]) for n in range(5)))
    return DataArguments(str(write_transcripts(tmp_path / "sessions.jsonl", rows)))


def test_sessions_have_as_many_answers_as_asked_for_in_the_fewest_words(data: DataArguments) -> None:
    sessions = sessions_of_answers(data, 2, 12)
    assert [len(find_responses(session.text)) for session in sessions] == [12, 12]
    assert not any("After a long while" in session.text for session in sessions)
    with pytest.raises(UserError, match="no study of 200 choices"):
        sessions_of_answers(data, 2, 100)


def test_every_contestant_is_timed(data: DataArguments, tiny_llama_dir: Path) -> None:
    sessions = sessions_of_answers(data, 2, 12)
    timed = {name: time_contestant(name, in_float32(tiny_llama_dir), sessions) for name in CONTESTANTS}
    assert timed["score"].tokens == timed["simulate"].tokens > timed["generate"].tokens > 0
    seconds = seconds_per_session(timed, 2)
    assert seconds["simulate"] == timed["simulate"].seconds / 8
    assert seconds["generate"] == timed["generate"].seconds


def test_calls_that_are_timed_stand_for_all() -> None:
    assert spread(4, 10) == [0, 1, 2, 3]
    assert spread(100, 10) == [5, 15, 25, 35, 45, 55, 65, 75, 85, 95]
