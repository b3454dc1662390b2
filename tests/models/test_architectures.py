"""Scores of tiny random models of many architectures, however they may be fed, equal a plain whole-sequence loop's.

The loop calls the model that transformers loads, without a cache, with its own attention, on one text at a time.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import pytest
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from centaurlab.models.self_check import BATCHES, self_check
from centaurlab.prompts.encoding import Encoding, encode
from centaurlab.scoring import scorer as scoring
from centaurlab.scoring.scorer import SessionError, SessionScorer
from centaurlab.training.trainer import SessionCollator, sequence_nll
from helpers.architectures import ARCHITECTURES, build, byte_tokenizer

FAST = ("llama", "gemma3", "gemma4", "mamba", "jamba", "phi3_longrope", "qwen3_5_text")
# With chunks of 16, transformers 5.24 fails on any remainder.
FAILS = "xlstm"
EVERY = [pytest.param(name, marks=() if name in FAST else pytest.mark.slow) for name in ARCHITECTURES]
COMPUTED = [parameter for parameter in EVERY if parameter.values != (FAILS,)]

INSTRUCTIONS = "You will see two slot machines, J and F, and win or lose points with each of them, many times. "
LARGEST_DIFFERENCE = 1.2e-4  # nats

LOSES_ITS_STATE = {
    *("mamba", "falcon_mamba", "rwkv", "xlstm", "recurrent_gemma", "jamba", "bamba", "minimax"),
}
DEPENDS_ON_LENGTH = {"phi3_longrope", "llama_dynamic_rope"}
NOT_PACKED = LOSES_ITS_STATE | {
    *("falcon_alibi", "qwen3_5_text", "qwen3_next", "opt", "bloom", "mpt", "gpt_oss", "mamba2", "zamba2", "falcon_h1"),
    *("granitemoehybrid", "nemotron_h", "lfm2", "kimi_linear", "olmo_hybrid"),
    *("qwen3_5", "qwen3_vl", "qwen2_5_vl"),
}


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return byte_tokenizer()


@pytest.fixture(scope="module")
def sessions(tokenizer: PreTrainedTokenizerFast) -> list[Encoding]:
    """A long one, and three of one beginning; all but one longer than a LongRoPE's short part."""
    long = "".join(f"You choose <<{'JF'[i % 3 // 2]}>> and win {i % 7}. " for i in range(12))
    short = [INSTRUCTIONS * 2 + f"You are {i}. You choose <<{'JF'[i % 2]}>>. You choose <<left>>." for i in range(3)]
    return [encode(text, tokenizer) for text in (long, "You choose <<J>>, then <<F>>, then <<J>>.", *short)]


def plain_nll(model: PreTrainedModel, encoding: Encoding) -> Iterator[float]:
    """NLLs by a pass over the whole text."""
    ids_T = torch.from_numpy(encoding.input_ids_T.astype(np.int64))
    with torch.inference_mode():
        log_p_TV = model(ids_T[None]).logits[0].float().log_softmax(-1)
    for start, end in zip(encoding.start_R.tolist(), encoding.end_R.tolist(), strict=True):
        yield -sum(log_p_TV[t - 1, ids_T[t]].item() for t in range(start, end))


def shared_beginning(sessions: Sequence[Encoding]) -> int:
    columns = zip(*(encoding.input_ids_T.tolist() for encoding in sessions), strict=False)
    return next(i for i, column in enumerate(columns) if len(set(column)) > 1)


@pytest.mark.parametrize("name", COMPUTED)
def test_every_way_of_feeding_that_is_used_gives_the_whole_sequence_s_scores(
    name: str, sessions: list[Encoding], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = [np.array(list(plain_nll(build(name), encoding))) for encoding in sessions]
    beginning = [shared_beginning(sessions[2:])]
    check = self_check(build(name))
    for on_gpu in (False, True):
        if on_gpu:  # the code path of one: long chunks, the model's own attention
            monkeypatch.setattr(scoring, "best_chunk", lambda _: scoring.WHOLE_SEQUENCE_TOKENS)
        for chunk_tokens in (None,) if on_gpu else (None, 64, 37):
            model = build(name)
            scorer = SessionScorer(model, chunk_tokens, None if not on_gpu else check)
            for encoding, nll_R in zip(sessions, expected, strict=True):
                shared = beginning if any(encoding is s for s in sessions[2:]) else []
                found_R = scorer.score(encoding, shared).scores.nll_R
                np.testing.assert_allclose(found_R, nll_R, atol=LARGEST_DIFFERENCE, rtol=0)


@pytest.mark.parametrize("name", EVERY)
def test_a_self_check_finds_what_an_architecture_cannot(name: str) -> None:
    check = self_check(build(name), also=BATCHES)
    assert check.causal
    assert check.chunks == check.prefixes == (name not in LOSES_ITS_STATE)
    assert check.packed == (name not in NOT_PACKED)
    assert check.whole_beyond == (150 if name in DEPENDS_ON_LENGTH else None)
    assert check.blocks is not False or name == "deepseek_v32"
    assert check.right_padded


@pytest.mark.parametrize("name", COMPUTED)
def test_what_is_trained_on_is_the_loss_of_each_session(name: str, sessions: list[Encoding]) -> None:
    """Packed into one row where the self-check allows it, else in a batch with padding."""
    model = build(name)
    check = self_check(model, also=BATCHES)
    examples = [example(encoding) for encoding in sessions]
    longest = max(len(e["input_ids"]) for e in examples)
    expected = sum(sum(plain_nll(build(name), encoding)) for encoding in sessions)
    rows = [dict(e) for e in examples]
    by_length = check.is_whole_by_length(longest)
    ways = [[SessionCollator(0)([row]) for row in rows] if by_length else [SessionCollator(0)(rows)]]
    if check.packed and not by_length:
        ways.append([SessionCollator(0, padding_free=True)(rows)])
    for batches in ways:
        with torch.no_grad():
            found = sum(sequence_nll(model, batch).sum().item() for batch in batches)
        assert found == pytest.approx(expected, abs=1e-3)


def example(encoding: Encoding) -> dict[str, list[int]]:
    """Labels at response tokens alone."""
    ids = encoding.input_ids_T.tolist()
    answered = {t for s, e in zip(encoding.start_R, encoding.end_R, strict=True) for t in range(s, e)}
    return {"input_ids": ids, "labels": [token if t in answered else -100 for t, token in enumerate(ids)]}


def test_what_a_model_s_own_code_fails_on_is_one_sentence(sessions: list[Encoding]) -> None:
    model = build("llama")
    scorer = SessionScorer(model)

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("The expanded size must match")

    model.model.layers[0].forward = fail
    with pytest.raises(SessionError, match="the model's own code fails: RuntimeError: The expanded size"):
        scorer.score(sessions[0])


def test_there_are_enough_of_them() -> None:
    assert len(ARCHITECTURES) >= 45
    assert set(FAST) < set(ARCHITECTURES)
