"""Responses are what stands between the markers; whatever else the markers do is named."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from centaurlab.data.transcripts import (
    SessionKey,
    Transcript,
    check_study_name,
    find_responses,
    marker_problem,
    text_digest,
)
from centaurlab.runtime.errors import UserError


@given(st.lists(st.tuples(st.text("ab \n>", max_size=5), st.text("ab \n<é🙂", max_size=5)), max_size=6))
def test_responses_are_found_where_they_were_put(parts: list[tuple[str, str]]) -> None:
    text, expected = "", []
    for context, response in parts:
        response = response.replace("<<", "")
        text += context + "<<"
        expected.append((len(text), len(text) + len(response)))
        text += response + ">>"
    assert [(r.start, r.end) for r in find_responses(text)] == expected


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("You press <<J>>.", None),
        ("x >> y, then <<J>>", None),
        ("You say <<a\nb>>", None),
        ("You press <<J", "unclosed '<<' on line 1"),
        ("One.\nTwo <<J>>.\nThree <<F", "unclosed '<<' on line 3"),
        ("You <<J <<F>>>>", "nested '<<'"),
        ("You <<>>", "empty response"),
        ("You << \n>>", "empty response"),
        *((f"You <<{unseen}>>", "empty response") for unseen in ("\u200b", "\ufeff", "\x00", "\u2060\u00a0", "\u3164")),
        *((f"You <<{seen}>>", None) for seen in ("\u200bJ", "👩\u200d👧", "\u0301", "ـ", ".")),
        ("You press J.", "no response"),
        ("", "no response"),
    ],
)
def test_problems_of_markers_are_named_with_their_line(text: str, problem: str | None) -> None:
    found = marker_problem(text)
    assert found is None if problem is None else problem in (found or "")


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a/..", "a\\b", "a\nb", "a\x00b", "/etc"])
def test_a_path_names_no_study(name: str) -> None:
    with pytest.raises(UserError, match=r"data.jsonl:3: .* cannot name a study"):
        check_study_name(name, "data.jsonl:3")


@pytest.mark.parametrize("name", ["smith2020bandit", "étude 1", "a..b", "..."])
def test_other_names_do(name: str) -> None:
    assert check_study_name(name, "here") == name


def test_a_session_is_known_by_study_experiment_and_participant() -> None:
    session = Transcript("<<J>>", "bandit", "exp1.csv", "1", {"age": 31}, "file:1")
    assert session.key == SessionKey("bandit", "exp1.csv", "1")
    assert session.key != SessionKey("bandit", "exp2.csv", "1")


def test_equal_texts_have_equal_digests() -> None:
    assert text_digest("a<<J>>") == text_digest("a" + "<<J>>") != text_digest("a<<J>> ")
    assert len(text_digest("half a pair: \ud83d")) == 64
