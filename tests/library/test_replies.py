"""What a model behind an API replied, as the option it chose and as a bound on the NLL of what a person answered."""

import math

import numpy as np
import pytest

from centaurlab.data.options import session_options
from centaurlab.data.transcripts import Transcript
from centaurlab.library.replies import choices, chosen, option_nll_at_least
from centaurlab.prompts.context import Reading


@pytest.mark.parametrize(
    ("reply", "option"),
    [
        *(("J", "J"), (" J\n", "J"), ("<<J>>", "J"), ("J>>. You win 3.", "J"), ('"J".', "J"), ("**J**", "J")),
        *(("j", "J"), ("The person presses J", None), ("", None), ("JF", None), ("-3", "-3"), ("3", None)),
    ],
)
def test_a_reply_is_the_option_that_it_names_and_no_other(reply: str, option: str | None) -> None:
    assert chosen(reply, ("J", "F", "-3")) == option


def test_a_full_stop_or_a_case_that_tells_options_apart_counts() -> None:
    assert chosen("a", ("a", "A")) == "a"
    assert chosen("A.", ("A", "A.")) == "A."


def log(**shares: float) -> dict[str, float]:
    return {token.replace("_", " "): math.log(share) for token, share in shares.items()}


def test_an_answer_s_share_is_at_most_that_of_all_tokens_that_can_begin_it() -> None:
    keys = ("J", "F")
    assert option_nll_at_least(log(J=0.4, _J=0.2, F=0.3, x=0.1), keys, "J") == pytest.approx(-math.log(0.6 / 0.9), 1e-5)
    assert option_nll_at_least(log(le=0.5, ri=0.25, x=0.25), ("left", "right"), "right") == pytest.approx(
        math.log(3), 1e-5
    )
    of_one = log(**{"yes": 0.9, "Yes": 0.05, "No": 0.04})
    assert option_nll_at_least(of_one, ("Yes", "No"), "Yes") == pytest.approx(-math.log(0.96))
    several = log(**{"1": 0.5, "10": 0.5})
    assert option_nll_at_least(several, ("1", "10"), "10") == pytest.approx(0, abs=1e-9)
    assert option_nll_at_least(several, ("1", "10"), "1") == pytest.approx(math.log(2), abs=1e-5)


def test_what_is_not_among_the_likeliest_may_be_the_answer() -> None:
    assert option_nll_at_least(log(J=0.9, x=0.01), ("J", "F"), "F") == pytest.approx(-math.log(0.09 / 0.99))
    assert option_nll_at_least(log(x=0.9), ("J", "F"), "F") == pytest.approx(0), "nothing says that it is unlikely"
    rounded = option_nll_at_least(log(J=1.0), ("J", "F"), "F")
    assert rounded is not None
    assert 10 < rounded < 20
    assert option_nll_at_least({}, ("J", "F"), "J") is None


def test_no_answer_is_likelier_than_the_bound_says() -> None:
    """Against the shares that ``chosen`` gives of all replies, of which the bound sees the likeliest five."""
    draw = np.random.default_rng(0)
    replies = (
        "Yes",
        "yes",
        " YES",
        '"Yes',
        "Yes>>",
        "<<yes>>. You",
        "**Yes**",
        "No",
        "no.",
        "NO>>",
        "'No",
        "Maybe",
        "?",
    )
    is_of = {
        option: np.array([chosen(reply, ("Yes", "No")) == option for reply in replies]) for option in ("Yes", "No")
    }
    assert [int(of.sum()) for of in is_of.values()] == [7, 4]
    for p in draw.dirichlet(np.full(len(replies), 0.3), 200):
        told = {replies[i]: math.log(p[i]) for i in np.argsort(-p)[:5]}
        share = {option: p[of].sum() for option, of in is_of.items()}
        for option in share:
            bound = option_nll_at_least(told, ("Yes", "No"), option)
            assert bound is not None
            assert bound <= -math.log(share[option] / sum(share.values())) + 1e-9


def test_options_that_are_what_the_person_goes_on_to_answer_are_not_offered() -> None:
    texts = ["You say <<aye>>. You say <<nay>>. You say <<aye>>.", "You say <<yes>>. You say <<no>>. You say <<yes>>."]
    for labels, n in (({}, 0), ({"s": ("aye", "nay", "yes", "no")}, 3)):
        for text in texts:
            transcript = Transcript(text, "s", "e", "1")
            asked = choices(Reading("full", None).prompt(transcript), session_options(transcript, labels))
            assert [offered for _, offered in asked] == [("aye", "nay", "yes", "no")] * n
