"""Attention on a CPU that reads only the keys a query can see.

Queries are taken in blocks, each with the keys of its own window or, without one, up to its own last token; PyTorch's
CPU kernel computes every masked key of a window. Within a block the heads that share keys are rows of one matrix
product, which runs at up to three times the speed of the kernel's small ones; the projections around see whole chunks.
What a model passes to its attention besides queries, keys and values (a bias, a cap, sinks, chosen keys) is refused and
not passed over: its self-check then lets it attend in its own way.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.masking_utils import sdpa_mask

from centaurlab.runtime.errors import UserError

# B: batch, H: query heads, G: key heads, Q: queries, K: keys, D: size of a head.
NAME = "sdpa_in_blocks"
QUERIES_PER_BLOCK = 256
_WITHOUT_EFFECT = frozenset(
    [
        *("output_attentions", "output_hidden_states", "output_router_logits", "return_dict", "num_items_in_batch"),
        *("use_cache", "cache_position", "position_ids", "position_embeddings", "logits_to_keep"),
        *("cu_seq_lens_q", "cu_seq_lens_k", "max_length_q", "max_length_k"),
    ]
)
"""Arguments handed on that kernels read which cut rows by themselves, or that are no matter of attention."""

BLOCKS_PER_WINDOW = 4  # a block reads keys outside the window of some of its queries: a fifth of its keys, on average


class UnknownAttentionError(UserError):
    """A model attends in a way that an attention of ours does not know."""


def attend_in_blocks(model: PreTrainedModel) -> None:
    """Let ``model`` attend in blocks of queries instead of ``sdpa``; the result is the same up to rounding."""
    AttentionInterface.register(NAME, _attention)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    model.set_attn_implementation(NAME)


def _attention(
    module: torch.nn.Module,
    query_BHQD: torch.Tensor,
    key_BGKD: torch.Tensor,
    value_BGKD: torch.Tensor,
    mask_B1QK: torch.Tensor | None,
    scaling: float | None = None,
    sliding_window: int | None = None,
    dropout: float = 0.0,
    is_causal: bool | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Outputs (B, Q, H, D). No mask means plain causal attention; the last query sees the last key."""
    is_causal = mask_B1QK is not None or is_causal
    refuse_unknown(module, is_causal, kwargs, "attention in blocks", "pass --attn_implementation sdpa or eager")
    n_queries, n_keys = query_BHQD.shape[2], key_BGKD.shape[2]
    query_BHQD = query_BHQD * (query_BHQD.shape[-1] ** -0.5 if scaling is None else scaling)
    block = QUERIES_PER_BLOCK
    if sliding_window:
        block = max(1, min(block, sliding_window // BLOCKS_PER_WINDOW))
    outputs = []
    for first in range(0, n_queries, block):
        last = min(first + block, n_queries)
        end = n_keys - n_queries + last
        start = max(0, end - (last - first) - sliding_window + 1) if sliding_window else 0
        keys = slice(start, end)
        outputs.append(
            _attend(
                query_BHQD[:, :, first:last],
                key_BGKD[:, :, keys],
                value_BGKD[:, :, keys],
                None if mask_B1QK is None else mask_B1QK[..., first:last, keys],
                dropout,
            )
        )
    return torch.cat(outputs, dim=2).transpose(1, 2).contiguous(), None


def _attend(
    query_BHQD: torch.Tensor,
    key_BGKD: torch.Tensor,
    value_BGKD: torch.Tensor,
    mask_B1QK: torch.Tensor | None,
    dropout: float,
) -> torch.Tensor:
    """softmax(query · keyᵀ) · value: (B, H, Q, D), rounded to the dtype where eager attention is."""
    batch, n_heads, n_queries, _ = query_BHQD.shape
    n_groups, n_keys = key_BGKD.shape[1:3]
    scores_BGRK = torch.matmul(query_BHQD.reshape(batch, n_groups, -1, query_BHQD.shape[-1]), key_BGKD.mT)
    scores_BHQK = scores_BGRK.view(batch, n_heads, n_queries, n_keys)
    if mask_B1QK is None:
        n_seen = n_keys - n_queries
        visible = torch.ones(n_queries, n_queries, dtype=torch.bool, device=scores_BHQK.device).tril()
    else:  # keys that every query sees are left out: a pass over all scores costs a third of their product
        n_seen = int(mask_B1QK.view(torch.uint8).amin((0, 1, 2)).cumprod(0).sum())
        visible = mask_B1QK[..., n_seen:]
    lowest = torch.finfo(scores_BHQK.dtype).min / 2  # finite: a padding token that sees nothing must not become NaN
    scores_BHQK[..., n_seen:] += scores_BHQK.new_zeros(visible.shape).masked_fill_(~visible, lowest)
    weights_BHQK = torch.dropout(scores_BHQK.softmax(-1), dropout, train=dropout > 0)
    return torch.matmul(weights_BHQK.view_as(scores_BGRK), value_BGKD).view(batch, n_heads, n_queries, -1)


def refuse_unknown(
    module: torch.nn.Module, is_causal: bool | None, passed: Mapping[str, object], what: str, remedy: str
) -> None:
    """Raise ``UnknownAttentionError`` where an attention of ours, ``what``, is passed what it does not know."""
    unknown = [name for name, value in passed.items() if value is not None and name not in _WITHOUT_EFFECT]
    if not (getattr(module, "is_causal", True) if is_causal is None else is_causal):
        unknown.append("is_causal=False")
    if unknown:
        passes = f"{type(module).__name__} passes {', '.join(unknown)} to its attention"
        raise UnknownAttentionError(f"{passes}, which {what} does not know; {remedy}")


def attend_to_visible(
    query_SHND: torch.Tensor,
    key_SGKD: torch.Tensor,
    value_SGKD: torch.Tensor,
    visible_SNK: torch.Tensor | None,
    softcap: float | None,
) -> torch.Tensor:
    """softmax(query · keyᵀ) · value: (S, H, N, D); heads that share keys are rows of one matrix product."""
    n_sessions, n_heads, n_new, size = query_SHND.shape
    n_groups = key_SGKD.shape[1]
    query_SGRD = query_SHND.reshape(n_sessions, n_groups, -1, size)
    if visible_SNK is None and softcap is None and n_sessions == 1:  # PyTorch's kernel
        output_SGRD = scaled_dot_product_attention(query_SGRD, key_SGKD, value_SGKD, scale=1.0)
        return output_SGRD.view(n_sessions, n_heads, n_new, -1)
    scores_SHNK = _products(query_SGRD, key_SGKD.mT).view(n_sessions, n_heads, n_new, -1)
    if softcap is not None:
        scores_SHNK = softcap * torch.tanh(scores_SHNK / softcap)
    if visible_SNK is not None:
        scores_SHNK.masked_fill_(~visible_SNK[:, None], float("-inf"))
    weights_SHNK = scores_SHNK.softmax(-1, dtype=torch.float32).to(value_SGKD.dtype)
    weights_SGRK = weights_SHNK.view(n_sessions, n_groups, -1, weights_SHNK.shape[-1])
    return _products(weights_SGRK, value_SGKD).view(n_sessions, n_heads, n_new, -1)


def _products(left_SGRX: torch.Tensor, right_SGXC: torch.Tensor) -> torch.Tensor:
    """left · right (S, G, R, C); on a CPU, PyTorch's batched product takes up to five times as long for few of them."""
    if left_SGRX.device.type != "cpu" or len(left_SGRX) > 1:
        return torch.matmul(left_SGRX, right_SGXC)
    pairs = zip(left_SGRX[0], right_SGXC[0], strict=True)
    return torch.stack([torch.mm(left_RX, right_XC) for left_RX, right_XC in pairs])[None]
