"""The plan depends on the texts alone, shares what is common before the first response, and divides work evenly."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from centaurlab.plan import MIN_SHARED_CHARACTERS, cost, plan_sessions, split_by_cost

INSTRUCTIONS = [f"Study {s}. " + f"You see the machines {s} and win points. " * 12 for s in range(3)]
BLOCKS = ["", "In this block you lose points instead of winning them. " * 8, "Now answer as fast as you can. " * 9]


@st.composite
def texts(draw: st.DrawFn) -> list[str]:
    sessions = st.tuples(
        st.sampled_from(INSTRUCTIONS), st.sampled_from(BLOCKS), st.text("ab <>\n", max_size=8), st.booleans()
    )
    return [
        f"{instructions}{block}{name}{'' if unanswered else ' <<J>> and <<F>>'}"
        for instructions, block, name, unanswered in draw(st.lists(sessions, max_size=12))
    ]


@settings(max_examples=150, deadline=None)
@given(texts=texts())
def test_shared_lengths_are_in_common_and_before_every_response(texts: list[str]) -> None:
    plan = plan_sessions(texts)
    assert sorted(session.index for session in plan) == list(range(len(texts)))
    for position, session in enumerate(plan):
        text = texts[session.index]
        assert list(session.shared) == sorted(set(session.shared))
        neighbours = [plan[i] for i in (position - 1, position + 1) if 0 <= i < len(plan)]
        for length in session.shared:
            prefix = text[:length]
            assert "<<" not in prefix
            assert text[length] in " \n"
            assert any(length in n.shared and texts[n.index].startswith(prefix) for n in neighbours)
        assert all(b - a >= MIN_SHARED_CHARACTERS for a, b in zip((0, *session.shared), session.shared, strict=False))


@settings(max_examples=60, deadline=None)
@given(texts=texts(), seed=st.integers(0, 100))
def test_the_plan_does_not_depend_on_the_order_of_the_texts(texts: list[str], seed: int) -> None:
    shuffled = random.Random(seed).sample(texts, len(texts))
    plans = [[(order[s.index], s.shared) for s in plan_sessions(order)] for order in (texts, shuffled)]
    assert plans[0] == plans[1]


def test_sessions_with_the_same_instructions_share_them() -> None:
    texts = [f"{INSTRUCTIONS[i % 2]}person {i} <<J>>" for i in range(6)]
    for session in plan_sessions(texts):
        (shared,) = session.shared
        assert texts[session.index][:shared] == INSTRUCTIONS[session.index % 2] + "person"


def test_a_single_session_shares_nothing() -> None:
    assert plan_sessions([]) == []
    assert [s.shared for s in plan_sessions([INSTRUCTIONS[0] + "<<J>>"])] == [()]


@settings(max_examples=60, deadline=None)
@given(costs=st.lists(st.floats(0, 1e6), max_size=30), n_parts=st.integers(1, 40))
def test_parts_are_contiguous_and_hold_every_session_once(costs: list[float], n_parts: int) -> None:
    parts = split_by_cost(costs, n_parts)
    assert len(parts) == n_parts
    assert [i for part in parts for i in range(len(costs))[part]] == list(range(len(costs)))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("shape", ["log-normal", "uniform", "two sizes"])
def test_the_slowest_of_four_processes_is_within_five_percent_of_the_mean(seed: int, shape: str) -> None:
    draw = np.random.default_rng(seed)
    lengths = {
        "log-normal": draw.lognormal(9, 0.8, 5000),
        "uniform": draw.uniform(500, 60_000, 5000),
        "two sizes": np.sort(draw.choice([1_000, 90_000], 5000)),
    }[shape]
    costs = [cost(int(length)) for length in lengths]
    sums = [sum(costs[part]) for part in split_by_cost(costs, 4)]
    assert max(sums) <= 1.05 * sum(costs) / 4
