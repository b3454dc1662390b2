"""Memory that does not suffice for one session: smaller chunks, then its name; the others are scored."""

import json
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow.parquet as pq
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM, PreTrainedModel

from centaurlab.jobs import score as allocator
from centaurlab.prompts.encoding import Encoding, encode
from centaurlab.scoring import worker as module
from centaurlab.scoring.responses import SessionError
from centaurlab.scoring.scorer import SessionMemoryError, SessionScorer
from helpers.json_files import run_json
from helpers.score_runs import command, ended, n_stored, start, table_bytes
from helpers.tiny_models import byte_level_bpe
from helpers.transcripts import bandit, write_bandits, write_transcripts

pytestmark = pytest.mark.usefixtures("offline")

ERRORS = {
    "gpu": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    "cpu": RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."),
    "python": MemoryError(),
}


@pytest.fixture(scope="module")
def model(tiny_gemma_dir: Path) -> PreTrainedModel:
    return AutoModelForCausalLM.from_pretrained(tiny_gemma_dir, dtype=torch.float32).eval()


@pytest.fixture(scope="module")
def encoding(tiny_gemma_dir: Path) -> Encoding:
    return encode(bandit(0, n_trials=8), AutoTokenizer.from_pretrained(tiny_gemma_dir))


@contextmanager
def failing_above(model: PreTrainedModel, n_tokens: int, error: Exception) -> Iterator[list[int]]:
    """The model raises ``error`` for more tokens at once; yields the sizes that it was asked for."""
    asked: list[int] = []

    def check(_module: torch.nn.Module, _: tuple[()], arguments: dict[str, torch.Tensor]) -> None:
        asked.append(arguments["input_ids"].shape[1])
        if asked[-1] > n_tokens:
            raise error

    hook = model.register_forward_pre_hook(check, with_kwargs=True)
    yield asked
    hook.remove()


@pytest.mark.parametrize("kind", ERRORS)
def test_a_session_is_scored_in_smaller_chunks_where_memory_runs_out(
    kind: str, model: PreTrainedModel, encoding: Encoding
) -> None:
    scorer = SessionScorer(model, chunk_tokens=128)
    expected = SessionScorer(model, chunk_tokens=128).score(encoding)
    with failing_above(model, 16, ERRORS[kind]) as asked:
        scored = scorer.score(encoding)
    assert (expected.n_out_of_memory, scored.n_out_of_memory) == (0, 2)
    assert len(encoding.input_ids_T) > 128
    assert [size > 32 for size in asked[:2]] == [True, False]
    assert max(asked[2:]) <= 8
    np.testing.assert_allclose(scored.scores.nll_R, expected.scores.nll_R, atol=1e-4)
    again = scorer.score(encoding)
    assert again.scores.nll_R.tobytes() == expected.scores.nll_R.tobytes(), "the next session is as ever"
    assert again.n_out_of_memory == 0


def test_a_prefix_that_was_kept_for_neighbours_makes_room(model: PreTrainedModel, encoding: Encoding) -> None:
    """The copy of the cache is dropped, and the next neighbour computes the prefix anew, to the same bits."""
    shared = [int(encoding.start_R[0]) - 1]
    expected = SessionScorer(model, chunk_tokens=128).score(encoding, shared)
    scorer = SessionScorer(model, chunk_tokens=128)
    scorer.score(encoding, shared)
    with failing_above(model, 40, ERRORS["gpu"]):
        assert scorer.score(encoding, shared).n_out_of_memory == 1
    again = scorer.score(encoding, shared)
    assert again.scores.nll_R.tobytes() == expected.scores.nll_R.tobytes()
    assert again.n_computed == encoding.end_R[-1] - 1


def test_the_record_says_how_many_sessions_were_computed_in_smaller_chunks(
    tmp_path: Path, tiny_llama_dir: Path
) -> None:
    """Also that of a later command, which finds them in the store."""

    def little_room() -> None:
        load_model = module.load_model

        def load(*asked: Any) -> PreTrainedModel:
            model = load_model(*asked)
            failing_above(model, 128, ERRORS["python"]).__enter__()
            return model

        module.load_model = load

    people = [
        {"text": bandit(i, n), "study": "s", "experiment": "e", "participant": i} for i, n in enumerate((20, 20, 1))
    ]
    data, run = write_transcripts(tmp_path / "data.jsonl", people), tmp_path / "run"
    for prepare in (little_room, lambda: None):
        assert ended(start(command(tiny_llama_dir, data, run), prepare=prepare)) == 0
        assert "memory ran out for 2 sessions at first, computed in smaller chunks then" in run_json(run)["notes"]


