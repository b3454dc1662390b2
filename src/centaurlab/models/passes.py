"""How a model is called: the name that it has for its cache, and the LM head at chosen positions alone."""

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Self

import numpy as np
import torch
from transformers import DynamicCache, PreTrainedModel, masking_utils
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from centaurlab.runtime.errors import UserError

# T: tokens of a pass, N: those wanted of the LM head, V: vocabulary.

_CACHE_NAMES = ("cache", "past_key_values", "past_key_value", "cache_params")
"""Of transformers 5.24 and later, of 5.18 and most remote code, of older remote code, and of models of states."""


def accepts(model: PreTrainedModel, name: str) -> bool:
    """Whether ``forward`` names such an argument; one that only ``**kwargs`` take may vanish in silence."""
    return name in inspect.signature(model.forward).parameters


def cache_name(model: PreTrainedModel) -> str | None:
    """What ``forward`` calls the cache; None: it takes none that is known."""
    return next((name for name in _CACHE_NAMES if accepts(model, name)), None)


def n_embeddings(model: PreTrainedModel) -> int:
    """How many tokens the model knows."""
    weight_VD = model.get_input_embeddings().weight
    assert isinstance(weight_VD, torch.Tensor)
    return len(weight_VD)


def unknown_token(n_known: int, ids: Sequence[int] | np.ndarray[Any, Any]) -> str:
    """Which of ``ids`` a model of ``n_known`` tokens has not, in words; empty: none. On a GPU one ends the process."""
    most = int(np.max(ids, initial=0))
    if most < n_known:
        return ""
    return (
        f"its token {most} is none of the {n_known} that the model has embeddings of: the tokenizer was added to, or "
        "is another model's; save the model's own beside it"
    )


def check_known(model: PreTrainedModel, *texts: Sequence[int] | np.ndarray[Any, Any]) -> None:
    """Raise ``UserError`` where texts, as token ids, hold one that the model does not know."""
    if said := unknown_token(n_embeddings(model), np.concatenate(texts) if texts else []):
        raise UserError(f"{model.name_or_path}: {said}")


def new_cache(model: PreTrainedModel) -> DynamicCache:
    """An empty cache with the windows and states of the model's layers."""
    return DynamicCache(config=model.config)


def layer_windows(model: PreTrainedModel) -> list[int | None] | None:
    """The window of each layer (None: it attends to all), as the model's own cache has them.

    None for a model that keeps anything but keys and values of each layer, or turns them by the sequence's length.
    """
    config = model.config.get_text_config(decoder=True)
    layers = new_cache(model).layers
    rope = getattr(config, "rope_parameters", None) or {}
    scaled = {str(rope.get("rope_type"))} | {str(r.get("rope_type")) for r in rope.values() if isinstance(r, dict)}
    kinds = {type(layer) for layer in layers}
    if kinds - {DynamicLayer, DynamicSlidingWindowLayer} or scaled & {
        "longrope",
        "dynamic",
    }:
        return None
    if layers and len(layers) != config.num_hidden_layers:
        return None
    windows = [layer.sliding_window if isinstance(layer, DynamicSlidingWindowLayer) else None for layer in layers]
    return windows or [None] * config.num_hidden_layers


def logits_of(
    model: PreTrainedModel, ids_BT: torch.Tensor, cache: DynamicCache | None = None, **inputs: Any
) -> torch.Tensor:
    """(B, T, V) logits of a pass, which continues ``cache`` if there is one; (B, N, V) where ``HeadRows`` chooses."""
    if cache is not None:
        name = cache_name(model)
        assert name, "a model without a cache is computed whole"
        inputs[name] = cache
    if accepts(model, "use_cache"):
        inputs["use_cache"] = cache is not None
    logits: torch.Tensor = model(input_ids=ids_BT, **inputs).logits
    return logits


class HeadRows:
    """While open, ``head`` sees only hidden states at ``positions_N``, and those of several passes at once.

    Those that wait give no logits yet. Positions are not left to the model (``logits_to_keep``): where it lies on
    several devices, it takes them to the first, and its hidden states are on the last.
    """

    def __init__(self, head: torch.nn.Module, n_rows: int = 0) -> None:
        self._head = head
        self._n_rows = n_rows
        self._waiting: list[torch.Tensor] = []
        self.positions_N = torch.zeros(0, dtype=torch.long)
        self.are_last = False
        self._is_off = False

    def __enter__(self) -> Self:
        self._hook = self._head.register_forward_pre_hook(self._gather)
        return self

    def __exit__(self, *_: object) -> None:
        self._hook.remove()

    @contextmanager
    def off(self) -> Iterator[None]:
        """Let passes of another kind see the head as it is for a while."""
        self._is_off = True
        try:
            yield
        finally:
            self._is_off = False

    def _gather(self, _: torch.nn.Module, inputs: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
        """Pass on, of the rows (B, T, hidden) of a pass, none, or those wanted together with all that wait."""
        if self._is_off:
            return inputs
        self._waiting.append(inputs[0][:, self.positions_N.to(inputs[0].device)])
        if not self.are_last and sum(rows.shape[1] for rows in self._waiting) < self._n_rows:
            return (inputs[0][:, :0],)
        together, self._waiting = torch.cat(self._waiting, dim=1), []
        return (together,)


@contextmanager
def rows_of_several() -> Iterator[None]:
    """Let transformers take positions that start anew for those of several sequences, without looking whether they do.

    It looks once for each kind of mask, and to look at numbers of a GPU is to wait for them.
    """
    own = masking_utils.find_packed_sequence_indices
    masking_utils.find_packed_sequence_indices = _sequence_of_token
    try:
        yield
    finally:
        masking_utils.find_packed_sequence_indices = own


def _sequence_of_token(position_ids: torch.Tensor) -> torch.Tensor:
    """(B, T) which of a row's sequences each token is of, as transformers counts them."""
    step_BT = torch.diff(position_ids, prepend=position_ids[:, :1] - 1, dim=-1)
    return (step_BT != 1).cumsum(-1)


@contextmanager
def evaluating(model: PreTrainedModel) -> Iterator[None]:
    """The model without dropout and gradients for a while."""
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(was_training)


def acts_in_layers(adapted: Any) -> bool:
    """Whether the model with the adapter's layers in place gives what PEFT gives around it.

    A LoRA does, but for an activated one, which acts from certain tokens on.
    """
    settings = adapted.peft_config.values()
    if any(getattr(of_one, "alora_invocation_tokens", None) for of_one in settings):
        return False
    if all(of_one.peft_type == "LORA" for of_one in settings):
        return True
    ids_BT = torch.arange(1, 17, device=adapted.device)[None]
    return torch.equal(adapted(input_ids=ids_BT).logits, adapted.get_base_model()(input_ids=ids_BT).logits)
