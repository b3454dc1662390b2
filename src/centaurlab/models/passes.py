"""How a model is called: the name that it has for its cache, and the LM head at chosen positions alone."""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

import torch
from transformers import DynamicCache, PreTrainedModel

# T: tokens of a pass, N: those wanted of the LM head, V: vocabulary.

_CACHE_NAMES = ("cache", "past_key_values", "past_key_value", "cache_params")
"""Of transformers 5.24 and later, of 5.18 and most remote code, of older remote code, and of models of states."""


def accepts(model: PreTrainedModel, name: str) -> bool:
    """Whether ``forward`` names such an argument; one that only ``**kwargs`` take may vanish in silence."""
    return name in inspect.signature(model.forward).parameters


def cache_name(model: PreTrainedModel) -> str | None:
    """What ``forward`` calls the cache; None: it takes none that is known."""
    return next((name for name in _CACHE_NAMES if accepts(model, name)), None)


def new_cache(model: PreTrainedModel) -> DynamicCache:
    """An empty cache with the windows and states of the model's layers."""
    return DynamicCache(config=model.config)


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

    def __enter__(self) -> Self:
        self._hook = self._head.register_forward_pre_hook(self._gather)
        return self

    def __exit__(self, *_: object) -> None:
        self._hook.remove()

    def _gather(self, _: torch.nn.Module, inputs: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
        """Pass on, of the rows (B, T, hidden) of a pass, none, or those wanted together with all that wait."""
        self._waiting.append(inputs[0][:, self.positions_N.to(inputs[0].device)])
        if not self.are_last and sum(rows.shape[1] for rows in self._waiting) < self._n_rows:
            return (inputs[0][:, :0],)
        together, self._waiting = torch.cat(self._waiting, dim=1), []
        return (together,)


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
