"""Reordered weights give the products of the layers that they are of, and leave those as they were."""

from pathlib import Path

import torch

from centaurlab.models.arguments import ModelArguments
from centaurlab.models.loading import load_model
from centaurlab.models.reordered import _is_supported, reordered


@torch.inference_mode()
def test_products_stay_the_same_to_the_last_bit(tiny_gemma_dir: Path) -> None:
    model = load_model(ModelArguments(str(tiny_gemma_dir), dtype="bfloat16"))
    ids = torch.arange(1, 41)[None]
    whole = model(ids).logits
    with reordered(model):
        assert ("forward" in vars(model.lm_head)) == _is_supported()
        found = [model(ids[:, :n]).logits for n in (1, 3, 17, 40)]
    assert not any("forward" in vars(layer) for layer in model.modules())
    assert torch.equal(found[-1], whole)
    for logits, n in zip(found, (1, 3, 17, 40), strict=True):
        assert torch.equal(logits, model(ids[:, :n]).logits)


def test_weights_in_float32_are_left_alone(tiny_gemma_dir: Path) -> None:
    model = load_model(ModelArguments(str(tiny_gemma_dir), dtype="float32"))
    with reordered(model):
        assert not any("forward" in vars(layer) for layer in model.modules())
