"""Stretches of many sessions through a model at once, each onto the keys and values of its own session alone.

The tokens of all stretches stand in one row without padding; what is computed for each token apart sees them together,
and attention session by session. So sessions of any lengths wait for one pass, nothing is computed twice, sliding
windows are exact, and a session's numbers depend on its neighbours in the last bits of a matrix product alone.
"""

from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.nn.functional import pad
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel

from centaurlab.models.attention import attend_to_visible, refuse_unknown
from centaurlab.models.passes import layer_windows
from centaurlab.models.self_check import fits_in_float32, in_float32
from centaurlab.runtime.errors import UserError
from centaurlab.scoring.scorer import CPU_CHUNK_TOKENS

# S: sessions of a group, N: new tokens of each or of all, T: tokens of a group, K: keys so far and new, H: query heads,
# G: key heads, D: size of a head, V: vocabulary.
NAME = "sessions_side_by_side"
GPU_CHUNK_TOKENS = 4_096
TRUNCATED_TOKENS = 256
"""How many of its last tokens a session can take back (``SessionCache.truncate``)."""
_LONGER, _LONGER_TOKENS = 1.25, 32
"""Sessions of a group may be so much longer than its shortest, whose keys are padded."""
_KEYS, _PRODUCTS = 2**14, 2**18
"""Of a group: keys, and products of queries and keys for each head; more would leave a CPU's cache."""
_TOLERANCE, _TOLERANCE_ROUNDED = 1e-4, 0.1
"""Of total variation, in float32 and in half precision: there rounding makes up to 0.05 in Gemma 3 270M and its
adapters, and half of the tokens lost 0.25 and more."""


