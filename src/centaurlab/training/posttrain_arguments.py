"""What a post-training run is asked: the method, the conversations, and what is to keep the model human-like.

Everything about optimisation stands in TRL's ``SFTConfig``, and about the model and LoRA in its ``ModelConfig``.
"""

import math
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from trl import DPOConfig, SFTConfig

from centaurlab.errors import UserError
from centaurlab.training.arguments import CentaurArguments

STARTER_ASSISTANT = "starter-assistant"


@dataclass
class PostTrainArguments:
    """How to post-train, and on what."""

    method: Literal["sft", "dpo"] = field(
        default="sft", metadata={"help": "sft: learn the replies; dpo: prefer the chosen reply to the rejected one"}
    )
    dataset: str = field(
        default=STARTER_ASSISTANT,
        metadata={
            "help": "'starter-assistant', or a hub data set, folder or .jsonl, .json or .parquet file with 'messages', "
            "'conversations' or 'prompt' and 'completion'; for dpo 'chosen' and 'rejected'"
        },
    )
    dataset_config: str | None = field(
        default=None, metadata={"help": "configuration of a hub data set that has several"}
    )
    dataset_split: str = field(default="train", metadata={"help": "split of a hub data set or folder"})
    max_examples: int | None = field(
        default=None, metadata={"help": "at most so many conversations (starter-assistant: 2000 unless given)"}
    )
    on_malformed: str = field(
        default="error",
        metadata={"help": "conversations that cannot be used: error, or skip (they are listed in run.json)"},
    )
    beta: float = field(default=0.1, metadata={"help": "dpo: how strongly to stay near the base model"})
    replay_share: float = field(
        default=0.0, metadata={"help": "sft: share of the training examples that are human sessions"}
    )
    replay_data: str = field(default="starter", metadata={"help": "sessions for --replay_share, as --data elsewhere"})
    replay_studies: str | None = field(
        default=None, metadata={"help": "only these studies, comma separated; their held-out participants stay out"}
    )
    kl_to_base: float = field(
        default=0.0, metadata={"help": "sft: weight of the KL divergence from the base model at every learned token"}
    )

    def __post_init__(self) -> None:
        if self.method not in ("sft", "dpo"):
            raise UserError(f"--method is {self.method!r}; choose sft or dpo")
        if self.on_malformed not in ("error", "skip"):
            raise UserError(f"--on_malformed is {self.on_malformed!r}; choose error or skip")
        if not (self.beta > 0 and math.isfinite(self.beta)):
            raise UserError(f"--beta is {self.beta}; it must be above 0")
        if not 0 <= self.replay_share < 1:
            raise UserError(f"--replay_share is {self.replay_share}; it must be at least 0 and below 1")
        if not (self.kl_to_base >= 0 and math.isfinite(self.kl_to_base)):
            raise UserError(f"--kl_to_base is {self.kl_to_base}; it must be at least 0")
        if self.max_examples is not None and self.max_examples < 1:
            raise UserError(f"--max_examples is {self.max_examples}; it must be at least 1")
        if self.method == "dpo" and (self.replay_share or self.kl_to_base):
            raise UserError("--replay_share and --kl_to_base go with --method sft; dpo stays near its base by --beta")

    def replay_arguments(self) -> CentaurArguments:
        """Which human sessions are mixed in: none of ``--participants test`` elsewhere, long ones in windows."""
        return CentaurArguments(
            data=self.replay_data,
            studies=self.replay_studies,
            study_weighting="balanced",
            long_sessions="split",
            eval_participants=1,
        )


def dpo_config(training_args: SFTConfig, beta: float) -> DPOConfig:
    """The same settings for TRL's ``DPOTrainer``; what only supervised training has is left away."""
    known = {f.name for f in fields(DPOConfig) if f.init}
    shared: dict[str, Any] = {
        f.name: getattr(training_args, f.name) for f in fields(SFTConfig) if f.init and f.name in known
    }
    return DPOConfig(**shared | {"loss_type": ["sigmoid"], "beta": beta})