@pytest.mark.parametrize("kind", ERRORS)
def test_a_session_that_fits_in_no_chunk_is_told_from_other_errors(
    kind: str, model: PreTrainedModel, encoding: Encoding
) -> None:
    scorer = SessionScorer(model, chunk_tokens=128)
    with (
        failing_above(model, 0, ERRORS[kind]) as asked,
        pytest.raises(SessionMemoryError, match=r"even in chunks of 8 .*--load_in_4bit"),
    ):
        scorer.score(encoding)
    assert len(asked) == 3
    with failing_above(model, 0, RuntimeError("shapes differ")), pytest.raises(SessionError, match="shapes differ"):
        scorer.score(encoding)


# Attention heads so large that a long session's keys and values alone take 64 kB a token, at 8 MB of weights.
WIDE = {"num_attention_heads": 64, "num_key_value_heads": 64, "head_dim": 128}
ROOM_BYTES = 100 << 20


@pytest.fixture(scope="module")
def wide_llama_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wide")
    tokenizer = byte_level_bpe(["<pad>", "<|end|>"], bos=None)
    size = {"vocab_size": len(tokenizer), "hidden_size": 64, "intermediate_size": 32, "num_hidden_layers": 1}
    ends = {"pad_token_id": 0, "bos_token_id": None, "eos_token_id": 1}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = LlamaConfig(**size, **WIDE, **ends, max_position_embeddings=16_384, initializer_range=0.3)
        LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def little_memory() -> None:
    """While the model computes, the process may take ``ROOM_BYTES`` of address space more than it had at first."""
    load_model = module.load_model
    limits: list[int] = []

    def limit(*_: object) -> None:
        if not limits:
            limits.append(psutil.Process().memory_info().vms + ROOM_BYTES)
        resource.setrlimit(resource.RLIMIT_AS, (limits[0], resource.RLIM_INFINITY))

    def lift(*_: object) -> None:
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

    def load_and_limit(*asked: Any) -> PreTrainedModel:
        model = load_model(*asked)
        model.register_forward_pre_hook(limit)
        model.register_forward_hook(lift, always_call=True)
        return model

    module.load_model = load_and_limit
    allocator.keep_freed_memory = lambda: None  # or 256 MiB of its heap are room as well


# Not among the slow ones, which one process runs: what it forks inherits the room in its heap.
def test_the_kernel_gives_no_memory_for_one_session_and_the_others_are_scored(
    tmp_path: Path, wide_llama_dir: Path
) -> None:
    data, run = write_bandits(tmp_path / "data.jsonl", 5), tmp_path / "run"
    long = {"text": bandit(9, n_trials=150), "study": "study1", "experiment": "exp1.csv", "participant": "long"}
    with data.open("a") as file:
        file.write(json.dumps(long) + "\n")
    argv = command(wide_llama_dir, data, run)
    assert ended(start(command(wide_llama_dir, data, tmp_path / "whole"))) == 0

    for attempt in range(2):  # the second tries the one that is missing, and keeps the rest
        assert ended(start(argv, tmp_path / "log", little_memory)) == 1
        log = (tmp_path / "log").read_text()
        (sentence,) = (row for row in log.splitlines() if row.startswith("error: "))
        assert "1 session could not be scored" in sentence
        assert f"{data}:6: participant 'long' of 'study1'" in sentence
        assert "can't allocate memory" in sentence
        assert "Traceback" not in log
        about = run_json(run)
        assert [reason.split(": ")[1] for reason in about["failed_sessions"]] == [f"{data}:6"]
        assert about["coverage"]["study0"]["failed"] == 0
        assert {name: about["coverage"]["study1"][name] for name in ("responses", "scored", "failed")} == {
            "responses": 160,
            "scored": 10,
            "failed": 150,
        }
        assert (about["speed"]["tokens_computed_now"] > 0) == (attempt == 0)
        assert n_stored(run) == 5
        whole = pq.read_table(tmp_path / "whole" / "scores.parquet").to_pylist()
        of_others = [row for row in whole if row["participant"] != "long"]
        assert pq.read_table(run / "scores.parquet").to_pylist() == of_others

    assert ended(start(argv)) == 0
    assert table_bytes(run) == table_bytes(tmp_path / "whole")
    assert run_json(run)["failed_sessions"] == []
