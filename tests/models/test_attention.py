"""Attention in blocks equals the library's own, whatever the blocks."""

import pytest
import torch

from centaurlab.models import attention
from centaurlab.models.arguments import ModelArguments
from centaurlab.models.loading import load_model


@pytest.mark.parametrize("queries_per_block", [1, 7, 16, 64])
@pytest.mark.parametrize("model_dir", ["tiny_gemma_dir", "tiny_llama_dir"])
def test_logits_equal_those_of_sdpa(
    model_dir: str, queries_per_block: int, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import DynamicCache

    monkeypatch.setattr(attention, "QUERIES_PER_BLOCK", queries_per_block)
    model = load_model(ModelArguments(str(request.getfixturevalue(model_dir)), dtype="float32"))
    ids = torch.randint(3, model.config.vocab_size, (1, 150), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = model(ids).logits
        attention.attend_in_blocks(model)
        cache = DynamicCache(config=model.config)
        chunks = [model(ids[:, i : i + 50], cache=cache).logits for i in (0, 50, 100)]
    assert model.config._attn_implementation == attention.NAME
    torch.testing.assert_close(torch.cat(chunks, dim=1), expected, rtol=1e-4, atol=1e-4)
