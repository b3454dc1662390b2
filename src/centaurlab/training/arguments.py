"""How a run is optimised: TRL's ``SFTConfig`` with what its users would have to set on every machine."""

import os
from dataclasses import dataclass, field, fields
from typing import Any

import torch
from trl import DPOConfig, SFTConfig

from centaurlab.runs.tracker import TrackingArguments
from centaurlab.runtime.errors import UserError
from centaurlab.runtime.secrets import mask_secrets

_OURS = {
    "label_smoothing_factor": (0.0,),
    "loss_type": ("nll",),
    "completion_only_loss": (None, True),
    "truncation_mode": ("keep_start",),
    "packing_strategy": ("bfd",),
}
"""Settings that would have no effect, since losses, examples and rows are made here: those that say what is done."""


def check_effective(training_args: SFTConfig) -> None:
    """Raise ``UserError`` for a setting that would be recorded and not hold."""
    for name, allowed in _OURS.items():
        if getattr(training_args, name) not in allowed:
            raise UserError(f"{name}: {getattr(training_args, name)} is not supported; leave it out ({allowed[-1]})")


@dataclass
class CentaurConfig(SFTConfig):  # type: ignore[misc]
    """TRL's ``SFTConfig``, on the CPU where there is nothing else.

    Its trackers, MLflow unless told otherwise, mirror the run's folder (``tracking``).
    """

    report_to: list[str] | str = field(
        default_factory=lambda: ["mlflow"],
        metadata={"help": "trackers: mlflow, wandb, the two (with a space between), all or none"},
    )

    activation_checkpointing: bool | None = field(
        default=None,
        metadata={"help": "compute activations again in the backward pass: less memory, slower (default: true)"},
    )

    def __post_init__(self) -> None:
        token: str | None = self.hub_token
        if token:
            os.environ["HF_TOKEN"] = token
        self.hub_token: str | None = None  # the trainer pickles its arguments beside every checkpoint
        name: str | None = self.run_name
        self.run_name: str | None = mask_secrets(name) if name else None
        report_to = self.report_to.split() if isinstance(self.report_to, str) else self.report_to
        self.tracking = TrackingArguments(report_to, self.run_name)
        self.report_to = "none"  # to the trainer: its own callbacks would make a second run
        self.include_num_input_tokens_seen = "non_padding"  # for the speed
        if self.activation_checkpointing is None:
            self.activation_checkpointing = self.gradient_checkpointing  # TRL 1.16 has its default under the old name
        greater: bool | None = self.greater_is_better
        if greater:
            raise UserError(
                "greater_is_better is true, but all that is evaluated is better where it is less; leave it out"
            )
        # Or transformers takes the greatest of what is not called a loss.
        self.greater_is_better: bool | None = False if self.metric_for_best_model else greater
        if not torch.accelerator.is_available():
            self.use_cpu, self.dataloader_pin_memory = True, False
        super().__post_init__()


def dpo_config(training_args: SFTConfig, beta: float) -> DPOConfig:
    """The same settings for TRL's ``DPOTrainer``; what only supervised training has is left away."""
    known = {f.name for f in fields(DPOConfig) if f.init}
    shared: dict[str, Any] = {
        f.name: getattr(training_args, f.name) for f in fields(SFTConfig) if f.init and f.name in known
    }
    return DPOConfig(**shared | {"loss_type": ["sigmoid"], "beta": beta})
