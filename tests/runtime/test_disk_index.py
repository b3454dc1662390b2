"""An index on disk answers as a dictionary does, and iterates in the order of the bytes."""

from hypothesis import given, settings
from hypothesis import strategies as st

from centaurlab.runtime.disk_index import DiskIndex


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.binary(max_size=4), st.integers(0, 9))))
def test_it_holds_what_a_dictionary_would(items: list[tuple[bytes, int]]) -> None:
    index = DiskIndex()
    expected: dict[bytes, int] = {}
    for item, number in items:
        assert index.add(item, number) == (item not in expected)
        expected.setdefault(item, number)
    assert list(index) == sorted(expected)
    assert {item: index.number(item) for item in expected} == expected
    assert b"longer than any" not in index
    assert index.number(b"longer than any") is None
