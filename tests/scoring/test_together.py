"""Sessions that share a pass get the scores that each gets alone, or are scored alone."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tag
from torch.nn.functional import scaled_dot_product_attention
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import AttentionInterface, AttentionMaskInterface, AutoModelForCausalLM, AutoTokenizer

from centaurlab.models.self_check import SelfCheck
from centaurlab.prompts.encoding import Encoding, encode
from centaurlab.runtime.errors import UserError
from centaurlab.scoring import scorer as scorer_module
from centaurlab.scoring import worker as worker_module
from centaurlab.scoring.arguments import ScoreArguments
from centaurlab.scoring.options import ResponseOptions
from centaurlab.scoring.responses import NonFiniteError
from centaurlab.scoring.scorer import WHOLE_SEQUENCE_TOKENS, ScoredSession, SessionScorer
from helpers.commands import centaurlab
from helpers.json_files import run_json
from helpers.score_runs import options
from helpers.transcripts import bandit, write_bandits

ANSWERS = ("J", "F", "-3", "très bien", "左 🙂")
Batch = Sequence[tuple[Encoding, ResponseOptions]]
SHORT = ("--no_long_options",)  # of which the tiny vocabulary makes many


def choices(encoding: Encoding, *token_sets: Sequence[int]) -> ResponseOptions:
    """Options of one token, those of ``token_sets`` in turn."""
    ids_O = np.unique(np.concatenate([*token_sets, encoding.input_ids_T[encoding.start_R]])).astype(np.int32)
    is_option_RO = np.zeros((len(encoding.start_R), len(ids_O)), bool)
    for r, start in enumerate(encoding.start_R):
        own = [*token_sets[r % len(token_sets)], encoding.input_ids_T[start]]
        is_option_RO[r, np.searchsorted(ids_O, own)] = True
    return ResponseOptions(ids_O, is_option_RO, is_option_RO.sum(1).astype(np.int32))


@pytest.fixture(params=["llama", "gemma"], scope="module")
def scorer_and_batch(
    request: pytest.FixtureRequest, tiny_llama_dir: Path, tiny_gemma_dir: Path
) -> tuple[SessionScorer, Batch]:
    """As on a GPU: the model attends in PyTorch's way, to long chunks."""
    folder = tiny_llama_dir if request.param == "llama" else tiny_gemma_dir
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    encodings = [encode(bandit(person, n, ANSWERS, n_instructions=8), tokenizer) for person, n in enumerate((24, 3, 9))]
    batch = [(e, choices(e, [5 + i, 9], [7])) for i, e in enumerate(encodings)]
    check = SelfCheck(True, True, True, None, packed=True)
    return SessionScorer(model, WHOLE_SEQUENCE_TOKENS, check), batch


def test_sessions_that_share_a_pass_get_the_scores_of_each_alone(scorer_and_batch: tuple[SessionScorer, Batch]) -> None:
    scorer, batch = scorer_and_batch
    together = scorer.score_together(batch)
    for (encoding, own), scored in zip(batch, together, strict=True):
        alone = scorer.score(encoding, (), own)
        assert scored.n_computed == alone.n_computed
        for name, column in vars(alone.scores).items():
            np.testing.assert_allclose(vars(scored.scores)[name], column, atol=1e-5, err_msg=name)


class Counted(TorchDispatchMode):
    """What a GPU would launch, and what its host would have to wait for: each operation but views, each look at values.

    Beside these it waits for transfers back, which are ``Tensor.cpu``.
    """

    def __init__(self) -> None:
        super().__init__()
        self.launches = self.waits = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        is_view = any(one.alias_info and not one.alias_info.is_write for one in func._schema.returns)
        self.launches += not is_view
        if func is torch.ops.aten.index.Tensor:  # by numbers, or by what is true: how many are, the host has to know
            self.waits += any(one is not None and one.dtype == torch.bool for one in args[1])
        else:
            tags = {Tag.data_dependent_output, Tag.dynamic_output_shape} & set(func.tags)
            self.waits += bool(tags) or func is torch.ops.aten.is_nonzero.default
        return func(*args, **(kwargs or {}))


def counted(monkeypatch: pytest.MonkeyPatch, score: Callable[[], object]) -> tuple[int, int]:
    """Launches, and waits of the host."""
    transfers: list[torch.Tensor] = []
    to_cpu = torch.Tensor.cpu
    with Counted() as count, monkeypatch.context() as patch:
        patch.setattr(torch.Tensor, "cpu", lambda tensor: transfers.append(tensor) or to_cpu(tensor))
        score()
    return count.launches, count.waits + len(transfers)


