"""A training run from arguments to an adapter folder: what is checked before, and what is written after.

The folder holds at once what the run was asked (``config.json``, ``split.json``); a second start finds there that
it is the same run and goes on from its last whole checkpoint.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from transformers import EarlyStoppingCallback, PreTrainedTokenizerFast
from trl import ModelConfig, SFTConfig, pack_dataset

from centaurlab.data.held_out import BEFORE, PART, after, as_by_session, split_before
from centaurlab.display.terminal import show
from centaurlab.models.arguments import ModelArguments
from centaurlab.models.checkpoints import BASE_WEIGHTS
from centaurlab.models.identity import identify, weights_fingerprint
from centaurlab.models.loading import load_config, load_tokenizer
from centaurlab.models.shape import usable_window, window_notes
from centaurlab.results.record import ModelIdentity
from centaurlab.runs.folder import RunFolder
from centaurlab.runs.integrity import run_digest
from centaurlab.runs.provenance import provenance
from centaurlab.runtime.disk import full_disk_errors
from centaurlab.runtime.errors import UserError
from centaurlab.training.arguments import check_effective
from centaurlab.training.base_model import (
    adapter_errors,
    base_arguments,
    is_sharded,
    load_base,
    lora_config,
    name_published_base,
)
from centaurlab.training.batches import ShardedBatches, check_lengths, check_tokens
from centaurlab.training.data import TrainingData, prepare_data
from centaurlab.training.model_card import HeldOutResult, held_out_results, model_card, results_table
from centaurlab.training.options import CentaurArguments
from centaurlab.training.progress import show_progress
from centaurlab.training.resume import (
    PROCESSES,
    as_read_back,
    check_processes,
    check_resuming,
    check_same_run,
    fixed_settings,
    keep_in,
    last_complete_checkpoint,
    logged_until,
)
from centaurlab.training.trainer import CentaurTrainer, SessionCollator

_DEFAULT_CHECKPOINTS_KEPT = 2
_NEWER = (*PART, BEFORE)
"""What older versions did not write in ``split.json``; the texts have fingerprints, and so has the model before."""


@dataclass(frozen=True)
class Run:
    """A trainer and what is known of its run before the first step."""

    trainer: CentaurTrainer
    folder: RunFolder
    base: ModelIdentity
    data: TrainingData
    settings: dict[str, Any]
    checkpoint: Path | None


def prepare_run(args: CentaurArguments, training_args: SFTConfig, model_args: ModelConfig) -> Run:
    """Check everything, read the data, load the model, and find where to go on.

    Raises ``UserError`` for whatever a user can mend.
    """
    _check_settings(args, training_args)
    base_args = base_arguments(model_args, training_args)
    folder = RunFolder(Path(training_args.output_dir), "train")
    tokenizer = load_tokenizer(base_args)
    config = load_config(base_args)
    max_length = usable_window(config, training_args.max_length)
    seed = training_args.seed if training_args.data_seed is None else training_args.data_seed
    check_lengths(config, max_length, training_args, training_args.packing)
    data = prepare_data(args, tokenizer, max_length, seed)
    data = replace(data, notes=(*data.notes, *window_notes(config, training_args.max_length)))
    check_tokens(config, tokenizer, data.train, data.held_out)
    identity = identify(base_args)
    settings = {"data": asdict(args), "training": training_args.to_dict(), "model": asdict(model_args)}
    model = base_args.model_name_or_path
    split = after(split_before(model), data.split, data.persons, model) | {"base_fingerprint": identity.fingerprint}
    known = {name: value for name, value in split.items() if name not in _NEWER}
    run = run_digest(as_read_back(known | _fixed(settings)))
    checkpoint = _begin(folder, split, weights_fingerprint(base_args), settings, training_args, run)
    trainer = build_trainer(args, training_args, model_args, base_args, tokenizer, data, max_length)
    keep_in(folder, trainer, run)
    show_progress(trainer)
    return Run(trainer, folder, identity, data, settings, checkpoint)


@adapter_errors()
def build_trainer(
    args: CentaurArguments,
    training_args: SFTConfig,
    model_args: ModelConfig,
    base_args: ModelArguments,
    tokenizer: PreTrainedTokenizerFast,
    data: TrainingData,
    max_length: int,
) -> CentaurTrainer:
    """The trainer of a base model with a fresh LoRA adapter; packs the sessions if ``packing`` is set."""
    train = data.train
    packed = training_args.packing
    model = load_base(base_args, training_args.device, training_args, packed)
    if packed:
        train = pack_dataset(train, max_length, "bfd")
        training_args.packing = False
    training_args.dataset_kwargs = {"skip_prepare_dataset": True}
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    peft_config = lora_config(model_args, model)
    assert peft_config, "a Centaur is an adapter"
    peft_config.revision = base_args.model_revision
    stopping = [EarlyStoppingCallback(args.early_stopping_patience)] if args.early_stopping_patience else []
    trainer = CentaurTrainer(
        model=model,
        args=training_args,
        train_dataset=train,
        eval_dataset=data.held_out,
        processing_class=tokenizer,
        data_collator=SessionCollator(tokenizer.pad_token_id),
        peft_config=peft_config,
        callbacks=stopping,
        studies=data.studies,
    )
    if is_sharded():
        session, stranger = (data.train[i]["input_ids"] for i in (0, -1))
        trainer.add_callback(ShardedBatches(trainer, session, stranger, packed))
    return trainer


def train(run: Run) -> list[HeldOutResult]:
    """Train to the end, from the checkpoint if there is one; write the adapter, its card and ``run.json``."""
    trainer, folder = run.trainer, run.folder
    with full_disk_errors(folder.path):
        trainer.train(resume_from_checkpoint=str(run.checkpoint) if run.checkpoint else None)
        trainer.save_model()
    final, base = trainer.final_session_nll(), trainer.base_session_nll()
    results = held_out_results(run.data, base.nll, final.nll, final.responses)
    trainer.model_card = model_card(run.base, run.data, run.settings, results)
    trainer.create_model_card()
    if trainer.is_world_process_zero():
        name_published_base(folder.path)
        state = {
            "steps": trainer.state.global_step,
            "epochs": trainer.state.epoch,
            "best_checkpoint": trainer.state.best_model_checkpoint,
        }
        about = _about(run.base, run.data)
        if trainer.state.epoch < 1:
            about["notes"].append(
                f"ended after {trainer.state.epoch:.2g} of an epoch: not every session that is named was trained on"
            )
        folder.finish(about | state | {"held_out": [asdict(r) for r in results]})
    return results


def print_results(results: list[HeldOutResult]) -> None:
    """Print held-out participants' NLL before and after, per study."""
    show(results_table(results))


