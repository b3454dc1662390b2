"""The trainers of post-training: supervised, with a penalty for leaving the base model, and DPO."""

from typing import Any

import torch
from datasets import Dataset
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel
from trl import DPOTrainer

from centaurlab.training.data import IGNORED
from centaurlab.training.resume import EndsOnce
from centaurlab.training.trainer import (
    Batch,
    CentaurTrainer,
    SessionCollator,
    response_logits,
    token_nll,
    train_in_float32,
)

# B: rows of a batch, S: its sequences, T: length of a row, V: vocabulary;
# N: positions that predict a learned token in any row, L: learned tokens.
_BLOCK_LOGITS = 1 << 24  # float32 logits of each model at once: 64 MiB


def stop_dropout(model: torch.nn.Module) -> None:
    """Set every dropout of a model, and what else is drawn at random in training, to 0.

    Or a model would differ from itself: a penalty for leaving the base would be one for nothing that was learned.
    """
    for module in model.modules():
        for owner in (module, getattr(module, "config", None)):
            for name, value in vars(owner).items() if owner else ():
                is_p = name == "p" and isinstance(owner, torch.nn.Dropout)
                if type(value) is float and (is_p or "drop" in name or "jitter" in name):
                    setattr(owner, name, 0.0)


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


class PreferenceCollator:
    """Preference pairs into a batch of n chosen and then n rejected replies, each after its prompt."""

    def __init__(self, collate: SessionCollator) -> None:
        self._collate = collate

    def __call__(self, pairs: list[dict[str, Any]]) -> Batch:
        """What ``SessionCollator`` makes of the 2 n sequences, with labels at the replies."""
        return self._collate(
            [
                {
                    "input_ids": pair["prompt_ids"] + pair[reply],
                    "labels": [IGNORED] * len(pair["prompt_ids"]) + pair[reply],
                }
                for reply in ("chosen_ids", "rejected_ids")
                for pair in pairs
            ]
        )


class PreferenceTrainer(EndsOnce, DPOTrainer):  # type: ignore[misc]
    """TRL's ``DPOTrainer`` on pairs that are token ids already, with the scorer's log-probabilities.

    TRL 1.16 takes several statistics over the vocabulary at every reply token, which on a CPU is most of the work. The
    reference is the base model: the trained one without its adapter, or for whole models ``ref_model``.
    """

    _tag_names = ("centaurlab", "dpo")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.model_accepts_loss_kwargs = False  # the loss is a mean over pairs, not over the step's tokens
        train_in_float32(self)

    def _prepare_dataset(self, dataset: Dataset, *_: Any) -> Dataset:
        """As it is: ``encode_conversations`` has done it, by the same rule as for supervised examples."""
        return dataset

    def compute_loss(
        self,
        model: PreTrainedModel,
        inputs: Batch,
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """−log σ(β (log-ratio of the chosen − that of the rejected reply)), mean over pairs.

        Source: arXiv 2305.18290, eq. 7.
        """
        assert not return_outputs, "the loss has no outputs besides itself"
        log_p_S = -summed_nll(model, inputs)
        with torch.no_grad():
            if self.ref_model is None:
                with self.accelerator.unwrap_model(model).disable_adapter():
                    log_q_S = -summed_nll(model, inputs)
            else:
                log_q_S = -summed_nll(self.ref_model, inputs)
        chosen, rejected = (self.beta * (log_p_S - log_q_S)).chunk(2)
        measured = {"chosen": chosen, "rejected": rejected, "margins": chosen - rejected}
        for name, rewards in (measured | {"accuracies": (chosen > rejected).float()}).items():
            self._metrics["train"][f"rewards/{name}"].append(self.accelerator.gather(rewards.detach()).mean().item())
        return -torch.nn.functional.logsigmoid(chosen - rejected).mean()

    def create_model_card(self, **kwargs: Any) -> None:
        """The run writes its own."""

    def _send_telemetry(self) -> None:
        """Nothing is sent."""


def summed_nll(model: PreTrainedModel, inputs: Batch) -> torch.Tensor:
    """(S,) NLL in nats of the learned tokens of each of S sequences: rows of the batch, or joined in a single row."""
    logits_BNV, targets_BN = response_logits(model, inputs)
    learned_BN = targets_BN != IGNORED
    nll_L = token_nll(logits_BNV[learned_BN], targets_BN[learned_BN])
    learned_BT = inputs["labels"][:, 1:] != IGNORED
    if "position_ids" in inputs:
        sequence_BT = (inputs["position_ids"] == 0).cumsum(1) - 1
        count = int(sequence_BT[0, -1]) + 1
    else:
        count = len(learned_BT)
        sequence_BT = torch.arange(count, device=learned_BT.device)[:, None].expand_as(inputs["labels"])
    return nll_L.new_zeros(count).index_add(0, sequence_BT[:, 1:][learned_BT], nll_L)


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