class _LayerCache:
    """Keys and values of one layer; with a window, those that no later query sees are let go of."""

    def __init__(self, window: int | None) -> None:
        self.window = window
        self.first, self.n = 0, 0
        self.key_GKD = self.value_GKD = torch.empty(0, 0, 0)

    def append(self, key_GND: torch.Tensor, value_GND: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        n_new = key_GND.shape[1]
        if self.n + n_new > self.key_GKD.shape[1]:
            self.key_GKD, self.value_GKD = self._grown(key_GND, value_GND, self.n + n_new + self.n // 2)
        self.key_GKD[:, self.n : self.n + n_new] = key_GND
        self.value_GKD[:, self.n : self.n + n_new] = value_GND
        self.n += n_new
        return self.key_GKD[:, : self.n], self.value_GKD[:, : self.n]

    def _grown(self, key: torch.Tensor, value: torch.Tensor, capacity: int) -> tuple[torch.Tensor, torch.Tensor]:
        kept = self.n if self.window is None else min(self.n, self.window - 1 + TRUNCATED_TOKENS)
        dropped = self.n - kept
        new_key, new_value = (like.new_empty(like.shape[0], capacity - dropped, like.shape[2]) for like in (key, value))
        if kept:
            new_key[:, :kept] = self.key_GKD[:, dropped : self.n]
            new_value[:, :kept] = self.value_GKD[:, dropped : self.n]
        self.first, self.n = self.first + dropped, kept
        return new_key, new_value

    def copy(self) -> "_LayerCache":
        new = _LayerCache(self.window)
        new.first, new.n = self.first, self.n
        new.key_GKD, new.value_GKD = self.key_GKD[:, : self.n].clone(), self.value_GKD[:, : self.n].clone()
        return new


class SessionCache:
    """The keys and values of one session of ``length`` tokens, layer by layer; tokens are put at its end."""

    def __init__(self, windows: Sequence[int | None]) -> None:
        self.layers = [_LayerCache(window) for window in windows]
        self.length = 0

    def copy(self) -> "SessionCache":
        """One of its own for a session that goes on otherwise."""
        new = SessionCache([])
        new.layers, new.length = [layer.copy() for layer in self.layers], self.length
        return new

    def truncate(self, length: int) -> None:
        """Take back all tokens after the first ``length``, at most ``TRUNCATED_TOKENS`` or what came last."""
        for layer in self.layers:
            layer.n -= self.length - length
            assert layer.n >= 0
        self.length = length


@dataclass
class Stretch:
    """Tokens to put at a session's end, and what is done with what they predict.

    ``take`` gets logits (rows, V): a row after the last token, or with ``parents`` one after every token. ``parents``:
    for tokens that continue the session in several ways, the place of the token before each among them, −1 for the
    session itself; such tokens are taken back when their logits are.
    """

    cache: SessionCache
    ids: Sequence[int]
    take: Callable[[torch.Tensor], None]
    parents: Sequence[int] | None = None


@dataclass
class _Part:
    """The tokens of a stretch that go through the model in one pass."""

    stretch: Stretch
    ids: Sequence[int]
    is_last: bool

    def depths(self) -> list[int]:
        """How many of its tokens each token continues."""
        if self.stretch.parents is None:
            return list(range(len(self.ids)))
        depths: list[int] = []
        for parent in self.stretch.parents:
            depths.append(0 if parent < 0 else depths[parent] + 1)
        return depths

    def first_key(self, layer: _LayerCache) -> int:
        """The place of the first key that its first token sees."""
        return 0 if layer.window is None else max(0, layer.n - len(self.ids) + 1 - layer.window)

    def visible(self, layer: _LayerCache) -> torch.Tensor:
        """Which keys from ``first_key`` on each of its tokens sees (N, K)."""
        n_new, start = len(self.ids), self.first_key(layer)
        before = layer.n - n_new - start
        if n_new == 1:
            return torch.ones(1, before + 1, dtype=torch.bool)
        query_N = self.stretch.cache.length + torch.tensor(self.depths())
        key_K = torch.cat([layer.first + start + torch.arange(before), query_N])
        mask_NK = key_K[None] <= query_N[:, None]
        if layer.window is not None:
            mask_NK &= key_K[None] > query_N[:, None] - layer.window
        if self.stretch.parents is not None:
            ancestors_NN = torch.eye(n_new, dtype=torch.bool)
            for token, parent in enumerate(self.stretch.parents):
                if parent >= 0:
                    ancestors_NN[token] |= ancestors_NN[parent]
            mask_NK[:, before:] &= ancestors_NN
        return mask_NK


@dataclass
class _Group:
    """Parts (S) of as many tokens (N), of sessions about as long, to whose keys attention is paid at once."""

    parts: list[_Part]
    masks: dict[tuple[int | None, torch.device], torch.Tensor | None] = field(default_factory=dict)

    @property
    def n_tokens(self) -> int:
        return len(self.parts) * len(self.parts[0].ids)

    def has_room(self, part: _Part) -> bool:
        """Whether a part that is no shorter than these may be among them."""
        first, n_new, length = self.parts[0], len(part.ids), part.stretch.cache.length
        keys = (len(self.parts) + 1) * (length + n_new)
        return (
            n_new == len(first.ids)
            and length <= first.stretch.cache.length * _LONGER + _LONGER_TOKENS
            and keys <= _KEYS
            and keys * n_new <= _PRODUCTS
        )

    def attend(
        self,
        number: int,
        query_1HTD: torch.Tensor,
        key_1GTD: torch.Tensor,
        value_1GTD: torch.Tensor,
        softcap: float | None,
    ) -> torch.Tensor:
        """Outputs (1, H, T, D) of layer ``number`` from queries, keys and values of the T = S · N tokens."""
        layers = [part.stretch.cache.layers[number] for part in self.parts]
        keys, values, start = [], [], 0
        for part, layer in zip(self.parts, layers, strict=True):
            new = slice(start, start := start + len(part.ids))
            key_GKD, value_GKD = layer.append(key_1GTD[0, :, new], value_1GTD[0, :, new])
            first = part.first_key(layer)
            keys.append(key_GKD[:, first:])
            values.append(value_GKD[:, first:])
        kind = layers[0].window, query_1HTD.device
        if kind not in self.masks:
            self.masks[kind] = self._visible(layers, query_1HTD.device)
        visible_SNK = self.masks[kind]
        if len(layers) == 1:
            return attend_to_visible(query_1HTD, keys[0][None], values[0][None], visible_SNK, softcap)
        query_SHND = query_1HTD[0].unflatten(1, (len(layers), -1)).transpose(0, 1)
        output_SHND = attend_to_visible(query_SHND, _padded(keys), _padded(values), visible_SNK, softcap)
        return output_SHND.transpose(0, 1).flatten(1, 2)[None]

    def _visible(self, layers: Sequence[_LayerCache], device: torch.device) -> torch.Tensor | None:
        """Which of the padded keys each token sees (S, N, K), alike in layers of a window; None: all."""
        masks = [part.visible(layer) for part, layer in zip(self.parts, layers, strict=True)]
        most = max(mask_NK.shape[1] for mask_NK in masks)
        mask_SNK = torch.stack([pad(mask_NK, (0, most - mask_NK.shape[1])) for mask_NK in masks])
        return None if mask_SNK.all() else mask_SNK.to(device)


def _groups(parts: Sequence[_Part], device: torch.device) -> list[_Group]:
    """On a CPU, single tokens are attended to apart: keys and values would be copied for a product or two each."""
    groups: list[_Group] = []
    for part in sorted(parts, key=lambda part: (len(part.ids), part.stretch.cache.length)):
        is_apart = device.type == "cpu" and len(part.ids) == 1
        if groups and not is_apart and groups[-1].has_room(part):
            groups[-1].parts.append(part)
        else:
            groups.append(_Group([part]))
    return groups


def _padded(sessions: Sequence[torch.Tensor]) -> torch.Tensor:
    """Keys or values (G, K, D) of several sessions as one (S, G, K, D), with zeros where one has fewer."""
    lengths = [one_GKD.shape[1] for one_GKD in sessions]
    if len(set(lengths)) == 1:
        return torch.stack(list(sessions))
    n_groups, _, size = sessions[0].shape
    padded_SGKD = sessions[0].new_empty(len(sessions), n_groups, max(lengths), size)
    for one_GKD, padded_GKD, length in zip(sessions, padded_SGKD, lengths, strict=True):
        padded_GKD[:, :length] = one_GKD
        padded_GKD[:, length:] = 0
    return padded_SGKD


_GROUPS: ContextVar[Sequence[_Group]] = ContextVar("groups of the pass under way")


class PackedModel:
    """A model that takes stretches of many sessions at once.

    ``chunk_tokens``: how many tokens go through it in one pass; default: what suits its device. Raises ``UserError``
    for a model that keeps anything but the keys and values of every token and layer.
    """

    def __init__(self, model: PreTrainedModel, chunk_tokens: int | None = None) -> None:
        self.model = model
        self.device = next(model.parameters()).device
        self.tokens_computed = 0
        windows = layer_windows(model)
        if windows is None:
            raise UserError(
                f"{model.name_or_path} is a {model.config.model_type} model, which keeps more of a session than the "
                "keys and values of each layer, or turns them by the session's length; it cannot simulate yet, use "
                "another model"
            )
        self._windows = windows
        default = CPU_CHUNK_TOKENS if self.device.type == "cpu" else GPU_CHUNK_TOKENS
        self._chunk_tokens = chunk_tokens or default

    def new_cache(self) -> SessionCache:
        """That of a session of no token."""
        return SessionCache(self._windows)

    @torch.inference_mode()
    def prepare(self, ids: Sequence[int]) -> None:
        """Have the model attend session by session, and see on some tokens that this changes nothing.

        Raises ``UserError`` where it does.
        """
        ids = (list(ids) * 4)[: min(self._chunk_tokens, max(4, len(ids)))]
        is_rounded = self.model.dtype in (torch.bfloat16, torch.float16)
        distance = self._distance(ids)
        agrees = distance <= (_TOLERANCE_ROUNDED if is_rounded else _TOLERANCE)
        if not agrees and is_rounded and fits_in_float32(self.model):
            with in_float32(self.model):
                distance = self._distance(ids)
            agrees = distance <= _TOLERANCE
        self.tokens_computed = 0
        if not agrees:
            raise UserError(
                f"{self.model.name_or_path} ({self.model.config.model_type}) gives other numbers where sessions are "
                f"computed side by side (total variation {distance:.1e}), so it cannot simulate; use another model"
            )

    def _distance(self, ids: Sequence[int]) -> float:
        """Total variation between what follows ``ids`` whole and alone, and in two parts beside other sessions."""
        if self.model.config._attn_implementation == NAME:  # it has simulated before
            self.model.set_attn_implementation("sdpa")
        whole_V = self.model(input_ids=self._tensor(ids), use_cache=False).logits[0, -1].float().softmax(-1)
        AttentionInterface.register(NAME, _attention)
        AttentionMaskInterface.register(NAME, lambda *_, **__: None)
        self.model.set_attn_implementation(NAME)
        found: list[torch.Tensor] = []
        cache, half = self.new_cache(), len(ids) // 2
        self.compute([Stretch(self.new_cache(), ids[half:], _ignore), Stretch(cache, ids[:half], _ignore)])
        self.compute([Stretch(self.new_cache(), ids[:1], _ignore), Stretch(cache, ids[half:], found.append)])
        return 0.5 * float((found[0][0].float().softmax(-1) - whole_V).abs().sum())

    @torch.inference_mode()
    def compute(self, stretches: Sequence[Stretch]) -> None:
        """Put every stretch at the end of its session, in as many passes as it takes."""
        waiting: list[_Part] = []
        room = self._chunk_tokens
        for stretch in stretches:
            start = 0
            while start < len(stretch.ids):
                end = len(stretch.ids) if stretch.parents is not None else min(start + room, len(stretch.ids))
                waiting.append(_Part(stretch, stretch.ids[start:end], end == len(stretch.ids)))
                room -= end - start
                start = end
                if room <= 0:
                    self._pass(waiting)
                    waiting, room = [], self._chunk_tokens
        if waiting:
            self._pass(waiting)

    def _pass(self, waiting: Sequence[_Part]) -> None:
        groups = _groups(waiting, self.device)
        parts = [part for group in groups for part in group.parts]
        ids: list[int] = []
        positions: list[int] = []
        rows: list[int] = []
        counts: list[int] = []
        for part in parts:
            if part.stretch.parents is not None:
                wanted = range(len(part.ids))
            else:
                wanted = range(len(part.ids) - 1, len(part.ids)) if part.is_last else range(0)
            rows += [len(ids) + row for row in wanted]
            counts.append(len(wanted))
            ids += part.ids
            positions += [part.stretch.cache.length + depth for depth in part.depths()]
        rows_R = torch.tensor(rows, dtype=torch.long)
        head = self.model.get_output_embeddings()
        hook = head.register_forward_pre_hook(lambda _, inputs: (inputs[0][:, rows_R.to(inputs[0].device)],))
        token = _GROUPS.set(groups)
        try:
            logits_RV = self.model(
                input_ids=self._tensor(ids), position_ids=self._tensor(positions), use_cache=False
            ).logits[0]
        finally:
            _GROUPS.reset(token)
            hook.remove()
        self.tokens_computed += len(ids)
        for part, logits in zip(parts, logits_RV.split(counts), strict=True):
            cache = part.stretch.cache
            cache.length += len(part.ids)
            if part.stretch.parents is not None:
                cache.truncate(cache.length - len(part.ids))
            if part.is_last:
                part.stretch.take(logits)

    def _tensor(self, numbers: Sequence[int]) -> torch.Tensor:
        return torch.tensor(numbers, dtype=torch.long, device=self.device)[None]


def _ignore(logits_RV: torch.Tensor) -> None:
    """For a stretch of which nothing is predicted."""


def _attention(
    module: torch.nn.Module,
    query_1HND: torch.Tensor,
    key_1GND: torch.Tensor,
    value_1GND: torch.Tensor,
    mask: torch.Tensor | None,
    scaling: float | None = None,
    softcap: float | None = None,
    sliding_window: int | None = None,
    dropout: float = 0.0,
    is_causal: bool | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Outputs (1, N, H, D) of the parts of the pass, each over its own session, of which a layer sees its window."""
    refuse_unknown(module, is_causal, kwargs, "a pass of many sessions", "it cannot simulate yet, use another model")
    query_1HND = query_1HND * (query_1HND.shape[-1] ** -0.5 if scaling is None else scaling)
    outputs, start = [], 0
    for group in _GROUPS.get():
        new = slice(start, start + group.n_tokens)
        tokens = query_1HND[:, :, new], key_1GND[:, :, new], value_1GND[:, :, new]
        outputs.append(group.attend(int(module.layer_idx), *tokens, softcap))  # type: ignore[arg-type]
        start = new.stop
    return torch.cat(outputs, dim=2).transpose(1, 2).contiguous(), None