def _check_settings(args: CentaurArguments, training_args: SFTConfig) -> None:
    if training_args.save_total_limit is None:
        training_args.save_total_limit = _DEFAULT_CHECKPOINTS_KEPT
    if args.early_stopping_patience and not training_args.load_best_model_at_end:
        raise UserError(
            "early_stopping_patience needs to know which checkpoint is the best: set load_best_model_at_end: true, "
            "metric_for_best_model: nll and eval_strategy: steps"
        )
    by_steps = training_args.save_strategy == "steps" == training_args.eval_strategy
    if training_args.load_best_model_at_end and by_steps and training_args.save_steps != training_args.eval_steps:
        raise UserError(
            f"the best of evaluations after every {training_args.eval_steps} steps may not be among the checkpoints "
            f"of every {training_args.save_steps}: give save_steps and eval_steps alike"
        )
    check_resuming(training_args)
    check_effective(training_args)
    if training_args.padding_free:
        raise UserError("padding_free is not supported; set packing: true to leave no padding")


def _about(base: ModelIdentity, data: TrainingData) -> dict[str, Any]:
    about = {"job": "train", "base": base.as_dict(), "data": data.trained_on, "studies": list(data.studies)}
    return provenance() | about | {"novel_studies": data.split["novel_studies"], "notes": list(data.notes)}


def _fixed(settings: Mapping[str, Any]) -> dict[str, Any]:
    """What a run cannot change on its way; whose data it is, ``split.json`` says."""
    how = ("study_weighting", "long_sessions", "eval_participants", "early_stopping_patience")
    return fixed_settings(settings) | {name: settings["data"].get(name) for name in how}


def _begin(
    folder: RunFolder,
    split: dict[str, Any],
    base_weights: str,
    settings: dict[str, Any],
    training_args: SFTConfig,
    run: str,
) -> Path | None:
    """The checkpoint to go on from; a folder that holds another run (model, data, settings) is refused."""
    checkpoint = last_complete_checkpoint(folder.path)
    if checkpoint:
        before = folder.read_json("split.json")
        config = folder.read_json("config.json")
        check_processes(folder.path, config, training_args.world_size)
        known = before | _fixed(config)
        asked = dict(split if "held_out_by" in before else as_by_session(split))
        for name in _NEWER:
            asked.pop(name, None)
        for name, value in as_read_back(asked | _fixed(settings)).items():
            if known.get(name) != value:
                raise UserError(
                    f"{folder.path} holds a run whose {name} differs; give another --output_dir, "
                    "or the same settings to continue"
                )
        check_same_run(checkpoint, run)
    if training_args.process_index == 0:
        folder.write_json("split.json", split | {BASE_WEIGHTS: base_weights})
        folder.write_json("config.json", settings | {PROCESSES: training_args.world_size})
        step = int(checkpoint.name.rpartition("-")[2]) if checkpoint else -1
        logged_until(folder.path / "metrics.jsonl", step)
    return checkpoint
