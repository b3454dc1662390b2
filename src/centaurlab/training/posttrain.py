"""A post-training run from arguments to a model folder with its checkpoints: SFT or DPO, LoRA or full.

A second start with the same settings goes on from the last whole checkpoint; other settings are refused.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from datasets import Dataset
from transformers import PreTrainedTokenizerFast, Trainer
from trl import ModelConfig, SFTConfig

from centaurlab.data.held_out import BEFORE, after, split_before
from centaurlab.models.arguments import ModelArguments
from centaurlab.models.checkpoints import BASE_WEIGHTS
from centaurlab.models.identity import identify, weights_fingerprint
from centaurlab.models.loading import load_config
from centaurlab.models.shape import usable_window, window_notes
from centaurlab.prompts.chat import chat_tokenizer, read_template
from centaurlab.results.record import ModelIdentity
from centaurlab.runs.folder import CONFIG, MODEL_RUN_CONFIG, RunFolder
from centaurlab.runs.integrity import run_digest
from centaurlab.runs.provenance import provenance
from centaurlab.runtime.disk import full_disk_errors
from centaurlab.runtime.errors import UserError
from centaurlab.runtime.terminal import say
from centaurlab.training.arguments import check_effective, dpo_config
from centaurlab.training.base_model import (
    adapter_errors,
    base_arguments,
    is_sharded,
    load_base,
    lora_config,
    name_published_base,
)
from centaurlab.training.batches import ShardedBatches, check_lengths, check_tokens
from centaurlab.training.conversations import (
    digest,
    encode_conversations,
    learned_tokens,
    read_conversations,
    with_replay,
)
from centaurlab.training.data import prepare_data
from centaurlab.training.model_card import card_data, how_to_load, published
from centaurlab.training.options import PostTrainArguments
from centaurlab.training.posttrainers import PreferenceCollator, PreferenceTrainer, SupervisedTrainer, stop_dropout
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
from centaurlab.training.trainer import SessionCollator

_IDENTITY = "data.json"


@dataclass(frozen=True)
class PostTrainRun:
    """A trainer and what is known of its run before the first step."""

    trainer: Trainer
    folder: RunFolder
    base: ModelIdentity
    settings: dict[str, Any]
    about: dict[str, Any]
    checkpoint: Path | None


def prepare_posttraining(args: PostTrainArguments, training_args: SFTConfig, model_args: ModelConfig) -> PostTrainRun:
    """Check everything, read the conversations, load the model, and find where to go on.

    Raises ``UserError`` for whatever a user can mend.
    """
    base_args = _base_arguments(args, training_args, model_args)
    folder = RunFolder(Path(training_args.output_dir), "posttrain")
    tokenizer = _tokenizer(base_args, training_args)
    config = load_config(base_args)
    max_length = usable_window(config, training_args.max_length)
    if training_args.process_index == 0:
        for note in window_notes(config, training_args.max_length):
            say(f"note: {note}")
    check_lengths(config, max_length, training_args, training_args.padding_free)
    rows = read_conversations(args, training_args.seed)
    data_digest = digest(rows)
    encoded = encode_conversations(rows, args.method, tokenizer, max_length, args.on_malformed == "skip")
    rows = encoded.examples
    about: dict[str, Any] = {"conversations": len(rows), "data_digest": data_digest, "left_out": encoded.left_out}
    before = split_before(base_args.model_name_or_path)
    split: dict[str, Any] = {BEFORE: before} if before else {}
    if args.method == "sft":
        about["learned_tokens"] = learned_tokens(rows)
        if args.replay_share:
            sessions = prepare_data(args.replay_arguments(), tokenizer, max_length, training_args.seed)
            rows = with_replay(rows, sessions.train, args.replay_share)
            about["replay"] = _replay(rows, about, sessions.split)
            split = sessions.split_of(about["replay"]["examples"])
            split = after(before, split, sessions.persons, base_args.model_name_or_path)
    check_tokens(config, tokenizer, rows)
    base = identify(base_args)
    settings = {"posttrain": asdict(args), "training": training_args.to_dict(), "model": asdict(model_args)}
    about_base = {"base_fingerprint": base.fingerprint}
    split = split and split | about_base
    own = fixed_settings(settings) | settings["posttrain"]
    asked = as_read_back({"identity": about | about_base, "settings": own})
    run = run_digest(asked)
    checkpoint = _begin(folder, asked, split, weights_fingerprint(base_args), settings, training_args, run)
    packed = training_args.padding_free
    trainer = _build_trainer(args, training_args, model_args, base_args, tokenizer, rows)
    keep_in(folder, trainer, run)
    show_progress(trainer)
    if is_sharded():
        session, stranger = (_ids(rows[i]) for i in (0, -1))
        trainer.add_callback(ShardedBatches(trainer, session, stranger, packed))
    return PostTrainRun(trainer, folder, base, settings, about, checkpoint)


def posttrain(run: PostTrainRun) -> None:
    """Train to the end, from the checkpoint if there is one; write the model, its card and ``run.json``."""
    trainer = run.trainer
    with full_disk_errors(run.folder.path):
        trainer.train(resume_from_checkpoint=str(run.checkpoint) if run.checkpoint else None)
        trainer.save_model()
    if trainer.is_world_process_zero():
        name_published_base(run.folder.path)
        (run.folder.path / "README.md").write_text(_card(run), encoding="utf-8")
        steps = {"steps": trainer.state.global_step, "epochs": trainer.state.epoch}
        data = {"name": run.settings["posttrain"]["dataset"], "fingerprint": run.about["data_digest"]}
        result = {"job": run.folder.job, "base": run.base.as_dict(), "data": data} | run.about | steps
        run.folder.finish(provenance() | result)


def _base_arguments(args: PostTrainArguments, training_args: SFTConfig, model_args: ModelConfig) -> ModelArguments:
    check_resuming(training_args)
    check_effective(training_args)
    if training_args.packing:
        raise UserError("packing is not supported in post-training; set padding_free: true to leave no padding")
    base_args = base_arguments(replace(model_args, use_peft=True), training_args)
    if model_args.use_peft:
        return base_args
    if base_args.load_in_4bit or base_args.load_in_8bit:
        raise UserError("quantised weights cannot be trained themselves; set use_peft: true, or load the model whole")
    if args.kl_to_base:
        raise UserError("--kl_to_base needs the base model beside the trained one; set use_peft: true")
    # Full training in bfloat16 would lose updates smaller than 1/256 of a weight.
    return replace(base_args, dtype="float32")


def _tokenizer(base_args: ModelArguments, training_args: SFTConfig) -> PreTrainedTokenizerFast:
    tokenizer = chat_tokenizer(base_args)
    if training_args.chat_template_path:
        tokenizer.chat_template = read_template(Path(training_args.chat_template_path))
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    return tokenizer


@adapter_errors()
def _build_trainer(
    args: PostTrainArguments,
    training_args: SFTConfig,
    model_args: ModelConfig,
    base_args: ModelArguments,
    tokenizer: PreTrainedTokenizerFast,
    rows: Dataset,
) -> Trainer:
    packed = training_args.padding_free
    model = load_base(base_args, training_args.device, training_args, packed)
    reference = None
    if not model_args.use_peft:
        model.requires_grad_(True)
        reference = load_base(base_args, training_args.device, training_args, packed) if args.method == "dpo" else None
    if args.method == "dpo" or args.kl_to_base:
        for one in filter(None, (model, reference)):
            stop_dropout(one)
    peft_config = lora_config(model_args, model)
    collator = SessionCollator(tokenizer.pad_token_id, packed)
    training_args.padding_free = False  # the collator does it, on every attention kernel
    if args.method == "dpo":
        return PreferenceTrainer(
            model=model,
            ref_model=reference,
            args=dpo_config(training_args, args.beta),
            train_dataset=rows,
            processing_class=tokenizer,
            data_collator=PreferenceCollator(collator),
            peft_config=peft_config,
        )
    training_args.dataset_kwargs = {"skip_prepare_dataset": True}
    training_args.chat_template_path = None  # it is set already
    return SupervisedTrainer(
        model=model,
        args=training_args,
        train_dataset=rows,
        processing_class=tokenizer,
        data_collator=collator,
        peft_config=peft_config,
        kl_to_base=args.kl_to_base,
    )


def _ids(row: Mapping[str, Any]) -> list[int]:
    """The tokens of a conversation, or of a prompt with the reply that is preferred."""
    ids: list[int] = row["input_ids"] if "input_ids" in row else [*row["prompt_ids"], *row["chosen_ids"]]
    return ids


def _begin(
    folder: RunFolder,
    asked: Mapping[str, Any],
    split: Mapping[str, Any],
    base_weights: str,
    settings: dict[str, Any],
    training_args: SFTConfig,
    run: str,
) -> Path | None:
    """The checkpoint to go on from; a folder that holds a run with other settings is refused.

    ``split``: which people's sessions are mixed in, empty where none are.
    """
    checkpoint = last_complete_checkpoint(folder.path)
    if checkpoint:
        known = folder.read_json(_IDENTITY)
        check_processes(folder.path, known, training_args.world_size)
        differing = sorted(
            name
            for part in ("identity", "settings")
            for name in asked[part].keys() | known[part].keys()
            if asked[part].get(name) != known[part].get(name)
        )
        if differing:
            raise UserError(
                f"{folder.path} holds a run whose {differing[0]} differs; give another --output_dir, or the same "
                "settings to continue"
            )
        check_same_run(checkpoint, run)
    if training_args.process_index == 0:
        about = {BASE_WEIGHTS: base_weights, PROCESSES: training_args.world_size}
        folder.write_json(_IDENTITY, {**asked, **about})
        (folder.path / "split.json").unlink(missing_ok=True)  # of an earlier run with others
        if split:
            folder.write_json("split.json", {**split, BASE_WEIGHTS: base_weights})
        folder.write_json(CONFIG if settings["model"]["use_peft"] else MODEL_RUN_CONFIG, settings)
        logged_until(folder.path / "metrics.jsonl", int(checkpoint.name.rpartition("-")[2]) if checkpoint else -1)
    return checkpoint


def _replay(rows: Dataset, about: Mapping[str, Any], split: Mapping[str, Any]) -> dict[str, Any]:
    count = len(rows) - about["conversations"]
    tokens = learned_tokens(rows)
    return {
        "examples": count,
        "share_of_learned_tokens": 1 - about["learned_tokens"] / tokens,
        "studies": {study: known["fingerprint"] for study, known in split["studies"].items()},
    }


def _card(run: PostTrainRun) -> str:
    args = run.settings["posttrain"]
    kept = {"replay_share": args["replay_share"], "kl_to_base": args["kl_to_base"]} if args["method"] == "sft" else {}
    rows = {"method": args["method"], "data": args["dataset"], "conversations": run.about["conversations"]} | kept
    rows |= {
        name: run.settings["training"][name] for name in ("learning_rate", "max_steps", "num_train_epochs", "seed")
    }
    rows |= {name: run.settings["model"][name] for name in ("use_peft", "lora_r", "lora_alpha")}
    table = "\n".join(f"| {name} | {value} |" for name, value in rows.items())
    is_adapter = bool(run.settings["model"]["use_peft"])
    data = card_data(run.base.name, args["dataset"], (args["method"],), is_adapter=is_adapter)
    return f"""---
{data.to_yaml()}
---

# {published(run.base.name)}, post-trained

Post-trained with centaurlab to study what post-training does to human-likeness; not an assistant for use. Its chat
template is in `chat_template.jinja`; checkpoints along the way are beside it.

{how_to_load(run.base.name, is_adapter, run.settings["model"])}

| setting | value |
|---|---|
{table}

All settings: `{CONFIG if is_adapter else MODEL_RUN_CONFIG}`. Licence: that of the base model.
"""
