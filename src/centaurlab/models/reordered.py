"""Linear layers on a CPU whose weights lie in the order in which its kernels read them.

oneDNN brings weights in bfloat16 into that order at every call. Where few tokens go through a model at once, this takes
longer than the product itself, which is the same to the last bit.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import nn
from transformers import PreTrainedModel

from centaurlab.models.self_check import fits_in_float32


@contextmanager
def reordered(model: PreTrainedModel) -> Iterator[None]:
    """Have a second, reordered copy of the weights used for a while, where there is room and a gain."""
    layers: list[nn.Linear] = []
    if _is_supported() and fits_in_float32(model):
        layers = [layer for layer in model.modules() if isinstance(layer, nn.Linear) and _gains(layer)]
    try:
        for layer in layers:
            weight = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach(), None)
            layer.forward = partial(_product, layer, weight)  # type: ignore[method-assign]
        yield
    finally:
        for layer in layers:
            vars(layer).pop("forward", None)


def _is_supported() -> bool:
    """PyTorch has these operations for its compiler, and may change them."""
    names = ("_reorder_linear_weight", "_linear_pointwise", "_is_mkldnn_bf16_supported")
    return (
        torch.backends.mkldnn.is_available()
        and all(hasattr(torch.ops.mkldnn, name) for name in names)
        and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    )


def _gains(layer: nn.Linear) -> bool:
    """Not a layer that computes in a way of its own, such as that of an adapter."""
    is_plain = type(layer) is nn.Linear and "forward" not in vars(layer)
    return is_plain and layer.weight.device.type == "cpu" and layer.weight.dtype == torch.bfloat16


def _product(layer: nn.Linear, weight: torch.Tensor, inputs: torch.Tensor) -> torch.Tensor:
    if not inputs.is_contiguous():  # of which PyTorch rounds product and sum with the bias apart
        return nn.Linear.forward(layer, inputs)
    product: torch.Tensor = torch.ops.mkldnn._linear_pointwise(inputs, weight, layer.bias, "none", [], "")
    return product