def test_a_batch_launches_a_quarter_per_token_and_the_host_waits_twice_at_most(
    scorer_and_batch: tuple[SessionScorer, Batch], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of eight sessions of 500 tokens, as they fit on a GPU by default."""
    scorer, [(encoding, own), *_] = scorer_and_batch
    assert 480 < len(encoding.input_ids_T) <= 512
    alone, _ = counted(monkeypatch, lambda: [scorer.score(encoding, (), own) for _ in range(8)])
    together, waits = counted(monkeypatch, lambda: scorer.score_together([(encoding, own)] * 8))
    assert waits <= 2
    assert together <= alone / 4


def in_segments(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    *_: Any,
    scaling: float,
    cu_seq_lens_q: torch.Tensor | None = None,
    **told: Any,
) -> tuple[torch.Tensor, None]:
    """Attention of whatever it is told are sequences; as FlashAttention, it does not look for them then."""
    ends = [0, query.shape[2]] if cu_seq_lens_q is None else cu_seq_lens_q.tolist()
    assert cu_seq_lens_q is None or max(np.diff(ends)) == told["max_length_q"] == told["max_length_k"]
    parts = [
        scaled_dot_product_attention(
            *(one[:, :, start:end] for one in (query, key, value)), is_causal=True, scale=scaling, enable_gqa=True
        )
        for start, end in pairwise(ends)
    ]
    return torch.cat(parts, 2).transpose(1, 2), None


def test_flash_attention_is_told_where_sessions_end(tiny_llama_dir: Path) -> None:
    AttentionInterface.register("flash_in_segments", in_segments)
    AttentionMaskInterface.register("flash_in_segments", lambda *_, **__: None)
    model = AutoModelForCausalLM.from_pretrained(tiny_llama_dir, dtype=torch.float32).eval()
    model.config._attn_implementation = "flash_in_segments"  # without a look for the kernels
    scorer = SessionScorer(model, WHOLE_SEQUENCE_TOKENS, SelfCheck(True, True, True, None, packed=True))
    tokenizer = AutoTokenizer.from_pretrained(tiny_llama_dir)
    encodings = [encode(bandit(person, n, ANSWERS), tokenizer) for person, n in enumerate((2, 5, 3))]
    batch = [(encoding, choices(encoding, [5])) for encoding in encodings]
    for (encoding, own), scored in zip(batch, scorer.score_together(batch), strict=True):
        np.testing.assert_allclose(scored.scores.nll_R, scorer.score(encoding, (), own).scores.nll_R, atol=1e-5)


class Broken:
    """A scorer in the place of which memory runs out, or a number is not finite, where sessions share a pass."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.n_calls = 0

    def __call__(self, scorer: SessionScorer, batch: Batch) -> list[ScoredSession]:
        self.n_calls += 1
        raise self.error


def nlls(folder: Path) -> pd.DataFrame:
    table = pd.read_parquet(folder / "scores.parquet", columns=["participant", "response", "nll", "option_nll"])
    return table.sort_values(["participant", "response"], ignore_index=True)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bandits(tmp_path_factory.mktemp("data") / "data.jsonl", 9, n_trials=4)


@pytest.fixture(scope="module")
def alone(data: Path, tiny_llama_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    folder = tmp_path_factory.mktemp("alone")
    assert centaurlab("score", *options(tiny_llama_dir, data, folder, "--deterministic", *SHORT)).returncode == 0
    return nlls(folder)


def notes(folder: Path) -> str:
    return "\n".join(run_json(folder)["notes"])


@pytest.mark.usefixtures("offline")
def test_a_command_says_how_far_sharing_a_pass_moves_an_nll(
    data: Path, alone: pd.DataFrame, tiny_llama_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    own = SessionScorer.score_together
    monkeypatch.setattr(
        scorer_module.SessionScorer, "score_together", lambda s, batch: sizes.append(len(batch)) or own(s, batch)
    )
    assert (
        centaurlab(
            "score", *options(tiny_llama_dir, data, tmp_path / "run", "--batch_tokens", "1000", *SHORT)
        ).returncode
        == 0
    )
    assert sizes
    assert max(sizes) > 1
    pd.testing.assert_frame_equal(nlls(tmp_path / "run"), alone, atol=1e-5, rtol=0)
    assert "self-check: sharing a pass moves an NLL by" in notes(tmp_path / "run")
    assert "responses of" in notes(tmp_path / "run")


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("error", [torch.OutOfMemoryError("full"), NonFiniteError("a NaN")])
def test_where_a_batch_fails_its_sessions_are_scored_alone(
    error: Exception,
    data: Path,
    alone: pd.DataFrame,
    tiny_llama_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    broken = Broken(error)
    monkeypatch.setattr(scorer_module.SessionScorer, "score_together", lambda s, batch: broken(s, batch))
    assert (
        centaurlab(
            "score", *options(tiny_llama_dir, data, tmp_path / "run", "--batch_tokens", "1000", *SHORT)
        ).returncode
        == 0
    )
    assert broken.n_calls
    pd.testing.assert_frame_equal(nlls(tmp_path / "run"), alone, atol=1e-5, rtol=0)


@pytest.mark.usefixtures("offline")
def test_where_sharing_moves_an_nll_too_far_no_session_shares(
    data: Path, alone: pd.DataFrame, tiny_llama_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "_PACKING_TOLERANCE", -1.0)
    assert (
        centaurlab(
            "score", *options(tiny_llama_dir, data, tmp_path / "run", "--batch_tokens", "1000", *SHORT)
        ).returncode
        == 0
    )
    assert "so sessions are computed one after another" in notes(tmp_path / "run")
    pd.testing.assert_frame_equal(nlls(tmp_path / "run"), alone, atol=1e-5, rtol=0)


def test_batches_are_asked_for_or_refused() -> None:
    assert ScoreArguments("out", deterministic=True).batch_tokens == 0
    with pytest.raises(UserError, match="exclude each other"):
        ScoreArguments("out", deterministic=True, batch_tokens=100)
    with pytest.raises(UserError, match="--batch_tokens is -1"):
        ScoreArguments("out", batch_tokens=-1)
