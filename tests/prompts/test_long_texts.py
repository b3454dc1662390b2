"""A text far beyond the window is read no further than the window needs, with the tokens of the whole."""

import random
import time
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from centaurlab.prompts import encoding
from centaurlab.prompts.encoding import encode, encode_prompt
from helpers.chat_templates import CONTEXTS, told
from helpers.tokenizers_zoo import FAMILIES, Family, tokenizer_of

WORDS = ["J", "12.5", "très bien", "左右", "🙂", "e\u0301", "     ", "\n\n", "ありがとう", "you choose", "->>", "נעם"]


def text_of(seed: int, n_pieces: int) -> str:
    """Words of several scripts, every fourth a response."""
    draw = random.Random(seed)
    return "".join(f"<<{draw.choice(WORDS).strip()}>> " if i % 4 == 3 else draw.choice(WORDS) for i in range(n_pieces))


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
@pytest.mark.parametrize("max_tokens", [1, 40, 300])
def test_the_tokens_in_the_window_are_those_of_the_whole_text(
    family: Family, max_tokens: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoding, "_TOKENS_TO_SPARE", 32)
    monkeypatch.setattr(encoding, "_CHARACTERS", 4)
    for seed in range(3):
        text = text_of(seed, 1500)
        whole, cut = encode(text, tokenizer_of(family)), encode(text, tokenizer_of(family), max_tokens)
        fits = whole.end_R <= max_tokens
        assert np.array_equal(cut.response_R, whole.response_R[fits])
        assert np.array_equal(cut.end_R, whole.end_R[fits])
        assert np.array_equal(cut.input_ids_T, whole.input_ids_T[: len(cut.input_ids_T)])
        covered = cut.coverage
        assert covered.responses == whole.coverage.responses == covered.scored + covered.cut + covered.empty


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_a_text_that_is_tokenized_in_pieces_has_the_tokens_of_the_whole(
    family: Family, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [text_of(seed, 400) for seed in range(3)]
    wholes = [encode(text, tokenizer_of(family)) for text in texts]
    monkeypatch.setattr(encoding, "_PIECE_CHARACTERS", 50)
    for text, whole in zip(texts, wholes, strict=True):
        pieces = encode(text, tokenizer_of(family))
        for name in ("input_ids_T", "end_character_T", "response_R", "start_R", "end_R"):
            assert np.array_equal(getattr(pieces, name), getattr(whole, name))
        assert replace(pieces.coverage, straddling=0) == replace(whole.coverage, straddling=0)
        assert 0 <= whole.coverage.straddling - pieces.coverage.straddling <= len(text) / 50


def test_white_space_that_is_few_tokens_is_read_on() -> None:
    family = next(one for one in FAMILIES if "T5" in one.name or "t5" in one.name)
    text = "You choose" + " " * 100_000 + "<<J>> and <<F>>." + " then" * 10_000
    cut = encode(text, tokenizer_of(family), 300)
    assert np.array_equal(cut.input_ids_T, encode(text, tokenizer_of(family)).input_ids_T)
    assert cut.coverage.scored == 2


def test_a_conversation_in_a_template_is_cut_alike() -> None:
    session = "You see J and F.\n" + "You press <<J>> and win 3.\n" * 500
    for context in CONTEXTS.values():
        prompt = context.prompt(told(session), "full")
        whole, cut = encode_prompt(prompt, context.tokenizer), encode_prompt(prompt, context.tokenizer, 150)
        fits = whole.end_R <= 150
        assert fits.any()
        assert np.array_equal(cut.end_R, whole.end_R[fits])
        assert np.array_equal(cut.input_ids_T, whole.input_ids_T[: len(cut.input_ids_T)])


def test_a_text_of_thirty_million_characters_costs_what_the_window_costs() -> None:
    text = "You choose <<J>> and win 3. " * 9 + "and so on, " * 2_700_000 + "<<J>>"
    tokenizer = tokenizer_of(FAMILIES[0])
    started = time.process_time()
    tracemalloc.start()
    encoded = encode(text, tokenizer, 128)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert encoded.coverage.scored > 5
    assert encoded.coverage.responses == 10
    assert time.process_time() - started < 10
    assert peak < 4 * len(text)
