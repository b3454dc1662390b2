"""What a thread does beside the model comes in order, no further ahead than asked, and with its errors."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from threading import Event

import pytest

from centaurlab.scoring.beside import ahead, behind
from helpers.commands import centaurlab
from helpers.score_runs import n_stored, options
from helpers.transcripts import bandit, write_transcripts

SECONDS = 30  # in which a thread has surely run


def test_what_is_made_ahead_comes_in_order_and_made_while_the_one_before_is_used() -> None:
    begun = [Event() for _ in range(50)]

    def make(number: int) -> int:
        begun[number].set()
        return number**2

    found = list[int]()
    for square in ahead(make, range(50), 2):
        assert begun[min(len(found) + 1, 49)].wait(SECONDS)
        found.append(square)
    assert found == [number**2 for number in range(50)]
    assert list(ahead(make, [], 2)) == []


def test_who_takes_slowly_has_no_more_waiting_than_asked() -> None:
    taken, made = list[int](), list[int]()

    def inputs() -> Iterator[int]:
        for number in range(100):
            taken.append(number)
            yield number

    results = ahead(made.append, inputs(), 4)
    for n, _ in enumerate(islice(results, 10), 1):
        assert len(made) <= len(taken) == n + 4
    results.close()  # type: ignore[attr-defined]
    assert len(taken) == 14
    assert made == taken[: len(made)]


def test_an_error_comes_after_all_before_it_and_nothing_more_is_made() -> None:
    made, found = list[int](), list[int]()

    def make(number: int) -> int:
        made.append(number)
        if number == 7:
            raise ValueError("the seventh")
        return number

    with pytest.raises(ValueError, match="the seventh"):
        found += ahead(make, range(100), 3)
    assert found == list(range(7))
    assert max(made) <= 7 + 3


def test_what_is_done_behind_is_done_in_order_beside_the_caller_and_by_the_end_of_the_block() -> None:
    done, goes_on = list[int](), Event()

    def write(number: int) -> None:
        assert goes_on.wait(SECONDS)
        done.append(number)

    def compute() -> None:
        with behind() as do:
            do(write, 0)
            assert done == [], "the caller has not waited for it"
            goes_on.set()
            for number in range(1, 9):
                do(write, number)
                assert done[:number] == list(range(number)), "one at most is not done"
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compute()
    assert done == list(range(9))


@pytest.mark.parametrize("n_after", [0, 1])
def test_what_goes_wrong_behind_is_raised_at_the_next_call_or_the_end(n_after: int) -> None:
    done = list[str]()

    def write(name: str) -> None:
        if name == "second":
            raise OSError("the disk is full")
        done.append(name)

    def compute() -> None:
        with behind() as do:
            for name in ["first", "second", *["third"] * n_after]:
                do(write, name)

    with pytest.raises(OSError, match="the disk is full"):
        compute()
    assert done == ["first"]


@pytest.mark.usefixtures("offline")
def test_a_session_that_ends_the_run_is_named_and_those_before_it_are_kept(
    tmp_path: Path, tiny_llama_dir: Path
) -> None:
    """It is read while the first is computed; sessions are scored in the order of their texts."""
    texts = [bandit(person) for person in range(3)] + ["Z" * 3_000 + " <<J>> is too late.", "Zz <<J>> was never asked."]
    people = [{"text": t, "study": "s", "experiment": "e", "participant": f"p{i}"} for i, t in enumerate(texts)]
    data, run = write_transcripts(tmp_path / "data.jsonl", people), tmp_path / "run"
    done = centaurlab("score", *options(tiny_llama_dir, data, run, "--max_length", "400"))
    assert "data.jsonl:4: the first response of participant 'p3' of 's'" in done.error
    assert n_stored(run) == 3
