"""One model's logits of the same few tokens, fed in one way and in another.

The second half of the tokens repeats the first: to a trained model far context then matters in every position. The
reference is the whole sequence alone with the model's own attention.
"""

import copy
from collections.abc import Callable

import torch
from transformers import DynamicCache, PreTrainedModel

from centaurlab.models.attention import NAME, attend_in_blocks
from centaurlab.models.passes import HeadRows, accepts, cache_name, logits_of, new_cache
from centaurlab.runtime.errors import UserError, one_line

# B: rows of a batch, T: tokens, N: positions compared, V: vocabulary.

HALF = 32  # tokens before the boundary of two parts, and as many after it
_BEGINNING, _BEFORE, _AFTER = 3, 7, 10  # positions compared: the first, and those on either side of the boundary
_STRANGER = 12
_PADDING = 5

FLOAT32_TOLERANCE = 5e-4
"""Of centred logits, relative to how they vary between positions: rounding is below 1e-4, a lost state above 0.1."""

HALF_TOLERANCE = 0.2
"""The same in half precision, where rounding makes 0.1 in Gemma 3 270M, and a lost state 0.9."""


class Trial:
    """Passes of ``model`` over a few tokens, compared with the whole sequence within ``tolerance``.

    Raises ``UserError`` where the model cannot be computed at all.
    """

    def __init__(self, model: PreTrainedModel, tolerance: float) -> None:
        self._model, self._tolerance = model, tolerance
        self._own = "sdpa" if model.config._attn_implementation == NAME else model.config._attn_implementation
        self._device = next(model.parameters()).device
        self._ids_BT, self._stranger_BT = (ids_BT.to(self._device) for ids_BT in trial_tokens(model))
        first_half = [*range(_BEGINNING), *range(HALF - _BEFORE, HALF)]
        self._positions_N = torch.tensor([*first_half, *range(HALF, HALF + _AFTER), 2 * HALF - 1])
        self._n_before = len(first_half)
        self.attend(in_blocks=False)
        try:
            self._expected_NV = self._rows(self._positions_N, self._ids_BT)
            head_may_see_rows = self._logits_equal_those_of_the_head_alone()
        except UserError:
            raise
        except Exception as error:
            raise UserError(
                f"{model.name_or_path} cannot be computed: {type(error).__name__}: {one_line(error)}"
            ) from error
        if not head_may_see_rows:
            raise UserError(
                f"{model.name_or_path} gives other logits when its LM head sees some positions only; it cannot be used"
            )

    @property
    def can_attend_in_blocks(self) -> bool:
        """Whether our attention on a CPU can stand in for the model's own."""
        return self._device.type == "cpu" and self._own == "sdpa"

    def attend(self, in_blocks: bool) -> None:
        """Let the model attend in blocks, or in its own way."""
        if in_blocks:
            attend_in_blocks(self._model)
        elif self._model.config._attn_implementation == NAME:
            self._model.set_attn_implementation(self._own)

    def is_causal(self) -> bool:
        """Whether the first half does not depend on the second."""
        n = self._n_before
        logits_NV = self._rows(self._positions_N[:n], self._ids_BT[:, :HALF])
        return self._same(logits_NV, self._expected_NV[:n])

    def whole(self) -> bool:
        """The whole sequence once more, in the way that the model attends now."""
        return self._agrees(lambda: self._rows(self._positions_N, self._ids_BT))

    def chunks(self) -> bool:
        """In three parts that a cache connects, the last of one token."""
        return cache_name(self._model) is not None and self._agrees(lambda: self._in_parts(copied=False))

    def copied_chunks(self) -> bool:
        """In three parts, of which the second continues a copy of a cache that a stranger continued."""
        return cache_name(self._model) is not None and self._agrees(lambda: self._in_parts(copied=True))

    def packed(self) -> bool:
        """Behind a stranger in the same row, told apart by positions that start anew."""
        n = self._stranger_BT.shape[1]
        row_BT = torch.cat([self._stranger_BT, self._ids_BT], dim=1)
        position_BT = torch.cat([torch.arange(n), torch.arange(2 * HALF)])[None].to(self._device)
        return self._agrees(lambda: self._rows(self._positions_N + n, row_BT, position_ids=position_BT))

    def padded(self, on_the_left: bool) -> bool:
        """Beside a longer stranger, which starts with the same tokens as its padding ends."""
        padding_BT = self._stranger_BT[:, :_PADDING]
        parts = [padding_BT, self._ids_BT] if on_the_left else [self._ids_BT, padding_BT]
        row_BT, inside_BT = torch.cat(parts, 1), torch.cat([torch.full_like(p, p is self._ids_BT) for p in parts], 1)
        batch_BT = torch.cat([row_BT, row_BT.flip(1)])
        inside_BT = torch.cat([inside_BT, torch.ones_like(inside_BT)])
        position_BT = (inside_BT.cumsum(1) - 1).clamp(min=0)
        places = {"position_ids": position_BT} if on_the_left and accepts(self._model, "position_ids") else {}
        positions_N = self._positions_N + (_PADDING if on_the_left else 0)
        return self._agrees(lambda: self._rows(positions_N, batch_BT, None, attention_mask=inside_BT, **places))

    def _in_parts(self, copied: bool) -> torch.Tensor:
        cache = new_cache(self._model)
        before, after = self._positions_N[: self._n_before], self._positions_N[self._n_before : -1] - HALF
        parts = [self._rows(before, self._ids_BT[:, :HALF], cache)]
        if copied:
            kept, cache = cache, copy.deepcopy(cache)
            self._rows(after[:1], self._stranger_BT, kept)
        parts.append(self._rows(after, self._ids_BT[:, HALF:-1], cache))
        parts.append(self._rows(torch.tensor([0]), self._ids_BT[:, -1:], cache))
        return torch.cat(parts)

    def _rows(
        self, positions_N: torch.Tensor, ids_BT: torch.Tensor, cache: DynamicCache | None = None, **inputs: torch.Tensor
    ) -> torch.Tensor:
        """(N, V) float32 logits of the first row, each less the mean of its position."""
        with HeadRows(self._model.get_output_embeddings()) as rows:
            rows.positions_N = positions_N
            return _centred(logits_of(self._model, ids_BT, cache, **inputs)[0].float())

    def _logits_equal_those_of_the_head_alone(self) -> bool:
        few_BT, position_N = self._ids_BT[:, :4], torch.tensor([2])
        all_TV = logits_of(self._model, few_BT)[0].float()
        return self._same(self._rows(position_N, few_BT), _centred(all_TV[position_N]))

    def _agrees(self, logits: Callable[[], torch.Tensor]) -> bool:
        """Whether logits are those expected; those that the model cannot compute in this way are not."""
        try:
            return self._same(logits(), self._expected_NV)
        except Exception:  # noqa: BLE001 (a cache of another kind, an argument that is unknown to it, …)
            return False

    def _same(self, logits_NV: torch.Tensor, expected_NV: torch.Tensor) -> bool:
        return _is_same(logits_NV, expected_NV, self._tolerance, self._expected_NV)


