"""Scores of tiny random models of many architectures, however they may be fed, equal a plain whole-sequence loop's.

The loop calls the model that transformers loads, without a cache, with its own attention, on one text at a time.
"""

import numpy as np
import pytest

from centaurlab.models.self_check import BATCHES, self_check
from centaurlab.prompts.encoding import Encoding
from centaurlab.scoring.responses import SessionError
from centaurlab.scoring.scorer import SessionScorer
from helpers.architectures import ARCHITECTURES, build
from helpers.feeding import as_on_a_gpu, check_losses, check_packed, check_scores, plain_nll

FAST = ("llama", "gemma3", "gemma4", "mamba", "jamba", "phi3_longrope", "qwen3_5_text")
# With chunks of 16, transformers 5.24 fails on any remainder.
FAILS = "xlstm"
EVERY = [pytest.param(name, marks=() if name in FAST else pytest.mark.slow) for name in ARCHITECTURES]
COMPUTED = [parameter for parameter in EVERY if parameter.values != (FAILS,)]

LOSES_ITS_STATE = {
    *("mamba", "falcon_mamba", "rwkv", "xlstm", "recurrent_gemma", "jamba", "bamba", "minimax"),
}
DEPENDS_ON_LENGTH = {"phi3_longrope", "llama_dynamic_rope"}
NOT_PACKED = LOSES_ITS_STATE | {
    *("falcon_alibi", "qwen3_5_text", "qwen3_next", "opt", "bloom", "mpt", "gpt_oss", "mamba2", "zamba2", "falcon_h1"),
    *("deepseek_v4", "granitemoehybrid", "nemotron_h", "lfm2", "kimi_linear", "olmo_hybrid"),
    *("qwen3_5", "qwen3_vl", "qwen2_5_vl"),
}


@pytest.mark.parametrize("name", COMPUTED)
def test_every_way_of_feeding_that_is_used_gives_the_whole_sequence_s_scores(
    name: str, sessions: list[Encoding], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = [np.array(list(plain_nll(build(name), encoding))) for encoding in sessions]
    check = self_check(build(name))
    for chunk_tokens in (None, 64, 37):
        check_scores(build(name), chunk_tokens, None, sessions, expected)
    as_on_a_gpu(monkeypatch)
    check_scores(build(name), None, check, sessions, expected)


@pytest.mark.parametrize("name", EVERY)
def test_a_self_check_finds_what_an_architecture_cannot(name: str, sessions: list[Encoding]) -> None:
    model = build(name)
    check = self_check(model, also=BATCHES)
    assert check.causal
    assert check.chunks == check.prefixes == (name not in LOSES_ITS_STATE)
    assert check.packed == (name not in NOT_PACKED)
    if check.packed:
        check_packed(model, check, sessions)
    assert check.whole_beyond == (150 if name in DEPENDS_ON_LENGTH else None)
    assert check.blocks is not False or name == "deepseek_v32"
    assert check.right_padded


@pytest.mark.parametrize("name", COMPUTED)
def test_what_is_trained_on_is_the_loss_of_each_session(name: str, sessions: list[Encoding]) -> None:
    """Packed into one row where the self-check allows it, else in a batch with padding."""
    model = build(name)
    expected = [np.array(list(plain_nll(build(name), encoding))) for encoding in sessions]
    check_losses(model, self_check(model, also=BATCHES), sessions, expected)


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
