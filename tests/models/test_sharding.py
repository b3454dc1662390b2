"""Processes that have one model together give the scores of one that has it whole, and end together."""

import os
import signal
from collections.abc import Sequence
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from accelerate import PartialState

from centaurlab.models.arguments import ModelArguments
from centaurlab.models.loading import load_model
from centaurlab.models.shape import model_shape
from centaurlab.models.sharding import COMPARED, check_processes, is_divided
from centaurlab.runtime.errors import UserError
from centaurlab.scoring.scorer import SessionScorer
from helpers.adapters import save_adapter
from helpers.architectures import ARCHITECTURES, build, config_of, save
from helpers.commands import centaurlab
from helpers.feeding import OF_ROUNDING, encoded_sessions, plain_nll
from helpers.json_files import run_json
from helpers.score_runs import command, ended, n_stored, options, start, start_group
from helpers.servers import free_port
from helpers.transcripts import write_bandits

pytestmark = pytest.mark.usefixtures("offline")

TWO = ("--tensor_parallel", "2")
BY_TYPE = {config_of(name).model_type: name for name in reversed(ARCHITECTURES)}


def scores(folder: Path) -> pd.DataFrame:
    return pd.read_parquet(folder / "scores.parquet").drop(columns=["model"], errors="ignore")


def assert_alike(folder: Path, whole: Path) -> None:
    found, expected = scores(folder), scores(whole)
    numbers = expected.select_dtypes("floating").columns
    pd.testing.assert_frame_equal(found.drop(columns=numbers), expected.drop(columns=numbers))
    np.testing.assert_allclose(found[numbers], expected[numbers], atol=2e-5, rtol=0)


@pytest.mark.slow
def test_when_one_of_two_is_killed_both_end_and_the_next_command_completes(
    tmp_path: Path, tiny_llama_dir: Path
) -> None:
    data, run = write_bandits(tmp_path / "data.jsonl", 6), tmp_path / "run"
    assert ended(start(command(tiny_llama_dir, data, tmp_path / "whole"))) == 0

    def die_at_the_third() -> None:
        score, scored = SessionScorer.score_pieces, []

        def score_and_die(*arguments: object) -> object:
            scored.append(arguments)
            if len(scored) == 3:
                os.kill(os.getpid(), signal.SIGKILL)
            return score(*arguments)  # type: ignore[arg-type]

        SessionScorer.score_pieces = score_and_die  # type: ignore[method-assign, assignment]

    both = start_group(command(tiny_llama_dir, data, run, *TWO), tmp_path, 2, {1: die_at_the_third})
    assert [ended(child) for child in both] == [2, -signal.SIGKILL]
    assert "end with this one" in (tmp_path / "rank-0").read_text()
    assert not (run / "scores.parquet").exists()
    assert n_stored(run) == 2

    both = start_group(command(tiny_llama_dir, data, run, *TWO), tmp_path, 2, {})
    assert [ended(child) for child in both] == [0, 0]
    assert n_stored(run) == 6
    assert sorted(path.name for path in (run / "store").iterdir()) == ["identity.json", "process-0.sqlite"]
    assert_alike(run, tmp_path / "whole")


@pytest.mark.release
def test_two_groups_of_two_share_the_sessions(tmp_path: Path, tiny_llama_dir: Path) -> None:
    data, run = write_bandits(tmp_path / "data.jsonl", 8), tmp_path / "run"
    more = ("--batch_tokens", "600")
    assert ended(start(command(tiny_llama_dir, data, tmp_path / "whole"))) == 0
    four = start_group(command(tiny_llama_dir, data, run, *TWO, *more), tmp_path, 4, {})
    assert [ended(child) for child in four] == [0, 0, 0, 0], (tmp_path / "rank-0").read_text()
    assert n_stored(run, 0) == n_stored(run, 1) == 4
    assert_alike(run, tmp_path / "whole")
    speed = run_json(run)["speed"]
    assert speed["processes"] == 4
    assert speed["tokens_computed_now"] <= speed["tokens"] - speed["tokens_reused"], "each token counts once"