def alike(logits_NV: torch.Tensor, expected_NV: torch.Tensor, tolerance: float) -> bool:
    """Whether two ways of feeding a model give the same log-probabilities at N positions, within ``tolerance``."""
    expected_NV = _centred(expected_NV.float())
    return _is_same(_centred(logits_NV.float()), expected_NV, tolerance, expected_NV)


def _is_same(logits_NV: torch.Tensor, expected_NV: torch.Tensor, tolerance: float, all_NV: torch.Tensor) -> bool:
    """By the position that differs most, relative to how much ``all_NV`` vary from position to position."""
    finite_NV = expected_NV.isfinite()
    if logits_NV.shape != expected_NV.shape or not torch.equal(finite_NV, logits_NV.isfinite()):
        return False
    spread = _rms(all_NV - all_NV.mean(0), all_NV.isfinite(), None)
    worst = _rms(logits_NV - expected_NV, finite_NV, 1).max()
    return bool(worst <= tolerance * spread)


def _centred(logits_NV: torch.Tensor) -> torch.Tensor:
    """Without what the log-softmax takes away; -inf where a model puts what it never says so low."""
    logits_NV = logits_NV.masked_fill(logits_NV < -1e30, -torch.inf)
    finite_NV = logits_NV.isfinite()
    mean_N1 = logits_NV.where(finite_NV, 0.0).sum(1, keepdim=True) / finite_NV.sum(1, keepdim=True).clamp(min=1)
    return logits_NV - mean_N1


def _rms(difference_NV: torch.Tensor, finite_NV: torch.Tensor, dim: int | None) -> torch.Tensor:
    """Root mean square of the entries that are finite."""
    square_NV = difference_NV.where(finite_NV, 0.0).square()
    return (square_NV.sum(dim) / finite_NV.sum(dim).clamp(min=1)).sqrt()


def trial_tokens(model: PreTrainedModel) -> tuple[torch.Tensor, torch.Tensor]:
    """(1, T) ids of a sequence whose second half repeats the first, and of a stranger; none that means something."""
    configs = {id(c): c for c in (model.config, model.config.get_text_config())}.values()
    special = {v for c in configs for k, v in vars(c).items() if "token" in k and isinstance(v, int)}
    embedding = model.get_input_embeddings()
    assert isinstance(embedding.weight, torch.Tensor)
    generator = torch.Generator().manual_seed(0)
    drawn_T = torch.randint(embedding.weight.shape[0], (4 * HALF,), generator=generator)
    with torch.no_grad():  # not its weights: of a divided model they are in no process whole
        is_finite_T = embedding(drawn_T[None].to(embedding.weight.device))[0].isfinite().all(-1).tolist()
    drawn = zip(drawn_T.tolist(), is_finite_T, strict=True)
    usual = [token for token, is_finite in drawn if token not in special and is_finite]
    first, stranger = usual[:HALF], usual[HALF : HALF + _STRANGER]
    return torch.tensor([first + first]), torch.tensor([stranger])
