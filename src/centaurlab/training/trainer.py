"""TRL's ``SFTTrainer`` with the scorer's loss: log-probabilities at response tokens alone, in float32.

TRL 1.16 applies the LM head to every position wherever there is no Triton (on every CPU), which for a vocabulary
of 262,144 is most of the work. Here the model's own ``logits_to_keep`` does the selection, on every device alike.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from datasets import Dataset
from torch.utils.checkpoint import checkpoint
from torch.utils.data import SequentialSampler
from transformers import EvalPrediction, PreTrainedModel, Trainer
from trl import SFTTrainer

from centaurlab.training.data import IGNORED
from centaurlab.training.resume import EndsOnce

# B: sequences of a batch, T: their length, N: positions that predict a response token in any of them, V: vocabulary.
Batch = dict[str, torch.Tensor]

_BLOCK_LOGITS = 1 << 25  # float32 logits at once: 128 MiB


def token_nll(logits_NV: torch.Tensor, targets_N: torch.Tensor) -> torch.Tensor:
    """(N,) negative log-likelihoods in nats by a float32 log-softmax; 0 where the target is ``IGNORED``.

    Taken in blocks of rows whose float32 logits are computed again in the backward pass instead of kept.
    """
    rows = max(1, _BLOCK_LOGITS // logits_NV.shape[-1])
    blocks = zip(logits_NV.split(rows), targets_N.split(rows), strict=True)
    return torch.cat([checkpoint(_block_nll, *block, use_reentrant=False) for block in blocks])


def _block_nll(logits_NV: torch.Tensor, targets_N: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.cross_entropy(logits_NV.float(), targets_N, ignore_index=IGNORED, reduction="none")


def response_logits(model: PreTrainedModel, inputs: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """(B, N, V) logits at the positions that predict a response token, and (B, N) these tokens or ``IGNORED``."""
    labels_BT = inputs["labels"][:, 1:]
    positions_N = (labels_BT != IGNORED).any(0).nonzero()[:, 0]
    model_inputs = {name: inputs[name] for name in ("input_ids", "attention_mask", "position_ids") if name in inputs}
    logits_BNV = model(**model_inputs, use_cache=False, logits_to_keep=positions_N).logits
    return logits_BNV, labels_BT[:, positions_N]


def sequence_nll(model: PreTrainedModel, inputs: Batch) -> torch.Tensor:
    """(B, N) NLLs in nats of the response tokens of a batch, 0 elsewhere."""
    logits_BNV, targets_BN = response_logits(model, inputs)
    return token_nll(logits_BNV.flatten(0, 1), targets_BN.flatten()).view(targets_BN.shape)


class SessionCollator:
    """Examples into a batch padded on the right; packed ones get position ids that start anew at each session.

    ``padding_free`` puts the examples of a batch into one row, B = 1: no padding, and no logits for it.
    """

    def __init__(self, pad_token_id: int, padding_free: bool = False) -> None:
        self._pad_token_id = pad_token_id
        self._padding_free = padding_free

    def __call__(self, examples: list[dict[str, Any]]) -> Batch:
        """(B, T) ids, labels and attention mask; (B,) of the columns ``study`` and ``responses``, if any."""
        if self._padding_free:
            joined = {name: [token for e in examples for token in e[name]] for name in ("input_ids", "labels")}
            examples = [joined | {"seq_lengths": [len(e["input_ids"]) for e in examples]}]
        longest = max(len(example["input_ids"]) for example in examples)
        batch = {
            "input_ids": _padded([e["input_ids"] for e in examples], self._pad_token_id, longest),
            "labels": _padded([e["labels"] for e in examples], IGNORED, longest),
        }
        if "seq_lengths" in examples[0]:
            positions = [np.concatenate([np.arange(n) for n in e["seq_lengths"]]) for e in examples]
            batch["position_ids"] = _padded(positions, 0, longest)
            batch["labels"][batch["position_ids"] == 0] = IGNORED
        else:
            batch["attention_mask"] = _padded([np.ones(len(e["input_ids"])) for e in examples], 0, longest)
        for name in ("study", "responses"):
            if name in examples[0]:
                batch[name] = torch.tensor([example[name] for example in examples])
        return batch


def _padded(rows: list[Any], value: int, length: int) -> torch.Tensor:
    padded_BT = torch.full((len(rows), length), value, dtype=torch.long)
    for padded_T, row in zip(padded_BT, rows, strict=True):
        padded_T[: len(row)] = torch.as_tensor(np.asarray(row, np.int64))
    return padded_BT


class SessionNLL(NamedTuple):
    """Of each held-out session: its summed NLL in nats, and its number of responses."""

    nll: list[float]
    responses: list[int]


def train_in_float32(trainer: Trainer) -> None:
    """Undo TRL's rounding of a quantised model's adapter to bfloat16, in which small updates are lost."""
    model: Any = trainer.model
    if not (trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled):
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.float()


class CentaurTrainer(EndsOnce, SFTTrainer):  # type: ignore[misc]
    """Trains on response tokens; evaluates as mean NLL per response, per study and over studies.

    The loss is the mean over the response tokens of all sequences of an optimiser step, of every process. Since a
    response's NLL sums over its tokens, each response so counts as it does in a study's NLL.
    """

    _tag_names = ("centaurlab", "centaur")
    loss_is_scaled_for_ga = True  # num_items_in_batch counts the tokens of the whole optimiser step

    def __init__(self, *args: Any, studies: tuple[str, ...], **kwargs: Any) -> None:
        super().__init__(*args, compute_metrics=self._study_metrics, **kwargs)
        self._studies = studies
        self.model_accepts_loss_kwargs = True
        self.model_card = ""
        self._evaluated: dict[int, SessionNLL] = {}  # by step
        train_in_float32(self)

    def create_model_card(self, **kwargs: Any) -> None:
        """Write ``model_card`` as README.md, where it is written already; TRL's own is not used."""
        if self.model_card and self.is_world_process_zero():
            Path(self.args.output_dir, "README.md").write_text(self.model_card, encoding="utf-8")

    def _send_telemetry(self) -> None:
        """Nothing is sent."""

    def _set_signature_columns_if_needed(self) -> None:
        self._signature_columns = ["input_ids", "labels", "seq_lengths", "study", "responses"]

    def _get_eval_sampler(self, eval_dataset: Dataset) -> SequentialSampler | None:
        """In the data set's order, by which the results are known, also where batches are grouped by length."""
        return SequentialSampler(eval_dataset) if self.args.world_size <= 1 else None

    def compute_loss(
        self,
        model: PreTrainedModel,
        inputs: Batch,
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Mean NLL per response token, in nats."""
        assert not return_outputs, "the loss has no outputs besides itself"
        total = self.summed_loss(model, inputs)
        if num_items_in_batch is None:
            return total / (inputs["labels"][:, 1:] != IGNORED).sum().clamp(min=1)
        processes = self.accelerator.num_processes if self.args.average_tokens_across_devices else 1
        return total / num_items_in_batch * processes

    def summed_loss(self, model: PreTrainedModel, inputs: Batch) -> torch.Tensor:
        """What is minimised, in nats, summed over the response tokens of a batch."""
        return sequence_nll(model, inputs).sum()

    def prediction_step(
        self,
        model: PreTrainedModel,
        inputs: Batch,
        prediction_loss_only: bool,
        ignore_keys: list[str] | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Loss; (B,) summed NLLs of the sessions; (B, 2) their study and number of responses."""
        inputs = self._prepare_inputs(inputs)
        with torch.no_grad(), self.compute_loss_context_manager():
            nll_BN = sequence_nll(model, inputs)
        n_tokens = (inputs["labels"][:, 1:] != IGNORED).sum()
        return nll_BN.sum() / n_tokens, nll_BN.sum(1), torch.stack([inputs["study"], inputs["responses"]], 1)

    def final_session_nll(self) -> SessionNLL:
        """Of each held-out session, after training; an evaluation of the kept weights in training is not repeated."""
        best = self.state.best_global_step if self.args.load_best_model_at_end else None
        return self._evaluated.get(best or self.state.global_step) or self._session_nll()

    def base_session_nll(self) -> SessionNLL:
        """Of each held-out session under the base model.

        To be asked after training: accelerate does not make a model parallel that was evaluated before.
        """
        with self.accelerator.unwrap_model(self.model).disable_adapter():
            return self._session_nll()

    def _session_nll(self) -> SessionNLL:
        if not len(self.eval_dataset):  # nobody is held out
            return SessionNLL([], [])
        output = self.evaluation_loop(self.get_eval_dataloader(), "Evaluation")
        self.callback_handler.on_predict(self.args, self.state, self.control, output.metrics)  # ends the progress bar
        return self._evaluated.pop(self.state.global_step)

    def _study_metrics(self, prediction: EvalPrediction) -> dict[str, float]:
        study_S, responses_S = np.asarray(prediction.label_ids).T
        nll_S = np.asarray(prediction.predictions, np.float64)
        self._evaluated[self.state.global_step] = SessionNLL(nll_S.tolist(), responses_S.tolist())
        nlls = {
            self._studies[study]: float(nll_S[study_S == study].sum() / responses_S[study_S == study].sum())
            for study in np.unique(study_S)
        }
        return {f"nll/{study}": nll for study, nll in nlls.items()} | {"nll": float(np.mean(list(nlls.values())))}
