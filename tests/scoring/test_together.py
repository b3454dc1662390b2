"""Sessions that share a pass get the scores that each gets alone, or are scored alone."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch.profiler import ProfilerActivity, profile
from transformers import AutoModelForCausalLM, AutoTokenizer

from centaurlab.models.self_check import SelfCheck
from centaurlab.prompts.encoding import Encoding, encode
from centaurlab.runtime.errors import UserError
from centaurlab.scoring import scorer as scorer_module
from centaurlab.scoring import worker as worker_module
from centaurlab.scoring.arguments import ScoreArguments
from centaurlab.scoring.options import ResponseOptions
from centaurlab.scoring.responses import NonFiniteError
from centaurlab.scoring.scorer import ScoredSession, SessionScorer
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
    """As on a GPU: the model attends in PyTorch's way."""
    folder = tiny_llama_dir if request.param == "llama" else tiny_gemma_dir
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    encodings = [encode(bandit(person, n, ANSWERS, n_instructions=8), tokenizer) for person, n in enumerate((12, 3, 9))]
    batch = [(e, choices(e, [5 + i, 9], [7])) for i, e in enumerate(encodings)]
    return SessionScorer(model, check=SelfCheck(True, True, True, None, packed=True)), batch


def test_sessions_that_share_a_pass_get_the_scores_of_each_alone(scorer_and_batch: tuple[SessionScorer, Batch]) -> None:
    scorer, batch = scorer_and_batch
    together = scorer.score_together(batch)
    for (encoding, own), scored in zip(batch, together, strict=True):
        alone = scorer.score(encoding, (), own)
        assert scored.n_computed == alone.n_computed
        for name, column in vars(alone.scores).items():
            np.testing.assert_allclose(vars(scored.scores)[name], column, atol=1e-5, err_msg=name)


def test_a_batch_is_one_pass_and_one_transfer(
    scorer_and_batch: tuple[SessionScorer, Batch], monkeypatch: pytest.MonkeyPatch
) -> None:
    scorer, batch = scorer_and_batch
    transfers: list[torch.Tensor] = []
    to_cpu = torch.Tensor.cpu
    monkeypatch.setattr(torch.Tensor, "cpu", lambda tensor: transfers.append(tensor) or to_cpu(tensor))

    def launches(batches: Sequence[Batch]) -> int:
        with profile(activities=[ProfilerActivity.CPU]) as profiled:
            for one in batches:
                scorer.score_together(one)
        return sum(event.count for event in profiled.key_averages() if event.key.startswith("aten::"))

    alone = launches([[one] for one in batch])
    assert len(transfers) == len(batch)
    transfers.clear()
    together = launches([batch])
    assert len(transfers) == 1
    assert together < alone / 2  # there are three


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
