"""Every way in which a model may be fed, and a plain loop over whole sequences to hold them against."""

from collections.abc import Iterator, Sequence

import numpy as np
import pytest
import torch
from transformers import PreTrainedModel

from centaurlab.models.self_check import SelfCheck
from centaurlab.prompts.encoding import Encoding, encode
from centaurlab.scoring import scorer as scoring
from centaurlab.scoring.options import ResponseOptions
from centaurlab.scoring.scorer import SessionScorer
from centaurlab.training.trainer import SessionCollator, sequence_nll
from helpers.architectures import byte_tokenizer

LARGEST_DIFFERENCE = 1.2e-4
"""In nats."""

OF_ROUNDING = 1e-5
"""In nats, likewise: of passes that differ in nothing but the order of sums."""

_INSTRUCTIONS = "You will see two slot machines, J and F, and win or lose points with each of them, many times. "


def encoded_sessions() -> list[Encoding]:
    """A long one, and three of one beginning; all but one longer than a LongRoPE's short part."""
    tokenizer = byte_tokenizer()
    long = "".join(f"You choose <<{'JF'[i % 3 // 2]}>> and win {i % 7}. " for i in range(12))
    short = [_INSTRUCTIONS * 2 + f"You are {i}. You choose <<{'JF'[i % 2]}>>. You choose <<left>>." for i in range(3)]
    return [encode(text, tokenizer) for text in (long, "You choose <<J>>, then <<F>>, then <<J>>.", *short)]


def plain_nll(model: PreTrainedModel, encoding: Encoding) -> Iterator[float]:
    """NLLs by a pass over the whole text."""
    ids_T = torch.from_numpy(encoding.input_ids_T.astype(np.int64))
    with torch.inference_mode():
        log_p_TV = model(ids_T[None]).logits[0].float().log_softmax(-1)
    for start, end in zip(encoding.start_R.tolist(), encoding.end_R.tolist(), strict=True):
        yield -sum(log_p_TV[t - 1, ids_T[t]].item() for t in range(start, end))


def check_scores(
    model: PreTrainedModel, chunk_tokens: int | None, check: SelfCheck | None, sessions: Sequence[Encoding],
    expected: Sequence[np.ndarray],
) -> None:  # fmt: skip
    """Score with a new scorer, the sessions after the first two (or one of three) by their shared beginning."""
    scorer = SessionScorer(model, chunk_tokens, check)
    n_alone = min(2, len(sessions) - 2)
    beginning = [_shared_beginning(sessions[n_alone:])]
    for number, (encoding, nll_R) in enumerate(zip(sessions, expected, strict=True)):
        found_R = scorer.score(encoding, beginning if number >= n_alone else []).scores.nll_R
        np.testing.assert_allclose(found_R, nll_R, atol=LARGEST_DIFFERENCE, rtol=0)


def check_packed(model: PreTrainedModel, check: SelfCheck, sessions: Sequence[Encoding]) -> None:
    """Score sessions in one pass and each alone: in float32 no more than rounding tells them apart."""
    scorer = SessionScorer(model, check=check)
    batch = [(encoding, _no_options(len(encoding.start_R))) for encoding in sessions]
    batch = [one for one in batch if scorer.can_be_packed(*one)]
    for (encoding, _), scored in zip(batch, scorer.score_together(batch), strict=True):
        alone = scorer.score(encoding).scores
        np.testing.assert_allclose(scored.scores.nll_R, alone.nll_R, atol=OF_ROUNDING, rtol=0)


def as_on_a_gpu(patch: pytest.MonkeyPatch) -> None:
    """Take the code path of a GPU: long chunks, the model's own attention (if ``check_scores`` gets a check)."""
    patch.setattr(scoring, "best_chunk", lambda _: scoring.WHOLE_SEQUENCE_TOKENS)


def check_losses(
    model: PreTrainedModel, check: SelfCheck, sessions: Sequence[Encoding], expected: Sequence[np.ndarray]
) -> None:
    """Compare what is trained on: packed into one row where the check allows it, else in a batch with padding."""
    rows = [_example(encoding) for encoding in sessions]
    by_length = check.is_whole_by_length(max(len(row["input_ids"]) for row in rows))
    ways = [[SessionCollator(0)([row]) for row in rows] if by_length else [SessionCollator(0)(rows)]]
    if check.packed and not by_length:
        ways.append([SessionCollator(0, padding_free=True)(rows)])
    for batches in ways:
        with torch.no_grad():
            found = sum(sequence_nll(model, batch).sum().item() for batch in batches)
        assert found == pytest.approx(sum(nll_R.sum() for nll_R in expected), abs=1e-3)


def _no_options(n_responses: int) -> ResponseOptions:
    return ResponseOptions(np.empty(0, np.int32), np.zeros((n_responses, 0), bool), np.zeros(n_responses, np.int32))


def _shared_beginning(sessions: Sequence[Encoding]) -> int:
    columns = zip(*(encoding.input_ids_T.tolist() for encoding in sessions), strict=False)
    return next(i for i, column in enumerate(columns) if len(set(column)) > 1)


def _example(encoding: Encoding) -> dict[str, list[int]]:
    """Labels at response tokens alone."""
    ids = encoding.input_ids_T.tolist()
    answered = {t for s, e in zip(encoding.start_R, encoding.end_R, strict=True) for t in range(s, e)}
    return {"input_ids": ids, "labels": [token if t in answered else -100 for t, token in enumerate(ids)]}
