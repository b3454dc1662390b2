"""Which sessions are timed, and that what cannot be timed is refused before anything is."""

import json
from pathlib import Path

import pytest

from centaurlab.arguments import parse_arguments
from centaurlab.benchmark import BenchmarkArguments, benchmark_sessions
from centaurlab.errors import UserError
from centaurlab.models import ModelArguments, load_tokenizer
from centaurlab.sources import DataArguments


@pytest.mark.parametrize(("name", "number"), [("rounds", 0), ("sessions", 0), ("sessions", -1)])
def test_numbers_that_time_nothing_are_refused(name: str, number: int) -> None:
    with pytest.raises(UserError, match=f"--{name} is {number}; it must be at least 1"):
        parse_arguments([BenchmarkArguments], None, ["--output_dir", "out", f"--{name}", str(number)])


def test_sessions_are_of_different_studies_and_short_ones_are_joined(tiny_llama_dir: Path, tmp_path: Path) -> None:
    trials = {"short": 6, "right": 12, "long": 100}
    rows = [
        {"text": f"{person}. " + "You choose <<J>>. " * trials[study], "experiment": study, "participant": person}
        for study in trials
        for person in range(9)
    ]
    data = tmp_path / "sessions.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    arguments = BenchmarkArguments(output_dir="out", sessions=3, min_tokens=60, max_tokens=120)
    model = ModelArguments(str(tiny_llama_dir))
    chosen = benchmark_sessions(model, DataArguments(data=str(data)), arguments)
    assert [len(encoding.start_R) for encoding in chosen] == [12, 12, 12]
    tokenizer = load_tokenizer(model)
    beginnings = [tokenizer.decode(encoding.input_ids_T).split("You")[0].strip() for encoding in chosen]
    assert beginnings == ["0.", "0.", "2."], "the first two people of one study, the first of another, the next two"
    with pytest.raises(UserError, match="no session of 5000 to 6000 tokens"):
        benchmark_sessions(
            model, DataArguments(data=str(data)), BenchmarkArguments(output_dir="out", min_tokens=5000, max_tokens=6000)
        )
