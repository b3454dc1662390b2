"""Shared characters end in whole tokens."""

from pathlib import Path

from transformers import AutoTokenizer

from centaurlab.prompts.encoding import encode
from centaurlab.scoring import worker as module


def test_shared_characters_are_whole_tokens_before_the_first_prediction(tiny_gemma_dir: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_gemma_dir)
    encoding = encode("You will be shown two slot machines <<J>> <<F>>", tokenizer)
    for n in range(len("You will be shown two slot machines") + 1):
        for n_tokens in module._shared_tokens(encoding, (n,)):
            text = tokenizer.decode(encoding.input_ids_T[1:n_tokens])
            assert text == "You will be shown two slot machines"[: len(text)]
            assert len(text) <= n
            assert n_tokens < encoding.start_R[0]
    assert module._shared_tokens(encode("nothing here", tokenizer), (3,)) == []
