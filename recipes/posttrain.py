"""Post-train a base model into an assistant, by supervised fine-tuning or DPO, and keep checkpoints on the way.

examples:
  accelerate launch recipes/posttrain.py --config recipes/configs/posttrain-gemma-3-270m.yaml
  accelerate launch recipes/posttrain.py --config recipes/configs/posttrain-gemma-3-270m.yaml \\
      --replay_share 0.3 --output_dir runs/posttrain-replay
  accelerate launch recipes/posttrain.py --config recipes/configs/posttrain-gemma-3-270m.yaml \\
      --kl_to_base 0.5 --output_dir runs/posttrain-kl
  accelerate launch recipes/posttrain.py --config recipes/configs/posttrain-gemma-3-270m.yaml \\
      --method dpo --model_name_or_path runs/posttrain --output_dir runs/posttrain-dpo
  accelerate launch recipes/posttrain.py --method dpo --dataset trl-lib/ultrafeedback_binarized \\
      --model_name_or_path Qwen/Qwen3-0.6B-Base --use_peft --output_dir runs/qwen3-dpo

Any field of TRL's SFTConfig and ModelConfig can be set in the YAML or here; without --use_peft all weights are
trained. An adapter named as the model, such as one that this recipe wrote, is merged into its base first, in the run's
folder. The same command again continues an interrupted run. Output: a PEFT adapter or model with its chat template,
checkpoint-*, metrics.jsonl, run.json. Next: eval/trajectory.py --run FOLDER.
"""

from contextlib import nullcontext
from pathlib import Path

from trl import ModelConfig

from centaurlab.runs.folder import RunFolder
from centaurlab.runs.tracker import Tracker
from centaurlab.runtime.arguments import parse_arguments
from centaurlab.runtime.errors import exit_on_user_error
from centaurlab.runtime.processes import VARYING_BLOCK_BYTES, end_with_launcher, keep_freed_memory
from centaurlab.training.arguments import CentaurConfig, PostTrainArguments
from centaurlab.training.posttrain import posttrain, prepare_posttraining


def main() -> None:
    keep_freed_memory(VARYING_BLOCK_BYTES)
    end_with_launcher()
    args, training_args, model_args = parse_arguments([PostTrainArguments, CentaurConfig, ModelConfig], __doc__)
    is_main = training_args.process_index == 0
    folder = RunFolder(Path(training_args.output_dir), "posttrain")
    with folder.lock() if is_main else nullcontext():
        run = prepare_posttraining(args, training_args, model_args)
        left_out = run.about["left_out"]
        if is_main and left_out:
            print(f"left out: {len(left_out)} conversations, listed in run.json; {left_out[0]}")
        with Tracker(folder, training_args.tracking, run.settings) if is_main else nullcontext():
            posttrain(run)
        if training_args.push_to_hub:
            run.trainer.push_to_hub()
        if is_main:
            print(f"model: {folder.path}")
        run.trainer.end()


if __name__ == "__main__":
    exit_on_user_error(main)
