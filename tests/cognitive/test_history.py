"""Own history against its closed form: a mixture of Markov chains has an evidence that needs no predicting."""

from collections import Counter, defaultdict
from math import lgamma, log

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from centaurlab.cognitive.history import ORDERS, learn_own_history
from helpers.trials import choices, session_of, words


def log_evidence(answers: list[str], n_options: int) -> float:
    """Log of the mean over orders of Γ(K/2)/Γ(n + K/2) · Π Γ(c + 1/2)/Γ(1/2), a factor for each context."""
    logs = []
    for order in ORDERS:
        counts: dict[object, Counter[str]] = defaultdict(Counter)
        for i, answer in enumerate(answers):
            counts[tuple(answers[max(i - order, 0) : i]), i < order][answer] += 1
        logs.append(
            sum(
                lgamma(n_options / 2)
                - lgamma(found.total() + n_options / 2)
                + sum(lgamma(count + 0.5) - lgamma(0.5) for count in found.values())
                for found in counts.values()
            )
        )
    return float(np.logaddexp.reduce(logs)) - log(len(ORDERS))


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=40))
@settings(max_examples=60, deadline=None)
def test_what_is_predicted_adds_up_to_the_evidence_of_the_mixture(answers: list[str]) -> None:
    predicted = learn_own_history([])(session_of(choices(answers, options="abc")))
    assert predicted.log_p_R.sum() == pytest.approx(log_evidence(answers, 3), abs=1e-9)


def test_the_options_of_a_trial_add_up_to_one() -> None:
    predicted = learn_own_history([])(session_of(choices("abacabba", options="abc")))
    for logs in predicted.options_R:
        assert logs is not None
        assert np.exp(logs).sum() == pytest.approx(1)


def test_a_person_who_alternates_is_predicted_better_and_better() -> None:
    log_p = learn_own_history([])(session_of(choices("ab" * 40, options="ab"))).log_p_R
    assert log_p[-20:].mean() > log(0.9)


def test_a_word_that_was_said_before_is_expected_again() -> None:
    log_p = learn_own_history([session_of(words(["dog", "cat"]))])(
        session_of(words(["mouse", "mouse", "mouse"]))
    ).log_p_R
    assert log_p[0] < log_p[1] < log_p[2]
