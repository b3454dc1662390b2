"""The command that post-trains a base model into an assistant."""

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from centaurlab.jobs.command import Command
from centaurlab.runs.addresses import say_where
from centaurlab.runs.folder import RunFolder
from centaurlab.runs.tracker import Tracker
from centaurlab.runtime.processes import VARYING_BLOCK_BYTES, end_with_launcher, keep_freed_memory
from centaurlab.runtime.terminal import say
from centaurlab.training.options import PostTrainArguments, UsualSettings

if TYPE_CHECKING:
    from trl import ModelConfig

    from centaurlab.training.arguments import CentaurConfig

DESCRIPTION = """Post-train a base model into an assistant, by supervised fine-tuning or DPO, with checkpoints.

examples:
  centaurlab posttrain --config recipes/configs/posttrain-gemma-3-270m.yaml
  centaurlab posttrain --config recipes/configs/posttrain-gemma-3-270m.yaml --replay_share 0.3 \\
      --output_dir runs/posttrain-replay
  centaurlab posttrain --config recipes/configs/posttrain-gemma-3-270m.yaml --kl_to_base 0.5 \\
      --output_dir runs/posttrain-kl
  centaurlab posttrain --config recipes/configs/posttrain-gemma-3-270m.yaml --method dpo \\
      --model runs/posttrain --output_dir runs/posttrain-dpo
  accelerate launch -m centaurlab posttrain --method dpo --dataset trl-lib/ultrafeedback_binarized \\
      --model Qwen/Qwen3-0.6B-Base --use_peft --output_dir runs/qwen3-dpo

Any field of TRL's SFTConfig and ModelConfig can be set in the YAML or here; without --use_peft all weights are
trained. An adapter named as the model, such as one that this command wrote, is merged into its base first, in the run's
folder. The same command again continues an interrupted run. Output: a PEFT adapter or model with its chat template,
checkpoint-*, metrics.jsonl, run.json. Next: centaurlab trajectory --run FOLDER.
"""


def all_arguments() -> tuple[type[Any], ...]:
    """What is parsed: with every field of TRL's configurations."""
    # Here and not above: TRL takes seconds to import, and --help answers without it.
    from trl import ModelConfig

    from centaurlab.training.arguments import CentaurConfig

    return PostTrainArguments, CentaurConfig, ModelConfig


def run(args: PostTrainArguments, training_args: "CentaurConfig", model_args: "ModelConfig") -> None:
    """Train to the end, from where an earlier run was interrupted."""
    from centaurlab.training.posttrain import posttrain, prepare_posttraining  # here: for the same reason

    keep_freed_memory(VARYING_BLOCK_BYTES)
    end_with_launcher()
    is_main = training_args.process_index == 0
    folder = RunFolder(Path(training_args.output_dir), "posttrain")
    with folder.lock() if is_main else nullcontext():
        prepared = prepare_posttraining(args, training_args, model_args)
        left_out = prepared.about["left_out"]
        if is_main and left_out:
            say(f"left out: {len(left_out)} conversations, listed in run.json; {left_out[0]}")
        with Tracker(folder, training_args.tracking, prepared.settings) if is_main else nullcontext():
            posttrain(prepared)
        if training_args.push_to_hub:
            prepared.trainer.push_to_hub()
        if is_main:
            say(f"model: {folder.path}")
            say_where(folder.path, training_args.tracking)
        prepared.trainer.end()


COMMAND = Command(DESCRIPTION, (PostTrainArguments, UsualSettings), run, all_arguments)
