"""What cannot be timed is refused before anything is."""

import pytest

from centaurlab.arguments import parse_arguments
from centaurlab.benchmark import BenchmarkArguments
from centaurlab.errors import UserError


@pytest.mark.parametrize(("name", "number"), [("rounds", 0), ("sessions", 0), ("sessions", -1)])
def test_numbers_that_time_nothing_are_refused(name: str, number: int) -> None:
    with pytest.raises(UserError, match=f"--{name} is {number}; it must be at least 1"):
        parse_arguments([BenchmarkArguments], None, ["--output_dir", "out", f"--{name}", str(number)])
