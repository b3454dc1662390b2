"""Sets and numbers of sessions in few bytes hold what Python's own sets and dicts hold."""

import random
import tracemalloc

import numpy as np
import pytest

from centaurlab.data import keys
from centaurlab.data.keys import DigestSet, SessionNumbers, digests_of
from centaurlab.data.persons import find_persons
from centaurlab.data.transcripts import SessionKey


def key(number: int) -> SessionKey:
    return SessionKey(f"study{number % 7}", f"day{number % 3}", f"é{number}")


def test_a_set_that_grows_holds_what_was_put_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "_NEWEST", 7)
    draw, found, expected = random.Random(0), DigestSet(), set()
    for _ in range(3_000):
        number = draw.randrange(1_000)
        assert (key(number).digest() in found) == (number in expected)
        found.add(key(number).digest())
        expected.add(number)
        assert len(found) == len(expected)
    assert all((key(number).digest() in found) == (number in expected) for number in range(2_000))


def test_numbers_are_those_of_a_dict() -> None:
    draw = random.Random(1)
    numbered = [(key(draw.randrange(300)), i) for i in range(500)]
    numbers = SessionNumbers(digests_of(one for one, _ in numbered), np.arange(500, dtype=np.int32))
    expected = dict(numbered)
    assert {one: numbers.find(one) for one in map(key, range(600)) if one in numbers} == expected
    assert len(numbers) == len(expected)
    assert numbers == SessionNumbers(digests_of(expected), np.array([*expected.values()], np.int32))
    assert key(0) not in SessionNumbers(digests_of([]))


@pytest.mark.parametrize(
    ("fields", "days", "most"),
    [({}, 1, 512), ({}, 2, 512), (dict.fromkeys("abcdefgh", 1), 1, 512), ({"person": 1}, 1, 1024)],
)
def test_who_is_who_takes_little_memory(fields: dict[str, int], days: int, most: int) -> None:
    def sessions():  # type: ignore[no-untyped-def]
        for i in range(2_000):
            who = i // days
            yield SessionKey("s", f"day{i % days}", str(who)), {name: value * who for name, value in fields.items()}

    tracemalloc.start()
    persons = find_persons(sessions())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert persons.any_joined == (days == 2)
    assert peak < most * 2_000
