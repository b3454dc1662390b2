"""Markers that are code or typing errors, and answers that stand for none, are told from answers that look alike."""

import pytest

from centaurlab.data.lookalikes import ANGLES, CODE, KINDS, MISSED, Lookalikes, lookalikes
from centaurlab.data.transcripts import Transcript


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("You press <<<J>>>.", ANGLES),
        ("You press <<<J>>.", ANGLES),
        ("You press <<J>>>.", ANGLES),
        ("You press <<>J>>.", ANGLES),
        ("You press <<J<>>.", ANGLES),
        ("`y = x << 3; z = y >> 1;`", CODE),
        ("`y = x<<3; z = y>>1;`", CODE),
        ("`f(x)<<3, g(y)>>1`", CODE),
        ("`x <<= 1; y >>= 2`", CODE),
        ('`cout << "a"; cin >> b;`', CODE),
        *(
            (f"You press <<{missed}>>.", MISSED)
            for missed in ("null", "NA", "NaN", "n/a", " None", "-", "—", "No response", "-999")
        ),
    ],
)
def test_what_looks_like_something_else_is_named(text, kind):
    (found,) = lookalikes(text).items()
    assert found == (kind, [text.partition("<<")[2].partition(">>")[0]])


@pytest.mark.parametrize(
    "answer",
    ["J", "<", "<=", "-1", "J ", " J", "nothing", "nano", "I'd say (well); no = no", "f(x) = {a; b}", "=", "0"],
)
def test_answers_are_left_alone(answer):
    assert lookalikes(f"You type <<{answer}>>. You type:<<{answer}>> and go on.") == {}


def test_many_are_counted_and_the_first_places_named():
    seen = Lookalikes()
    for number in range(1, 1501):
        seen.add(Transcript("You press <<NA>>. Then <<NA>>. Then <<J>>.", "s", "e", "1", origin=f"f.jsonl:{number}"))
    (said,) = seen.notes
    assert said.startswith(
        "doubtful: no answer in 3,000 responses of 1,500 sessions, f.jsonl:1 ('NA'), f.jsonl:2 ('NA')"
    )
    assert said.endswith(f"f.jsonl:3 ('NA'), …: {KINDS[MISSED]}")
