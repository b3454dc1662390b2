"""What a training run writes down while it runs."""

from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from centaurlab.runs import RunFolder, peak_memory


class RunFolderCallback(TrainerCallback):
    """Appends every logged metric to ``metrics.jsonl``: ``train/loss``, ``eval/nll/<study>`` …, with its step."""

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        """Write a line, on the main process."""
        if state.is_world_process_zero and logs:
            metrics = {metric_name(name): value for name, value in logs.items() if isinstance(value, int | float)}
            if "train_tokens_per_second" in logs:
                metrics |= {"tokens_per_second": logs["train_tokens_per_second"]} | peak_memory()
            self._folder.log(metrics, state.global_step)


def metric_name(logged: str) -> str:
    """The name of a metric in files and trackers: ``eval_nll/x`` becomes ``eval/nll/x``, ``loss`` ``train/loss``."""
    prefix, _, name = logged.partition("_")
    return f"{prefix}/{name}" if prefix in ("eval", "base", "final") else f"train/{logged}"
