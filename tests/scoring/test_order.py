"""The plan depends on the texts alone, shares what is common before the first response, and divides work evenly."""

import itertools
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from centaurlab.data.transcripts import Transcript
from centaurlab.scoring import order as plan
from centaurlab.scoring.order import (
    MIN_SHARED_CHARACTERS,
    divide,
    order_texts,
    windows,
)

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
    planned = order_texts(texts)
    assert sorted(session.index for session in planned) == list(range(len(texts)))
    for position, session in enumerate(planned):
        text = texts[session.index]
        assert list(session.shared) == sorted(set(session.shared))
        neighbours = [planned[i] for i in (position - 1, position + 1) if 0 <= i < len(planned)]
        for length in session.shared:
            prefix = text[:length]
            assert "<<" not in prefix
            assert text[length] in " \n"
            assert any(length in n.shared and texts[n.index].startswith(prefix) for n in neighbours)
        before = texts[planned[position - 1].index] if position else ""
        is_reused = [length for length in session.shared if before.startswith(text[:length])]
        assert session.reused == max(is_reused, default=0)
        assert all(b - a >= MIN_SHARED_CHARACTERS for a, b in zip((0, *session.shared), session.shared, strict=False))


@settings(max_examples=60, deadline=None)
@given(texts=texts(), seed=st.integers(0, 100))
def test_the_plan_does_not_depend_on_the_order_of_the_texts(texts: list[str], seed: int) -> None:
    shuffled = random.Random(seed).sample(texts, len(texts))
    plans = [[(order[s.index], s.shared) for s in order_texts(order)] for order in (texts, shuffled)]
    assert plans[0] == plans[1]


def test_sessions_with_the_same_instructions_share_them() -> None:
    texts = [f"{INSTRUCTIONS[i % 2]}person {i} <<J>>" for i in range(6)]
    for session in order_texts(texts):
        (shared,) = session.shared
        assert texts[session.index][:shared] == INSTRUCTIONS[session.index % 2] + "person"


def test_a_single_session_shares_nothing() -> None:
    assert order_texts([]) == []
    assert [s.shared for s in order_texts([INSTRUCTIONS[0] + "<<J>>"])] == [()]


@settings(max_examples=60, deadline=None)
@given(costs=st.lists(st.floats(0, 1e6), max_size=30), n_processes=st.integers(1, 40))
def test_every_session_is_divided_to_one_process(costs: list[float], n_processes: int) -> None:
    shares = divide(costs, n_processes)
    assert len(shares) == n_processes
    assert all(share == sorted(share) for share in shares)
    assert sorted(i for share in shares for i in share) == list(range(len(costs)))


def slowest_over_mean(costs: list[float], shares: list[list[int]]) -> float:
    sums = [sum(costs[i] for i in share) for share in shares]
    return max(sums) / (sum(sums) / len(sums))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("shape", ["log-normal", "Pareto", "uniform", "two sizes", "one study of giants"])
def test_the_slowest_of_four_processes_is_within_five_percent_of_the_mean(seed: int, shape: str) -> None:
    draw = np.random.default_rng(seed)
    n_tokens = {
        "log-normal": draw.lognormal(8, 1.2, 400),
        "Pareto": 300 * (draw.pareto(1.1, 400) + 1),
        "uniform": draw.uniform(100, 32_768, 400),
        "two sizes": np.sort(draw.choice([300, 32_768], 400)),
        "one study of giants": np.array([500.0] * 390 + [32_768.0] * 10),
    }[shape].clip(max=32_768)
    costs = [n * (1 + n / 10_000) for n in n_tokens.tolist()]
    assert slowest_over_mean(costs, divide(costs, 4)) <= 1.05


def test_the_division_is_within_grahams_bound_of_the_best() -> None:
    draw = np.random.default_rng(0)
    for _ in range(12):
        costs = draw.pareto(1, 8).tolist()
        best = min(
            max(sum(c for c, p in zip(costs, chosen, strict=True) if p == process) for process in range(3))
            for chosen in itertools.product(range(3), repeat=8)
        )
        slowest = max(sum(costs[i] for i in share) for share in divide(costs, 3))
        assert slowest <= best * (4 / 3 - 1 / 9) * (1 + 1e-12)


def test_what_a_process_has_been_given_before_counts() -> None:
    assert divide([1.0, 1.0, 1.0], 2, loads=[2.0, 0.0]) == [[2], [0, 1]]


def test_after_a_process_has_died_what_is_missing_is_divided_among_the_others() -> None:
    """Four processes; the third dies after a tenth of its share, the others after half. Three go on."""
    costs = np.random.default_rng(1).lognormal(8, 1, 600).tolist()
    done = set()
    for process, share in enumerate(divide(costs, 4)):
        done |= set(share[: len(share) // (10 if process == 2 else 2)])
    missing = [i for i in range(600) if i not in done]
    shares = [[missing[i] for i in share] for share in divide([costs[i] for i in missing], 3)]
    assert sorted(i for share in shares for i in share) == missing
    assert slowest_over_mean(costs, shares) <= 1.05


def transcript(study: str, participant: int, text: str) -> Transcript:
    return Transcript(text, study, study, str(participant))


def test_windows_hold_every_session_once_and_a_bounded_amount(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "WINDOW_CHARACTERS", 50_000)
    sessions = [transcript("a", i, "x" * (i % 7 * 1_000) + "<<J>>") for i in range(200)]
    found = list(windows(iter(sessions)))
    assert [s for window in found for s in window] == sessions
    assert all(sum(len(s.text) for s in window) < 50_000 + 7_000 for window in found)
    assert 10 < len(found) < 30
    many_short = [transcript("a", i, "<<J>>") for i in range(200)]
    assert max(map(len, windows(many_short))) <= 25, "a session's memory is more than its text"
