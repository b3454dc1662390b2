"""The last checkpoint that is whole: a run killed at any moment goes on from there, by the same command."""

import json
import os
import zipfile
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from accelerate import PartialState
from safetensors import SafetensorError, safe_open
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from trl import SFTConfig

from centaurlab.runs.folder import RunFolder, checkpoint_steps, read_metrics
from centaurlab.runs.integrity import changed_file, run_of, write_manifest
from centaurlab.runs.provenance import peak_memory
from centaurlab.runtime.disk import disk_errors
from centaurlab.runtime.errors import UserError
from centaurlab.runtime.secrets import masked
from centaurlab.runtime.terminal import say
from centaurlab.training.base_model import name_published_base

PROCESSES = "processes"
"""Where a run's settings say how many processes share a step."""

_STATE = "trainer_state.json"  # the last file that a checkpoint gets

_FREE_TO_CHANGE = (
    *("output_dir", "run_name", "report_to", "logging_steps", "disable_tqdm"),
    *("save_strategy", "save_steps", "save_total_limit"),
    "restore_callback_states_from_checkpoint",
)


def check_resuming(training_args: SFTConfig) -> None:
    """Raise ``UserError`` for the trainer's own ways of resuming, which know nothing of the run's folder.

    Callbacks go on from where they were: early stopping would otherwise count its evaluations anew.
    """
    if training_args.resume_from_checkpoint:
        raise UserError("leave resume_from_checkpoint away: the same command goes on from the last whole checkpoint")
    if training_args.enable_jit_checkpoint:
        raise UserError(
            "leave enable_jit_checkpoint away: it ends a run that is told to stop as if it were done; the same "
            "command goes on from the last checkpoint, of which --save_steps makes more"
        )
    training_args.restore_callback_states_from_checkpoint = True


def fixed_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Those of TRL's dataclasses (``settings['model']``, ``['training']``) that a run cannot change on its way."""
    shared = {f.name for f in fields(SFTConfig) if f.init} - set(_FREE_TO_CHANGE)
    training = {name: value for name, value in settings["training"].items() if name in shared}
    return {**settings["model"], **training}


def check_processes(folder: Path, config: Mapping[str, Any], processes: int) -> None:
    """Raise ``UserError`` where a run is continued on another number of processes than it was begun with.

    Steps are counted, and each step would be of another number of sessions. Older versions did not note it.
    """
    begun = config.get(PROCESSES)
    if begun is not None and begun != processes:
        raise UserError(
            f"{folder} holds a run that was begun with {begun} process{'es' * (begun > 1)}, not {processes}; start as "
            "many, or give another --output_dir"
        )


def as_read_back(content: Any) -> Any:
    """As a run's JSON file gives it back, where secrets are masked by the names they go under."""
    return json.loads(json.dumps(masked(content), default=str))


def last_complete_checkpoint(output_dir: Path) -> Path | None:
    """The checkpoint of the highest step in ``output_dir`` whose files are as they were written, or None.

    One that has its manifest and is damaged all the same is named.
    """
    damaged: dict[Path, str] = {}
    found = None
    for _, path in reversed(checkpoint_steps(output_dir)):
        changed = changed_file(path)
        if not changed and _is_whole(path):
            found = path
            break
        if changed:
            damaged[path] = changed
    if os.environ.get("RANK", "0") == "0":
        for path, changed in damaged.items():
            say(f"note: {path} is damaged ({changed}); " + (f"{found} is used" if found else "training begins anew"))
    return found


def check_same_run(checkpoint: Path, run: str) -> None:
    """Raise ``UserError`` where a checkpoint says that it is of another training than ``run`` (``run_digest``)."""
    if _is_others(checkpoint, run):
        raise UserError(
            f"{checkpoint} is of another training, or was written with another version of transformers or TRL, whose "
            "settings are others; go on with that version, give another --output_dir or, where it was laid in, move "
            "it away"
        )


def _is_others(checkpoint: Path, run: str | None) -> bool:
    return run_of(checkpoint) not in (None, run)


def _is_whole(checkpoint: Path) -> bool:
    """Whether no file of a checkpoint is missing or torn, as far as that is seen without a manifest."""
    try:
        json.loads((checkpoint / _STATE).read_text(encoding="utf-8"))
        for weights in [*checkpoint.glob("*model*.safetensors")] or [checkpoint / "model.safetensors"]:
            with safe_open(weights, "pt") as tensors:
                tensors.keys()
    except (OSError, ValueError, SafetensorError):
        return False
    return all(zipfile.is_zipfile(path) for path in checkpoint.glob("*.pt"))


