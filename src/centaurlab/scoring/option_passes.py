"""The answer's share among options of several tokens, at every response, without computing the session again.

After each chunk of a session, all that its options go on with is computed in one pass: every such token sees the keys
that the chunk left in the cache up to its own question, and the tokens of its own option. The chunks themselves are
fed as ever, so that NLLs do not depend on whether this is asked for.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from transformers import AttentionInterface, AttentionMaskInterface, DynamicCache, PreTrainedModel

from centaurlab.models.attention import attend_to_visible, refuse_unknown
from centaurlab.models.passes import HeadRows, layer_windows, logits_of
from centaurlab.models.trial import HALF, trial_tokens
from centaurlab.prompts.encoding import Ints
from centaurlab.scoring.option_trees import Branching, OptionTree
from centaurlab.scoring.token_statistics import edge_log_probabilities

# N: tokens of a pass, K: keys that they may see, E: edges of trees, O: options, C: temperature 1 and TEMPERATURES.
NAME = "options_of_a_session"
ROWS = 256
"""Tokens of one pass, whose logits are in memory together."""

_TOLERANCE = {torch.float32: 1e-4}
_TOLERANCE_ROUNDED = 0.05
UNKNOWN = (
    "self-check: options of several tokens cannot be computed beside this model's sessions, so responses among such "
    "options have no probability of their options"
)


class SeenCache(DynamicCache):
    """A cache that tells what the last pass saw: of each layer, its keys and values up to the last token."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__(config=model.config)
        self.seen: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, layer_idx: int, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Put new keys and values in; those that the pass sees."""
        seen: tuple[torch.Tensor, torch.Tensor] = super().update(key_states, value_states, layer_idx, *args, **kwargs)
        self.seen[layer_idx] = seen
        return seen


@dataclass
class _Pass:
    """Tokens beside a session: where each stands, which of them it continues, and what it sees of the session."""

    position_N: torch.Tensor
    root_N: torch.Tensor  # the position of its question's last token, before which it sees the session
    ancestors_NN: torch.Tensor
    seen: dict[int, tuple[torch.Tensor, torch.Tensor]]
    windows: Sequence[int | None]
    last: int
    masks: dict[tuple[int | None, torch.device], torch.Tensor] = field(default_factory=dict)

    def visible(self, layer: int, n_keys: int, device: torch.device) -> torch.Tensor:
        """(N, K + N) which keys of the session, and of the pass, each token sees; the same in layers of one window."""
        which = self.windows[layer], device
        if which not in self.masks:
            self.masks[which] = self._visible(self.windows[layer], n_keys).to(device)
        return self.masks[which]

    def _visible(self, window: int | None, n_keys: int) -> torch.Tensor:
        key_K = self.last - n_keys + torch.arange(n_keys)
        of_session_NK = key_K[None] < self.root_N[:, None]
        of_pass_NN = self.ancestors_NN
        if window is not None:
            of_session_NK = of_session_NK & (key_K[None] > self.position_N[:, None] - window)
            of_pass_NN = of_pass_NN & (self.position_N[None] > self.position_N[:, None] - window)
        return torch.cat([of_session_NK, of_pass_NN], dim=1)


_PASS: ContextVar[_Pass] = ContextVar("pass under way")


class OptionPasses:
    """Computes options of several tokens beside the sessions of a model; ``windows`` of each layer's attention."""

    def __init__(self, model: PreTrainedModel, windows: Sequence[int | None]) -> None:
        self._model = model
        self._windows = windows
        self._device = next(model.parameters()).device
        context = getattr(model.config.get_text_config(), "max_position_embeddings", None)
        self._n_positions = context if isinstance(context, int) else None

    @classmethod
    def of(cls, model: PreTrainedModel) -> "OptionPasses | None":
        """Those of a model for which they are exact, found out on some tokens; None for another."""
        windows = layer_windows(model)
        if windows is None:
            return None
        passes = cls(model, windows)
        try:
            return passes if passes._agrees() else None
        except Exception as error:
            if isinstance(error, MemoryError | torch.OutOfMemoryError):
                raise
            return None

    def fits(self, branching: Branching) -> bool:
        """Whether the model has positions for all tokens of the options."""
        deepest = branching.start + max(branching.tree.depths(), default=-1) + 1
        return self._n_positions is None or deepest <= self._n_positions

    def shares(
        self, ids_T: Ints, cache: SeenCache, last: int, branchings: Sequence[Branching]
    ) -> npt.NDArray[np.float64]:
        """-log of each answer's share of the probability of its options (…, C), in nats.

        ``cache`` is that of the session after a pass up to the token ``last`` that held the end of every question.
        """
        found = []
        waiting: list[Branching] = []
        for branching in branchings:
            if waiting and sum(1 + len(b.tree.ids) for b in [*waiting, branching]) > ROWS:
                found.append(self._shares(ids_T, cache, last, waiting))
                waiting = []
            waiting.append(branching)
        found.append(self._shares(ids_T, cache, last, waiting))
        return np.concatenate(found)

    def _shares(
        self, ids_T: Ints, cache: SeenCache, last: int, branchings: Sequence[Branching]
    ) -> npt.NDArray[np.float64]:
        logits_NV, roots = self._logits(ids_T, cache, last, branchings)
        edges = [
            (root + 1 + place, token)
            for root, branching in zip(roots, branchings, strict=True)
            for path in branching.tree.paths
            for place, token in path
        ]
        node_E, token_E = zip(*edges, strict=True)
        log_p_EC = edge_log_probabilities(logits_NV, node_E, token_E)
        lengths = [len(path) for b in branchings for path in b.tree.paths]
        log_p_OC = np.add.reduceat(log_p_EC, np.cumsum([0, *lengths[:-1]]))
        shares, first = np.empty((len(branchings), log_p_OC.shape[1])), 0
        for i, branching in enumerate(branchings):
            of_options_OC = log_p_OC[first : first + len(branching.tree.paths)]
            with np.errstate(invalid="ignore"):  # a number that is none is named where all of the session are checked
                shares[i] = np.logaddexp.reduce(of_options_OC) - of_options_OC[branching.chosen]
            first += len(of_options_OC)
        return shares

    def _logits(
        self, ids_T: Ints, cache: SeenCache, last: int, branchings: Sequence[Branching]
    ) -> tuple[torch.Tensor, list[int]]:
        """(N, V) logits after each question and each token of its options; and the row of each question."""
        ids: list[int] = []
        positions: list[int] = []
        root_N: list[int] = []
        roots: list[int] = []
        n_rows = sum(1 + len(branching.tree.ids) for branching in branchings)
        ancestors_NN = torch.eye(n_rows, dtype=torch.bool)
        for branching in branchings:
            root, tree = len(ids), branching.tree
            roots.append(root)
            ids += [int(ids_T[branching.start - 1]), *tree.ids]
            positions += [branching.start - 1, *(branching.start + depth for depth in tree.depths())]
            root_N += [branching.start - 1] * (1 + len(tree.ids))
            for row, parent in enumerate(tree.parents, root + 1):
                ancestors_NN[row] |= ancestors_NN[root + 1 + parent]
        about = _Pass(torch.tensor(positions), torch.tensor(root_N), ancestors_NN, cache.seen, self._windows, last)
        token = _PASS.set(about)
        try:
            with _attending(self._model), HeadRows(self._model.get_output_embeddings()) as rows:
                rows.positions_N, rows.are_last = torch.arange(n_rows), True
                ids_1N = torch.tensor([ids], device=self._device)
                logits = logits_of(self._model, ids_1N, position_ids=about.position_N[None].to(self._device))[0]
        finally:
            _PASS.reset(token)
        return logits, roots

    @torch.inference_mode()
    def _agrees(self) -> bool:
        """Whether a branch beside a session has the logits of the whole sequence."""
        ids_1T = trial_tokens(self._model)[0].to(self._device)
        whole_TV = logits_of(self._model, ids_1T)[0].float().softmax(-1)
        ids_T = ids_1T[0].cpu().numpy()
        cache = SeenCache(self._model)
        for part_1T in (ids_1T[:, :HALF], ids_1T[:, HALF:]):
            logits_of(self._model, part_1T, cache)
        branchings, expected = [], []
        for start in (HALF + 1, 2 * HALF - 3):
            there, other = ids_T[start : start + 2].tolist(), ids_T[:2].tolist()
            tree = OptionTree((there[0], other[0], there[1], other[1]), (-1, -1, 0, 0), ())
            branchings.append(Branching(0, start, tree, 0))
            expected += [whole_TV[start - 1], whole_TV[start], whole_TV[start + 1]]
        logits_NV, roots = self._logits(ids_T, cache, 2 * HALF, branchings)
        found = [logits_NV[root + row] for root in roots for row in (0, 1, 3)]
        distances = [0.5 * float((a.float().softmax(-1) - b).abs().sum()) for a, b in zip(found, expected, strict=True)]
        return all(d <= _TOLERANCE.get(self._model.dtype, _TOLERANCE_ROUNDED) for d in distances)


