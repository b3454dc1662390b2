"""Chance and marginals against counts by hand."""

from math import log

import numpy as np
import pytest

from centaurlab.cognitive.marginals import learn_item_marginal, learn_role_marginal, learn_uniform
from centaurlab.cognitive.words import Words
from helpers.trials import choices, session_of, words


def test_chance_is_the_log_of_the_number_of_options() -> None:
    predict = learn_uniform([])
    assert predict(session_of(choices("ab", options="abc"))).log_p_R == pytest.approx([-log(3)] * 2)


def test_a_role_is_expected_as_often_as_others_took_it_whatever_its_letter() -> None:
    training = [session_of(choices("JJJF", options="JF", roles=("left", "right")))]
    new = session_of(choices("QX", options="XQ", roles=("left", "right")), "p2")
    assert np.exp(learn_role_marginal(training)(new).log_p_R) == pytest.approx([1.5 / 5, 3.5 / 5])


def test_an_item_is_expected_to_be_answered_as_others_answered_it() -> None:
    items = ["one", "two"] * 4
    training = [session_of(choices("abababab", "ab", items), f"p{i}") for i in range(6)]
    found = np.exp(learn_item_marginal(training)(session_of(choices("ab", "ab", ["one", "two"]), "new")).log_p_R)
    weight = 2.0**-3  # everybody agrees, so that the smallest weight of other items predicts best
    assert found == pytest.approx([(24 + weight / 2) / (24 + weight)] * 2)


def test_the_person_who_is_left_out_does_not_speak_for_an_item() -> None:
    """Each person always gives the same answer, but no two people agree: others' answers at the item say nothing."""
    training = [session_of(choices("aaaa" if i % 2 else "bbbb", "ab", ["one"] * 4), f"p{i}") for i in range(8)]
    found = np.exp(learn_item_marginal(training)(session_of(choices("a", "ab", ["one"]), "new")).log_p_R)
    assert found == pytest.approx([0.5], abs=1e-9)


def test_where_nothing_recurs_the_item_marginal_is_that_of_the_role() -> None:
    training = [session_of(choices("aab", "ab"))]
    new = session_of(choices("ab", "ab"), "p2")
    assert learn_item_marginal(training)(new).log_p_R == pytest.approx(learn_role_marginal(training)(new).log_p_R)


def test_an_answer_that_is_no_option_and_an_empty_one_are_not_predicted() -> None:
    new = session_of([*choices(["a", "z"], "ab"), *words([" "])])
    for learn in (learn_uniform, learn_role_marginal, learn_item_marginal):
        assert np.isfinite(learn([])(new).log_p_R).tolist() == [True, False, False]


def test_words_that_were_said_share_what_is_not_kept_for_new_ones() -> None:
    known = Words(["dog", "dog", "dog", "cat"])
    new = (1 + 1) / (4 + 1)  # one word was said once
    assert np.exp(known.log_p("dog")) == pytest.approx((1 - new) * 3 / 4, abs=1e-2)
    assert np.exp(known.log_chance("dog")) == pytest.approx((1 - new) / 2, abs=1e-2)
    assert known.log_p("dot") > known.log_p("xyz")


@pytest.mark.parametrize("said", [[], ["ab"], ["a", "b", "ab", "ab"]])
def test_all_strings_together_have_a_probability_of_at_most_one(said: list[str]) -> None:
    known = Words(said)
    strings = ["", *(chr(i) for i in range(128)), *(chr(i) + chr(j) for i in range(128) for j in range(128))]
    assert 0 < sum(np.exp(known.log_p(text)) for text in strings) <= 1