def logged_until(metrics: Path, step: int) -> None:
    """Drop the lines of ``metrics.jsonl`` that a resumed run will write again: those after ``step``, torn ones."""
    if not metrics.exists():
        return
    read_metrics(metrics.parent)  # or what the disk has changed would be taken for torn
    kept = []
    for line in metrics.read_text(encoding="utf-8").splitlines():
        try:
            if json.loads(line).get("step", 0) <= step:
                kept.append(line + "\n")
        except ValueError:
            continue
    temporary = metrics.with_suffix(".tmp")
    temporary.write_text("".join(kept), encoding="utf-8")
    temporary.replace(metrics)


class EndsOnce:
    """Of a ``transformers.Trainer``: it takes no step beyond the end of its run, and ends with its own best checkpoint.

    A run may be killed between its last checkpoint and its end. The library's trainer asks whether it is done only
    after each step, so that it would go on with one step too many, or, where it had stopped early, to the end. The best
    checkpoint it loads as it is and from wherever it was, and ends with the last weights where it is gone: when it goes
    on, ``RunFolderCallback`` says where it is.
    """

    args: Any
    state: TrainerState
    control: TrainerControl
    run: str | None = None  # the digest that its checkpoints are known by

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if not hasattr(super(), "_run_epoch"):
            raise ImportError("this transformers trains otherwise than in epochs of _run_epoch: take an earlier one")

    def _run_epoch(self, *args: Any, **kwargs: Any) -> None:
        states: Any = self.state.stateful_callbacks  # by name, though annotated as callbacks
        stopped = states.get("TrainerControl", {}).get("args", {}).get("should_training_stop")
        if stopped or self.state.global_step >= self.state.max_steps:
            self.control.should_training_stop = True
        else:
            super()._run_epoch(*args, **kwargs)  # type: ignore[misc]

    def _load_best_model(self) -> None:
        best = Path(self.args.output_dir) / Path(str(self.state.best_model_checkpoint)).name
        if not best.is_dir() or _is_others(best, self.run) or changed_file(best):
            raise _no_best(best)
        self.state.best_model_checkpoint = str(best)
        super()._load_best_model()  # type: ignore[misc]


def _no_best(best: Path) -> UserError:
    return UserError(
        f"the best checkpoint, {best}, is gone, damaged or of another training; take it from a copy, or train anew "
        "with another --output_dir"
    )


def keep_in(folder: RunFolder, trainer: Trainer, run: str) -> None:
    """Let a trainer keep its metrics and checkpoints in ``folder``, these as those of ``run`` (``run_digest``)."""
    assert isinstance(trainer, EndsOnce), "trainers of ours are"
    trainer.run = run
    trainer.add_callback(RunFolderCallback(folder, run))


class RunFolderCallback(TrainerCallback):
    """Appends every logged metric to ``metrics.jsonl``: ``train/loss``, ``eval/nll/<study>`` …, with its step.

    Every checkpoint gets its manifest, with the ``run_digest`` ``run``, once all processes have written their parts.
    """

    def __init__(self, folder: RunFolder, run: str) -> None:
        self._folder = folder
        self._run = run
        self._begun_at = 0

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Remember the step from which the run goes on, and where its best checkpoint is by now.

        Where that is not at the path it was saved to, the library has forgotten it, and would never load it.
        """
        self._begun_at = state.global_step
        saved = self._folder.path / f"checkpoint-{state.global_step}" / _STATE
        known = json.loads(saved.read_text(encoding="utf-8")).get("best_model_checkpoint") if saved.exists() else None
        if args.load_best_model_at_end and known:
            best = self._folder.path / Path(known).name
            if not best.is_dir():
                raise _no_best(best)
            state.best_model_checkpoint = str(best)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        """Write a line, on the main process; none of the speed and loss of a call that took no step."""
        took_none = "train_runtime" in (logs or {}) and state.global_step == self._begun_at
        if state.is_world_process_zero and logs and not took_none:
            metrics = {metric_name(name): value for name, value in logs.items() if isinstance(value, int | float)}
            if "train_tokens_per_second" in logs:
                metrics |= {"tokens_per_second": logs["train_tokens_per_second"]} | peak_memory()
            self._folder.log(metrics, state.global_step)

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Write the manifest, on the main process."""
        checkpoint = self._folder.path / f"checkpoint-{state.global_step}"
        PartialState().wait_for_everyone()
        if state.is_world_process_zero and checkpoint.is_dir():
            with disk_errors(checkpoint):
                name_published_base(checkpoint)
                write_manifest(checkpoint, self._run)


def metric_name(logged: str) -> str:
    """The name of a metric in files and trackers: ``eval_nll/x`` becomes ``eval/nll/x``, ``loss`` ``train/loss``."""
    prefix, _, name = logged.partition("_")
    return f"{prefix}/{name}" if prefix in ("eval", "base", "final") else f"train/{logged}"
