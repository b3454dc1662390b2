"""Whether sessions may share a batch or a row with this base model, so that the loss is that of each session alone."""

from collections.abc import Sequence
from typing import Any

import torch
from datasets import Dataset
from pyarrow import compute
from transformers import (
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from trl import SFTConfig

from centaurlab.models.passes import evaluating, unknown_token
from centaurlab.models.positions import counts_from_the_row, grows_with_the_longest, length_of_short_rope
from centaurlab.models.self_check import self_check
from centaurlab.models.trial import FLOAT32_TOLERANCE, HALF_TOLERANCE, alike
from centaurlab.runtime.errors import UserError

_SESSION_TOKENS, _STRANGER_TOKENS = 64, 12
"""Of the sessions that are tried in one batch."""
_SESSIONS_READ = 1_000


def check_lengths(config: PretrainedConfig, max_length: int, training_args: SFTConfig, packed: bool) -> None:
    """Refuse what would compute a session with the rotary embedding of a longer neighbour; evaluate one at a time.

    ``packed``: sessions share rows.
    """
    limit = length_of_short_rope(config)
    if limit is None or max_length <= limit:
        return
    because = f"this model's rotary embedding depends on how much is computed at once beyond {limit:,} tokens"
    if grows_with_the_longest(config):
        raise UserError(f"{because}, and on what came before; give --max_length {limit} or less")
    if packed or training_args.per_device_train_batch_size > 1:
        raise UserError(
            f"{because}; set per_device_train_batch_size: 1 (with gradient_accumulation_steps) and no packing, or give "
            f"--max_length {limit} or less"
        )
    training_args.per_device_eval_batch_size = 1


def check_tokens(config: PretrainedConfig, tokenizer: PreTrainedTokenizerBase, *data: Dataset) -> None:
    """Refuse sessions with tokens that the model has no embedding of, which ends the process on a GPU."""
    n_known = config.get_text_config(decoder=True).vocab_size
    for rows in data:
        for name in (name for name in rows.column_names if name.endswith("_ids")):
            parts = rows.with_format("arrow").iter(_SESSIONS_READ)
            most = max((compute.max(compute.list_flatten(part[name])).as_py() or 0 for part in parts), default=0)
            if most >= n_known:
                raise UserError(
                    f"the sessions hold {tokenizer.convert_ids_to_tokens(most)!r}: {unknown_token(n_known, [most])}"
                )


def check_batches(
    model: PreTrainedModel, model_fingerprint: str, training_args: SFTConfig | None, packed: bool, sharded: bool
) -> None:
    """Try what the batches of this training need (None: none); on a CPU the model then attends in blocks where it may.

    Raises ``UserError`` where a neighbour changes a session's loss. Weights that are to be sharded cannot be computed
    yet: they are tried when they are (``ShardedBatches``).
    """
    check_rows_at_once(str(model.config._attn_implementation), training_args)
    if sharded:
        if packed and counts_from_the_row(model.config):
            raise _not_packed(model.config.model_type)
        return
    padded = _is_padded(training_args, packed)
    check = self_check(model, model_fingerprint, ["packed"] * packed + ["right_padded"] * padded)
    if packed and check.packed is False:
        raise _not_packed(model.config.model_type)
    if padded and check.right_padded is False:
        raise _not_padded()


def check_rows_at_once(attention: str, training_args: SFTConfig | None) -> None:
    """Refuse several packed rows at once with FlashAttention.

    transformers 5 keeps the sessions of a row apart there only where the row is alone.
    """
    several = training_args and training_args.packing and training_args.per_device_train_batch_size > 1
    if several and "flash" in attention:
        raise UserError(
            f"with {attention} only a packed row that is alone keeps its sessions apart; set "
            "per_device_train_batch_size: 1, and gradient_accumulation_steps for more"
        )


class ShardedBatches(TrainerCallback):
    """Before the first step, what ``check_batches`` tries of a model that one process has whole.

    ``session_T`` are tokens of a session of the data, ``stranger_T`` of another. Every process computes the same, with
    the trainer's wrapped model: the one that callbacks are given lacks what is gathered at its root.
    """

    def __init__(self, trainer: Trainer, session_T: Sequence[int], stranger_T: Sequence[int], packed: bool) -> None:
        self._trainer = trainer
        self._session_BT = torch.tensor([list(session_T[:_SESSION_TOKENS])])
        self._stranger_BT = torch.tensor([list(stranger_T[:_STRANGER_TOKENS])])
        self._packed = packed

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Raise ``UserError`` where a neighbour changes the session's logits."""
        model: Any = self._trainer.model_wrapped
        model_type = self._trainer.accelerator.unwrap_model(model).config.model_type
        with evaluating(model):
            alone_TV = self._logits(model, args.device, self._session_BT)
            exact = not (args.bf16 or args.fp16) and all(p.dtype == torch.float32 for p in model.parameters())
            tolerance = FLOAT32_TOLERANCE if exact else HALF_TOLERANCE
            n, length = self._stranger_BT.shape[1], self._session_BT.shape[1]
            if self._packed:
                row_BT = torch.cat([self._stranger_BT, self._session_BT], 1)
                position_BT = torch.cat([torch.arange(n), torch.arange(length)])[None]
                packed_TV = self._logits(model, args.device, row_BT, position_ids=position_BT)[n:]
                if not alike(packed_TV, alone_TV, tolerance):
                    raise _not_packed(model_type)
            if _is_padded(args, self._packed):
                row_BT = torch.cat([self._session_BT, self._stranger_BT], 1)
                inside_BT = torch.ones_like(row_BT).repeat(2, 1)
                inside_BT[0, length:] = 0
                padded_TV = self._logits(model, args.device, row_BT.repeat(2, 1), attention_mask=inside_BT)[:length]
                if not alike(padded_TV, alone_TV, tolerance):
                    raise _not_padded()

    @staticmethod
    def _logits(model: Any, device: torch.device, ids_BT: torch.Tensor, **inputs: torch.Tensor) -> torch.Tensor:
        """(T, V) logits of the first row."""
        there = {name: value.to(device) for name, value in inputs.items()}
        logits_TV: torch.Tensor = model(input_ids=ids_BT.to(device), use_cache=False, **there).logits[0]
        return logits_TV


def _is_padded(training_args: TrainingArguments | None, packed: bool) -> bool:
    """Whether sessions of different length come into one batch."""
    if training_args is None:
        return False
    return training_args.per_device_eval_batch_size > 1 or (
        training_args.per_device_train_batch_size > 1 and not packed
    )


def _not_packed(model_type: str) -> UserError:
    return UserError(
        f"in a packed row the sessions change one another's loss with this model ({model_type}): "
        "leave packing and padding_free out"
    )


def _not_padded() -> UserError:
    return UserError(
        "padding changes a session's loss with this model: set per_device_train_batch_size: 1 and "
        "per_device_eval_batch_size: 1"
    )
