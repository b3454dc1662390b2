"""Attention on a CPU that reads only the keys a query can see.

PyTorch's CPU kernel computes every key it is given and masks afterwards. A chunk of queries taken in blocks, each
with the keys of its own window (or, without a window, up to its own last token), skips most masked keys; the
projections around it still see the whole chunk, which matrix products prefer.
"""

from typing import Any

import torch
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

NAME = "sdpa_in_blocks"
QUERIES_PER_BLOCK = 64


def attend_in_blocks(model: PreTrainedModel) -> None:
    """Let ``model`` use ``sdpa`` in blocks of queries; the result is the same up to rounding."""
    AttentionInterface.register(NAME, _attention)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    model.set_attn_implementation(NAME)


def _attention(
    module: torch.nn.Module,
    query_BHQD: torch.Tensor,
    key_BGKD: torch.Tensor,
    value_BGKD: torch.Tensor,
    mask_B1QK: torch.Tensor | None,
    sliding_window: int | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Outputs (B, Q, H, D). Without a mask the kernel is told that it is causal and skips by itself."""
    n_queries, n_keys = query_BHQD.shape[2], key_BGKD.shape[2]
    if mask_B1QK is None or n_queries <= QUERIES_PER_BLOCK:
        return sdpa_attention_forward(module, query_BHQD, key_BGKD, value_BGKD, mask_B1QK, **kwargs)
    outputs = []
    for first in range(0, n_queries, QUERIES_PER_BLOCK):
        last = min(first + QUERIES_PER_BLOCK, n_queries)
        end = n_keys - n_queries + last
        start = max(0, end - (last - first) - sliding_window + 1) if sliding_window else 0
        output, _ = sdpa_attention_forward(
            module,
            query_BHQD[:, :, first:last],
            key_BGKD[:, :, start:end],
            value_BGKD[:, :, start:end],
            mask_B1QK[..., first:last, start:end],
            **kwargs,
        )
        outputs.append(output)
    return torch.cat(outputs, dim=1), None
