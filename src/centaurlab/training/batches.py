"""Whether sessions may share a batch or a row with this base model, so that the loss is that of each session alone."""

from transformers import PretrainedConfig, PreTrainedModel
from trl import SFTConfig

from centaurlab.models.positions import grows_with_the_longest, length_of_short_rope
from centaurlab.models.self_check import self_check
from centaurlab.runtime.errors import UserError

_PACKED_ALIKE = frozenset(
    [
        *("llama", "qwen2", "qwen3", "qwen3_moe", "olmo2", "olmo3", "gemma", "gemma2", "gemma3_text", "gemma3"),
        *("gemma4_text", "mistral", "mixtral", "phi", "phi3", "smollm3", "stablelm", "starcoder2", "granite", "cohere"),
        *("cohere2", "exaone4", "glm4", "seed_oss", "deepseek_v3"),
    ]
)
"""Types of models whose packed rows the tests compare with sessions alone: for weights that will be sharded."""


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


def check_batches(
    model: PreTrainedModel, model_fingerprint: str, training_args: SFTConfig | None, packed: bool, sharded: bool
) -> None:
    """Try what the batches of this training need (None: none); on a CPU the model then attends in blocks where it may.

    Raises ``UserError`` where a neighbour changes a session's loss. Weights that are to be sharded cannot be computed
    yet: for them it goes by the type of the model.
    """
    train = training_args.per_device_train_batch_size if training_args else 1
    evaluation = training_args.per_device_eval_batch_size if training_args else 1
    padded = evaluation > 1 or (train > 1 and not packed)
    if sharded:
        packs, pads = model.config.model_type in _PACKED_ALIKE, True
    else:
        check = self_check(model, model_fingerprint, ["packed"] * packed + ["right_padded"] * padded)
        packs, pads = check.packed is not False, check.right_padded is not False
    if packed and not packs:
        raise UserError(
            f"in a packed row the sessions change one another's loss with this model ({model.config.model_type}): "
            "leave packing and padding_free out"
        )
    if padded and not pads:
        raise UserError(
            "padding changes a session's loss with this model: set per_device_train_batch_size: 1 and "
            "per_device_eval_batch_size: 1"
        )
