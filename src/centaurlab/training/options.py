"""What a training run is asked: the data, what is held out of them, and when to stop.

Everything about optimisation stands in TRL's ``SFTConfig``, and about the model and LoRA in its ``ModelConfig``. These
take seconds to import; of their options, those that most runs set are described here, for ``--help``.
"""

import math
from dataclasses import dataclass, field
from typing import Literal

from centaurlab.data.source import DataArguments
from centaurlab.runtime.errors import UserError


@dataclass
class CentaurArguments(DataArguments):
    """Which sessions to train on, and which to hold out."""

    participants: str = field(default="all", init=False)
    data_seed: int = field(default=0, init=False)  # the name belongs to SFTConfig, where it seeds the batches
    split_seed: int = field(
        default=0, metadata={"help": "seed of the order of participants, and so of who is held out"}
    )
    people_seed: int | None = field(
        default=None,
        metadata={"help": "seed of the order in which training people are taken, where not all are (default: split's)"},
    )
    novel_studies: str | None = field(
        default=None, metadata={"help": "studies held out whole, comma separated: to judge generalisation"}
    )
    split: str = field(
        default="person",
        metadata={
            "help": "what is held out beside a tenth of the people. person: --novel_studies; study: these or, where "
            "none, a tenth of the studies; paradigm: these and all siblings by text, items, people or catalog"
        },
    )
    eval_data: str | None = field(
        default=None,
        metadata={"help": "held-out participants as a source of their own (default: held out of --data)"},
    )
    train_share: float = field(
        default=1.0, metadata={"help": "share of each study's training participants, in the seeded order"}
    )
    max_responses: int | None = field(
        default=None, metadata={"help": "responses per study: participants are added until they gave so many"}
    )
    study_weighting: str = field(
        default="natural",
        metadata={"help": "natural: every session once per epoch; balanced: equally many sessions of each study"},
    )
    long_sessions: str = field(
        default="cut",
        metadata={
            "help": "sessions longer than --max_length. cut: end after the last response that fits; "
            "split: windows that each start with the instructions"
        },
    )
    eval_participants: int = field(
        default=8, metadata={"help": "held-out participants per study in evaluations during training"}
    )
    early_stopping_patience: int | None = field(
        default=None, metadata={"help": "stop after so many evaluations in a row without a new best"}
    )

    def __post_init__(self) -> None:
        self.data_seed = self.split_seed
        for name, value, choices in (
            ("study_weighting", self.study_weighting, ("natural", "balanced")),
            ("long_sessions", self.long_sessions, ("cut", "split")),
            ("split", self.split, ("person", "study", "paradigm")),
        ):
            if value not in choices:
                raise UserError(f"--{name} is {value!r}; choose {' or '.join(choices)}")
        if not 0 < self.train_share <= 1:
            raise UserError(f"--train_share is {self.train_share}; it must be above 0 and at most 1")
        for name, count in (
            ("max_responses", self.max_responses),
            ("eval_participants", self.eval_participants),
            ("max_participants", self.max_participants),
            ("early_stopping_patience", self.early_stopping_patience),
        ):
            if count is not None and count < 1:
                raise UserError(f"--{name} is {count}; it must be at least 1")

    @property
    def novel(self) -> tuple[str, ...]:
        """The names in ``novel_studies``."""
        return tuple(name.strip() for name in (self.novel_studies or "").split(",") if name.strip())


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


@dataclass
class UsualSettings:
    """Of TRL's ``SFTConfig`` and ``ModelConfig``, what most runs set; each may stand in the YAML or be typed."""

    _argument_group_name = "of TRL's SFTConfig and ModelConfig, the usual ones (--help_all shows every one)"

    model_name_or_path: str | None = field(default=None, metadata={"help": "the model to train, as a rule a base"})
    output_dir: str | None = field(default=None, metadata={"help": "folder for adapter or model, metrics and run.json"})
    dtype: str | None = field(default=None, metadata={"help": "of the weights, such as bfloat16"})
    load_in_4bit: bool = field(default=False, metadata={"help": "train on NF4 weights (QLoRA)"})
    use_peft: bool = field(default=False, metadata={"help": "train a LoRA adapter"})
    lora_r: int | None = field(default=None, metadata={"help": "rank of the adapter"})
    lora_alpha: int | None = field(default=None, metadata={"help": "its scale"})
    lora_target_modules: list[str] | None = field(default=None, metadata={"help": "layers that it is put on"})
    max_length: int | None = field(default=None, metadata={"help": "longest session in tokens"})
    max_steps: int | None = field(default=None, metadata={"help": "end after so many steps"})
    num_train_epochs: float | None = field(default=None, metadata={"help": "end after so many passes over the data"})
    per_device_train_batch_size: int | None = field(default=None, metadata={"help": "sessions at once per device"})
    gradient_accumulation_steps: int | None = field(default=None, metadata={"help": "batches summed into one step"})
    learning_rate: float | None = field(default=None, metadata={"help": "highest learning rate"})
    lr_scheduler_type: str | None = field(default=None, metadata={"help": "its course, such as cosine"})
    warmup_steps: int | None = field(default=None, metadata={"help": "steps until it is reached"})
    seed: int | None = field(default=None, metadata={"help": "of weights and batches"})
    packing: bool = field(default=False, metadata={"help": "fill every batch with whole sessions, without padding"})
    activation_checkpointing: bool | None = field(
        default=None, metadata={"help": "compute activations again in the backward pass: less memory, slower"}
    )
    eval_strategy: str | None = field(default=None, metadata={"help": "no, steps or epoch"})
    eval_steps: int | None = field(default=None, metadata={"help": "steps between evaluations on held-out people"})
    save_steps: int | None = field(default=None, metadata={"help": "steps between checkpoints"})
    report_to: list[str] | None = field(default=None, metadata={"help": "trackers: mlflow, wandb, all or none"})
    push_to_hub: bool = field(default=False, metadata={"help": "upload the result to the Hugging Face hub"})
