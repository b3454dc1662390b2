"""The trainers of post-training: supervised, with a penalty for leaving the base model, and TRL's DPO."""

from typing import Any

import torch
from datasets import Dataset
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel
from trl import DPOTrainer

from centaurlab.training.data import IGNORED
from centaurlab.training.trainer import Batch, CentaurTrainer, response_logits, token_nll

# B: sequences of a batch, N: positions that predict a learned token (within a batch, or of all of it), V: vocabulary.
_BLOCK_LOGITS = 1 << 24  # float32 logits of each model at once: 64 MiB


class SupervisedTrainer(CentaurTrainer):
    """``CentaurTrainer`` on conversations, with the KL divergence from the base model as a penalty.

    The base model is the trained one without its adapter.
    """

    _tag_names = ("centaurlab", "sft")

    def __init__(self, *args: Any, kl_to_base: float, **kwargs: Any) -> None:
        super().__init__(*args, studies=(), **kwargs)
        self._kl_to_base = kl_to_base
        self._kl_sum, self._kl_tokens = 0.0, 0

    def summed_loss(self, model: PreTrainedModel, inputs: Batch) -> torch.Tensor:
        """NLL plus ``kl_to_base`` times KL(model ‖ base), in nats, summed over the learned tokens."""
        if not self._kl_to_base:
            return super().summed_loss(model, inputs)
        with torch.no_grad(), self.accelerator.unwrap_model(model).disable_adapter():
            base_BNV, _ = response_logits(model, inputs)
        logits_BNV, targets_BN = response_logits(model, inputs)
        learned_BN = targets_BN != IGNORED
        nll = token_nll(logits_BNV[learned_BN], targets_BN[learned_BN]).sum()
        kl = kl_divergence(logits_BNV[learned_BN], base_BNV[learned_BN]).sum()
        self._kl_sum, self._kl_tokens = self._kl_sum + float(kl.detach()), self._kl_tokens + int(learned_BN.sum())
        return nll + self._kl_to_base * kl

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Adds the mean KL divergence per learned token, in nats, since the last line."""
        if self._kl_tokens:
            logs["kl_to_base"] = self._kl_sum / self._kl_tokens
            self._kl_sum, self._kl_tokens = 0.0, 0
        super().log(logs, start_time)


class PreferenceTrainer(DPOTrainer):  # type: ignore[misc]
    """TRL's ``DPOTrainer`` (arXiv 2305.18290) on pairs that are token ids already.

    The reference is the base model: the trained one without its adapter, or for whole models ``ref_model``.
    """

    def _prepare_dataset(self, dataset: Dataset, *_: Any) -> Dataset:
        """As it is: ``encode_conversations`` has done it, by the same rule as for supervised examples."""
        return dataset

    def create_model_card(self, **kwargs: Any) -> None:
        """The run writes its own."""

    def _send_telemetry(self) -> None:
        """Nothing is sent."""


def kl_divergence(logits_NV: torch.Tensor, base_NV: torch.Tensor) -> torch.Tensor:
    """(N,) KL(p ‖ q) = Σ p (log p − log q) in nats, p and q the float32 softmax of ``logits_NV`` and ``base_NV``.

    The penalty of reinforcement learning from human feedback (arXiv 1909.08593, eq. 2), here in closed form per
    token. Taken in blocks of rows, computed again in the backward pass instead of kept.
    """
    rows = max(1, _BLOCK_LOGITS // logits_NV.shape[-1])
    blocks = zip(logits_NV.split(rows), base_NV.split(rows), strict=True)
    return torch.cat([checkpoint(_block_kl, *block, use_reentrant=False) for block in blocks])


def _block_kl(logits_NV: torch.Tensor, base_NV: torch.Tensor) -> torch.Tensor:
    log_p_NV, log_q_NV = logits_NV.float().log_softmax(-1), base_NV.float().log_softmax(-1)
    return (log_p_NV.exp() * (log_p_NV - log_q_NV)).sum(-1)
