"""Which sessions are timed, and that what cannot be timed is refused before anything is."""

import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from centaurlab.data.source import DataArguments
from centaurlab.models.loading import load_tokenizer
from centaurlab.prompts.encoding import encode
from centaurlab.prompts.prompt import session_prompt
from centaurlab.runtime.arguments import as_typed, parse_arguments
from centaurlab.runtime.errors import UserError
from centaurlab.scoring import benchmark
from centaurlab.scoring.benchmark import (
    BenchmarkArguments,
    Timing,
    benchmark_sessions,
    largest_difference,
    time_in_turn,
    time_peer,
    time_scoring,
)
from centaurlab.scoring.peers import requests_of
from helpers.tiny_models import in_float32, named
from helpers.transcripts import sessions_of, write_transcripts


@pytest.mark.parametrize(("name", "number"), [("rounds", 0), ("sessions", -1), ("requests", 0)])
def test_numbers_that_time_nothing_are_refused(name: str, number: int) -> None:
    with pytest.raises(UserError, match=f"--{name} is {number}; it must be at least 1"):
        parse_arguments([BenchmarkArguments], None, ["--output_dir", "out", f"--{name}", str(number)])


def test_sessions_are_of_different_studies_and_short_ones_are_joined(tiny_llama_dir: Path, tmp_path: Path) -> None:
    trials = {"short": 6, "right": 12, "long": 100}
    rows = sessions_of(trials, 9, lambda study, person: f"{person}. " + "You choose <<J>>. " * trials[study])
    data = write_transcripts(tmp_path / "sessions.jsonl", rows)
    arguments = BenchmarkArguments(output_dir="out", sessions=3, min_tokens=60, max_tokens=120)
    model = named(tiny_llama_dir)
    chosen = benchmark_sessions(model, DataArguments(data=str(data)), arguments)
    assert [len(encoding.start_R) for encoding in chosen] == [12, 12, 12]
    tokenizer = load_tokenizer(model)
    beginnings = [tokenizer.decode(encoding.input_ids_T).split("You")[0].strip() for encoding in chosen]
    assert beginnings == ["0.", "0.", "2."], "the first two people of one study, the first of another, the next two"
    with pytest.raises(UserError, match="no session of 5000 to 6000 tokens"):
        benchmark_sessions(
            model, DataArguments(data=str(data)), BenchmarkArguments(output_dir="out", min_tokens=5000, max_tokens=6000)
        )


def test_contestants_take_turns_and_the_fastest_round_of_each_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = {"plain": iter([9.0, 7.0, 8.0]), "ours": iter([1.0, 3.0, 2.0])}
    turns = []

    def time_contestant(name: str, options: Sequence[str]) -> Timing:
        turns.append((name, *options))
        return Timing(next(seconds[name]), tokens=10, peak_memory_bytes=1, nll=[])

    monkeypatch.setattr(benchmark, "time_contestant", time_contestant)
    fastest = time_in_turn(("plain", "ours"), rounds=3, options=["--sessions"])
    assert turns == [("plain", "--sessions"), ("ours", "--sessions")] * 3
    assert {name: timing.seconds for name, timing in fastest.items()} == {"plain": 7.0, "ours": 1.0}


def test_contestants_score_the_same_and_the_ceiling_computes_without_scoring(tiny_llama_dir: Path) -> None:
    model = in_float32(tiny_llama_dir)
    tokenizer = load_tokenizer(model)
    encodings = [encode(f"{i}. " + "You choose <<J>>. You win. " * 8, tokenizer) for i in range(3)]
    plain, ours, ceiling = (time_scoring(name, model, encodings) for name in ("plain", "ours", "ceiling"))
    assert len(plain.nll) == len(ours.nll) == 24
    assert largest_difference(plain, ours) < 1e-4
    assert ceiling.nll == []
    assert plain.tokens == ours.tokens == ceiling.tokens == sum(len(e.input_ids_T) for e in encodings)
    assert min(timing.seconds for timing in (plain, ours, ceiling)) > 0


def test_a_peer_is_asked_for_responses_of_all_lengths_of_history(tmp_path: Path) -> None:
    prompts = [session_prompt("a <<J>> b <<F>> c"), session_prompt("d <<K>>")]
    assert requests_of(prompts, 2) == [("a <<", "J"), ("d <<", "K")]
    assert requests_of(prompts, 9) == [("a <<", "J"), ("a <<J>> b <<", "F"), ("d <<", "K")]


@pytest.mark.parametrize(
    ("options", "said"),
    [(["harness"], "'harness'; choose of lm-eval, minicons"), (["minicons", "--train", "true"], "score alone")],
)
def test_peers_that_cannot_be_timed_are_refused(options: list[str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        parse_arguments([BenchmarkArguments], None, ["--output_dir", "out", "--peers", *options])


def test_options_reach_the_process_of_a_contestant() -> None:
    typed = ["--output_dir", "out", "--peers", "lm-eval", "minicons", "--requests", "3"]
    (asked,) = parse_arguments([BenchmarkArguments], None, typed)
    assert as_typed(asked) == typed
    (plain,) = parse_arguments([BenchmarkArguments], None, typed[:2])
    assert as_typed(plain) == typed[:2]


def test_a_peer_that_is_not_installed_is_named(tiny_llama_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "minicons", None)
    with pytest.raises(UserError, match="pip install minicons"):
        time_peer("minicons", named(tiny_llama_dir), [session_prompt("a <<J>>")], 1)


@pytest.mark.slow
@pytest.mark.parametrize(("peer", "module"), [("lm-eval", "lm_eval"), ("minicons", "minicons")])
def test_a_peer_gives_the_nlls_of_ours(peer: str, module: str, tiny_gemma_dir: Path) -> None:
    pytest.importorskip(module)
    model = in_float32(tiny_gemma_dir)
    text = "You see a cat. " + "".join(f"Trial {i}: you press <<{'JF'[i % 2]}>>. " for i in range(12))
    theirs = time_peer(peer, model, [session_prompt(text)], 12)
    ours = time_scoring("ours", model, [encode(text, load_tokenizer(model))])
    assert len(theirs.nll) == 12
    assert theirs.nll == pytest.approx(ours.nll, abs=1e-4)
