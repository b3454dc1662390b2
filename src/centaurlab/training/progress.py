"""What a training run shows while it goes on: one bar with the loss, and a sentence for every evaluation.

The trainer's own callbacks write each log as a Python dict across the bar; here they are replaced.
"""

from typing import Any

from tqdm.auto import tqdm
from transformers import Trainer, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import PrinterCallback, ProgressCallback

from centaurlab.runtime.quiet import ignore_equal_times
from centaurlab.runtime.terminal import say

_TOLD = {"loss": "loss", "eval_nll": "NLL of held-out people", "eval_loss": "held-out loss"}
"""What is said of a log: the first that it has."""


def show_progress(trainer: Trainer) -> None:
    """Let ``trainer`` show how far it is in our way; with ``disable_tqdm`` in sentences alone."""
    ignore_equal_times()
    trainer.remove_callback(ProgressCallback)
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(Progress(has_bars=not trainer.args.disable_tqdm))


class Progress(ProgressCallback):
    """The bars of transformers, with their names; logs beside and not across them."""

    def __init__(self, has_bars: bool) -> None:
        super().__init__()
        self.prediction_bar: Any = None
        self.training_bar: Any = None
        self._has_bars = has_bars

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Begin the bar at the step from which the run goes on."""
        self.current_step = state.global_step
        if state.is_world_process_zero:
            self.training_bar = tqdm(
                desc="training",
                total=state.max_steps,
                initial=state.global_step,
                unit="step",
                dynamic_ncols=True,
                disable=not self._has_bars,
            )

    def on_prediction_step(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        eval_dataloader: Any = None,
        **kwargs: Any,
    ) -> None:
        """Advance a second bar, which goes away when it is full."""
        if state.is_world_process_zero and eval_dataloader is not None:
            if self.prediction_bar is None:
                self.prediction_bar = tqdm(
                    desc="evaluating",
                    total=len(eval_dataloader),
                    unit="batch",
                    leave=False,
                    dynamic_ncols=True,
                    disable=not self._has_bars,
                )
            self.prediction_bar.update(1)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Put the loss behind the bar, and say what an evaluation found above it."""
        if not (state.is_world_process_zero and logs):
            return
        if "loss" in logs and self._has_bars and self.training_bar is not None:
            self.training_bar.set_postfix_str(f"loss {logs['loss']:.3f}")
        elif found := next((name for name in _TOLD if name in logs), None):
            with tqdm.external_write_mode():
                say(f"step {state.global_step:,} of {state.max_steps:,}: {_TOLD[found]} {logs[found]:.4f} nats")
