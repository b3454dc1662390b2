"""How fast training is: against a plain Hugging Face ``Trainer``, which computes the logits of every position.

Both train a LoRA adapter of the same shape on the same sessions in the same order, one session a step.
"""

import tempfile
import time
from collections.abc import Sequence
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from trl import SFTConfig

from centaurlab.models.arguments import ModelArguments
from centaurlab.models.loading import load_model, load_tokenizer
from centaurlab.models.passes import check_known
from centaurlab.prompts.encoding import Encoding
from centaurlab.runtime.quiet import ignore_renamed_checkpointing
from centaurlab.scoring.benchmark import Timing, peak_memory_bytes
from centaurlab.training.base_model import load_base
from centaurlab.training.data import whole
from centaurlab.training.trainer import CentaurTrainer, SessionCollator


def time_training(model_args: ModelArguments, encodings: Sequence[Encoding], *, plain: bool) -> Timing:
    """Train on each of ``encodings`` once, after a step on the first that is not timed.

    ``Timing.nll`` holds the loss of each timed step: nats per response token.
    """
    examples = [whole(encoding) for encoding in (encodings[0], *encodings)]
    rows = Dataset.from_list([{"input_ids": e.input_ids_T, "labels": e.labels_T} for e in examples])
    accelerated = torch.accelerator.is_available()
    settings: dict[str, Any] = {
        "per_device_train_batch_size": 1,
        "max_steps": len(examples),
        "train_sampling_strategy": "sequential",
        "learning_rate": 5e-5,
        "bf16": True,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "use_cpu": not accelerated,
        "dataloader_pin_memory": accelerated,
    }
    clock = _Clock()
    with tempfile.TemporaryDirectory() as folder:
        trainer = (_plain_trainer if plain else _our_trainer)(model_args, rows, settings | {"output_dir": folder})
        model: Any = trainer.model
        check_known(model, *(example.input_ids_T for example in examples))
        trainer.add_callback(clock)
        trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    return Timing(
        seconds=clock.step_ends[-1] - clock.step_ends[0],
        tokens=sum(len(example.input_ids_T) for example in examples[1:]),
        peak_memory_bytes=peak_memory_bytes(),
        nll=losses[1:],
    )


def _plain_trainer(model_args: ModelArguments, rows: Dataset, settings: dict[str, Any]) -> Trainer:
    ignore_renamed_checkpointing()
    args = TrainingArguments(**settings)
    model = get_peft_model(load_model(model_args, args.device), _lora())
    pad_token_id = load_tokenizer(model_args).pad_token_id or 0
    return Trainer(model=model, args=args, train_dataset=rows, data_collator=SessionCollator(pad_token_id))


def _our_trainer(model_args: ModelArguments, rows: Dataset, settings: dict[str, Any]) -> Trainer:
    args = SFTConfig(**settings, dataset_kwargs={"skip_prepare_dataset": True})
    tokenizer = load_tokenizer(model_args)
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    return CentaurTrainer(
        model=load_base(model_args, args.device, args),
        args=args,
        train_dataset=rows,
        processing_class=tokenizer,
        data_collator=SessionCollator(tokenizer.pad_token_id),
        peft_config=_lora(),
        studies=(),
    )


def _lora() -> LoraConfig:
    return LoraConfig(r=8, lora_alpha=8, lora_dropout=0.0, use_rslora=True, target_modules="all-linear")


class _Clock(TrainerCallback):
    """When each optimiser step ended, in seconds."""

    def __init__(self) -> None:
        self.step_ends: list[float] = []

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if torch.accelerator.is_available():
            torch.accelerator.synchronize()
        self.step_ends.append(time.perf_counter())
