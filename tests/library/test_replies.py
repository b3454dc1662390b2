"""What a model behind an API replied, as the option it chose and as a bound on the NLL of what a person answered."""

import math

import pytest

from centaurlab.library.replies import chosen, option_nll_at_least


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


def test_an_answer_s_share_is_that_of_all_tokens_that_begin_it() -> None:
    assert option_nll_at_least(log(J=0.4, _J=0.2, F=0.3, x=0.1), ("J", "F"), "J") == pytest.approx(-math.log(0.6 / 0.9))
    assert option_nll_at_least(log(le=0.5, ri=0.25), ("left", "right"), "right") == pytest.approx(math.log(3))


def test_an_answer_that_is_not_among_the_likeliest_is_no_likelier_than_the_last_of_these() -> None:
    assert option_nll_at_least(log(J=0.9, x=0.01), ("J", "F"), "F") == pytest.approx(-math.log(0.01 / 0.91))
    assert option_nll_at_least(log(x=0.9), ("J", "F"), "F") == pytest.approx(0), "nothing says that it is unlikely"


def test_where_a_token_begins_several_options_nothing_is_known() -> None:
    assert option_nll_at_least(log(**{"1": 0.9}), ("1", "10"), "1") is None
    assert option_nll_at_least({}, ("J", "F"), "J") is None