@contextmanager
def _attending(model: PreTrainedModel) -> Iterator[None]:
    """The model with attention beside a session for a while."""
    AttentionInterface.register(NAME, _attention)
    AttentionMaskInterface.register(NAME, lambda *_, **__: None)
    own = model.config._attn_implementation
    model.set_attn_implementation(NAME)
    try:
        yield
    finally:
        model.set_attn_implementation(own)


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
    """Outputs (1, N, H, D) of the pass under way; what layers see of it is in ``_PASS``."""
    refuse_unknown(module, is_causal, kwargs, "a branch beside a session", "pass --no_long_options")
    about, layer = _PASS.get(), int(module.layer_idx)  # type: ignore[arg-type]
    key_1GKD, value_1GKD = about.seen[layer]
    visible_NK = about.visible(layer, key_1GKD.shape[2], query_1HND.device)
    query_1HND = query_1HND * (query_1HND.shape[-1] ** -0.5 if scaling is None else scaling)
    key_1GTD, value_1GTD = torch.cat([key_1GKD, key_1GND], 2), torch.cat([value_1GKD, value_1GND], 2)
    output_1HND = attend_to_visible(query_1HND, key_1GTD, value_1GTD, visible_NK[None], softcap)
    return output_1HND.transpose(1, 2).contiguous(), None
