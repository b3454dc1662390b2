"""A stand-in for vLLM 0.33, which needs a torch of its own: its signatures and checks, computed by transformers.

Names, defaults and what is refused are as in its source (``entrypoints/llm.py``, ``sampling_params.py``,
``v1/engine/input_processor.py``, ``outputs.py``); what is not called by us is not here.
"""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

ENGINE_ARGUMENTS = {"enable_prefix_caching", "generation_config", "max_logprobs", "max_model_len"}
"""Of ``EngineArgs``, which ``LLM`` takes as further keywords."""


def install(folder: Path, monkeypatch: pytest.MonkeyPatch, version: str = "0.33.0") -> None:
    """Make ``import vllm`` find this, with a version as pip would note it."""
    (folder / "vllm").mkdir(parents=True)
    (folder / "vllm" / "__init__.py").write_text(
        "from helpers.vllm_standin import LLM, SamplingParams, TokensPrompt\n", encoding="utf-8"
    )
    about = folder / f"vllm-{version}.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.4\nName: vllm\nVersion: {version}\n", encoding="utf-8")
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, "vllm", raising=False)
    monkeypatch.setenv("VLLM_USE_V2_MODEL_RUNNER", "1")


class EngineDeadError(Exception):
    """As vLLM's (``v1/engine/exceptions.py``), which is no RuntimeError: the engine's process has died."""


class TokensPrompt(dict[str, list[int]]):
    """A tokenized prompt."""

    def __init__(self, *, prompt_token_ids: list[int]) -> None:
        super().__init__(prompt_token_ids=prompt_token_ids)


@dataclass(kw_only=True)
class SamplingParams:
    """What is asked for a prompt."""

    temperature: float = 1.0
    max_tokens: int | None = 16
    prompt_logprobs: int | None = None
    prompt_logprob_token_ids: np.ndarray | None = None
    prompt_logprob_start: int | None = None
    flat_logprobs: bool = False
    detokenize: bool = True


@dataclass
class Logprob:
    """A log-probability with its rank, of which ties get the last."""

    logprob: float
    rank: int | None = None


@dataclass
class RequestOutput:
    """What comes back for a prompt."""

    prompt_logprobs: list[dict[int, Logprob] | None] | None
    prompt_token_id_logprobs: np.ndarray | None


class LLM:
    """A model; ``shift`` is added to its first logit, as an engine that computes something else would."""

    shift = 0.0
    started: list["LLM"] = []  # noqa: RUF012

    def __init__(
        self,
        model: str,
        *,
        skip_tokenizer_init: bool = False,
        trust_remote_code: bool = False,
        tensor_parallel_size: int = 1,
        dtype: str = "auto",
        gpu_memory_utilization: float = 0.92,
        **kwargs: object,
    ) -> None:
        assert kwargs.keys() <= ENGINE_ARGUMENTS, kwargs
        assert skip_tokenizer_init
        assert kwargs["enable_prefix_caching"] is False
        assert gpu_memory_utilization <= 0.85
        self.tensor_parallel_size = tensor_parallel_size
        self.model = AutoModelForCausalLM.from_pretrained(model, dtype=getattr(torch, dtype)).eval()
        self.max_model_len = int(str(kwargs["max_model_len"]))
        if self.max_model_len > self.model.config.max_position_embeddings:
            raise ValueError(f"User-specified max_model_len ({self.max_model_len}) is greater than the derived one")
        self.requests: list[int] = []
        LLM.started.append(self)

    def generate(
        self, prompts: Sequence[TokensPrompt], sampling_params: Sequence[SamplingParams], *, use_tqdm: bool = True
    ) -> list[RequestOutput]:
        """Answer prompts in their order."""
        self.requests.append(len(prompts))
        return [self._answer(p["prompt_token_ids"], s) for p, s in zip(prompts, sampling_params, strict=True)]

    @torch.inference_mode()
    def _answer(self, ids: list[int], asked: SamplingParams) -> RequestOutput:
        assert os.environ["VLLM_USE_V2_MODEL_RUNNER"] == "1"
        assert asked.temperature == 0
        if len(ids) >= self.max_model_len:
            raise ValueError(f"The decoder prompt (length {len(ids)}) plus the number of requested output tokens …")
        wanted, start = asked.prompt_logprob_token_ids, asked.prompt_logprob_start
        assert wanted is not None
        assert start is not None
        if not (wanted.dtype == np.int32 and wanted.ndim == 2 and len(wanted) == len(ids) - 1 - start):
            raise ValueError(f"prompt_logprob_token_ids has {len(wanted)} rows, of {len(ids) - 1 - start}")
        if wanted.min() < -1 or wanted.max() >= self.model.config.vocab_size:
            raise ValueError("prompt_logprob_token_ids contain out-of-vocab token ids")
        logits_TV = self.model(torch.tensor([ids])).logits[0].float()
        logits_TV[:, 0] += LLM.shift
        log_p_TV = logits_TV.log_softmax(-1).numpy()
        rows = log_p_TV[start : len(ids) - 1]
        scores = np.where(wanted < 0, -np.inf, np.take_along_axis(rows, wanted.clip(0).astype(np.int64), 1))
        said: list[dict[int, Logprob] | None] = [None]
        for at, token in enumerate(ids[1:]):
            best = int(log_p_TV[at].argmax())
            rank = int((log_p_TV[at] >= log_p_TV[at, token]).sum())
            own = {token: Logprob(float(log_p_TV[at, token]), rank)}
            said.append(own | {best: Logprob(float(log_p_TV[at, best]), 1)})
        return RequestOutput(said, scores.astype(np.float32))
