"""Scoring by tools that send a request per response, each with its whole history: lm-eval and minicons.

They are no dependencies of ours; where they are installed, the benchmark times them through their public functions.
"""

import importlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from centaurlab.prompts.prompt import Prompt
from centaurlab.runtime.errors import UserError

Scores = Callable[[Sequence[tuple[str, str]]], list[float]]
"""Log-probabilities, in nats, of continuations of contexts."""


def _lm_eval(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> Scores:
    harness = _installed("lm_eval.models.huggingface", "lm-eval")
    instance = _installed("lm_eval.api.instance", "lm-eval").Instance
    wrapped = harness.HFLM(pretrained=model, tokenizer=tokenizer, backend="causal", batch_size=1)

    def score(requests: Sequence[tuple[str, str]]) -> list[float]:
        asked = [instance("loglikelihood", {}, request, i) for i, request in enumerate(requests)]
        return [float(log_p) for log_p, _ in wrapped.loglikelihood(asked, disable_tqdm=True)]

    return score


def _minicons(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> Scores:
    scorer = _installed("minicons.scorer", "minicons").IncrementalLMScorer(model, str(model.device), tokenizer)

    def score(requests: Sequence[tuple[str, str]]) -> list[float]:
        return [
            scorer.conditional_score([context], [answer], separator="", reduction=lambda x: float(x.sum()))[0]
            for context, answer in requests
        ]

    return score


SCORERS: dict[str, Callable[[PreTrainedModel, PreTrainedTokenizerBase], Scores]] = {
    "lm-eval": _lm_eval,
    "minicons": _minicons,
}
"""Of each of ``arguments.PEERS``."""


def spread(n_responses: int, n_requests: int) -> list[int]:
    """At most ``n_requests`` of so many responses, evenly spread: early ones have short histories, late ones long."""
    return [int(i) for i in np.unique(np.linspace(0, n_responses - 1, min(n_requests, n_responses)).round())]


def requests_of(prompts: Sequence[Prompt], n_requests: int) -> list[tuple[str, str]]:
    """The history of each chosen response, and the response."""
    asked = [(p.text[: r.start], p.text[r.start : r.end]) for p in prompts for r in p.responses]
    return [asked[i] for i in spread(len(asked), n_requests)]


def _installed(module: str, package: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UserError(f"--peers {package}: {error}; pip install {package}") from error