@pytest.mark.parametrize(
    "names",
    [
        pytest.param(("llama", "qwen3", "gemma3_text", "olmo3"), marks=pytest.mark.slow),
        pytest.param(sorted(COMPARED), marks=pytest.mark.release),
    ],
    ids=["four", "all"],
)
def test_an_architecture_that_may_be_divided_gives_a_plain_loop_s_nlls(tmp_path: Path, names: Sequence[str]) -> None:
    sessions = encoded_sessions()[:3]

    def score(rank: int, port: int) -> None:
        os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        torch.set_num_threads(1)
        PartialState._reset_state()
        PartialState(cpu=True)
        for name in names:
            model = load_model(ModelArguments(str(tmp_path / name), dtype="float32"), None, 2)
            assert is_divided(model)
            parts = [getattr(weights, "to_local", lambda whole=weights: whole)() for weights in model.parameters()]
            (tmp_path / f"{name}-{rank}.size").write_text(str(sum(part.numel() for part in parts)))
            scorer = SessionScorer(model, chunk_tokens=64)
            np.savez(tmp_path / f"{name}-{rank}", *[scorer.score(one, (5,)).scores.nll_R for one in sessions])

    for name in names:
        save(BY_TYPE[name], tmp_path / name)
    port = free_port()
    both = [get_context("fork").Process(target=score, args=(rank, port), daemon=True) for rank in range(2)]
    for child in both:
        child.start()
    for child in both:
        child.join(120)
        assert child.exitcode == 0
    for name in names:
        held = sum(int((tmp_path / f"{name}-{rank}.size").read_text()) for rank in range(2))
        assert held == 2 * model_shape(build(BY_TYPE[name]), 2).n_parameters, name
        first, second = (np.load(tmp_path / f"{name}-{rank}.npz") for rank in range(2))
        for one, nll_R, other_R in zip(sessions, first.values(), second.values(), strict=True):
            np.testing.assert_array_equal(nll_R, other_R)
            expected = list(plain_nll(build(BY_TYPE[name]), one))
            np.testing.assert_allclose(nll_R, expected, atol=OF_ROUNDING, rtol=0, err_msg=name)


def test_too_few_processes_are_one_sentence(tmp_path: Path, tiny_llama_dir: Path) -> None:
    data = write_bandits(tmp_path / "data.jsonl", 2)
    done = centaurlab("score", *options(tiny_llama_dir, data, tmp_path / "run", *TWO))
    assert "--tensor_parallel 2 needs 2 processes, or a multiple of it, and there is 1" in done.error
    assert not (tmp_path / "run").exists()
    check_processes(2, 4)
    with pytest.raises(UserError, match="there are 3"):
        check_processes(2, 3)


@pytest.mark.parametrize(
    ("name", "settings", "shards", "sentence"),
    [
        ("gpt2", {}, 2, r"its architecture \(gpt2\) has no plan"),
        ("lfm2", {}, 2, r"its architecture \(lfm2\) was not compared"),
        ("llama", {}, 4, "has 2 key-value heads, which --tensor_parallel 4 cannot share out"),
        ("llama", {}, 3, "has 4 attention heads"),
        ("llama", {"load_in_4bit": True}, 2, "are to be nf4"),
        ("llama", {"device_map": "auto"}, 2, "exclude each other"),
    ],
)
def test_what_cannot_be_divided_is_one_sentence(
    tmp_path: Path, name: str, settings: dict[str, object], shards: int, sentence: str
) -> None:
    model = ModelArguments(str(save(name, tmp_path)), **settings)  # type: ignore[arg-type]
    with pytest.raises(UserError, match=sentence):
        load_model(model, None, shards)


def test_an_adapter_is_to_be_merged_first(tmp_path: Path, tiny_llama_dir: Path) -> None:
    save_adapter(tiny_llama_dir, tmp_path)
    with pytest.raises(UserError, match=r"merge .* first"):
        load_model(ModelArguments(str(tmp_path)), None, 2)
