"""Train a Centaur: a LoRA adapter that predicts people's responses, judged on people it never saw.

examples:
  accelerate launch recipes/centaur.py --config recipes/configs/gemma-3-270m-starter.yaml
  accelerate launch recipes/centaur.py --config recipes/configs/gemma-3-270m-starter.yaml --load_in_4bit true \\
      --output_dir runs/centaur-4bit
  accelerate launch recipes/centaur.py --config recipes/configs/gemma-3-270m-starter.yaml \\
      --model_name_or_path runs/posttrain --output_dir runs/centaur-after
  accelerate launch --config_file recipes/accelerate/fsdp_qlora.yaml recipes/centaur.py \\
      --config recipes/configs/centaur-llama-3.1-70b.yaml

Any field of TRL's SFTConfig and ModelConfig can be set in the YAML or here. An adapter named as the model, such as one
that recipes/posttrain.py wrote, is merged into its base first, in the run's folder. The same command again continues
an interrupted run. Output: a PEFT adapter with its model card (README.md), split.json, metrics.jsonl, run.json.
"""

from contextlib import nullcontext
from pathlib import Path

from trl import ModelConfig

from centaurlab.runs.folder import RunFolder
from centaurlab.runs.tracker import Tracker
from centaurlab.runtime.arguments import parse_arguments
from centaurlab.runtime.errors import exit_on_user_error
from centaurlab.runtime.processes import end_with_launcher, keep_freed_memory
from centaurlab.training.arguments import CentaurArguments, CentaurConfig
from centaurlab.training.centaur import prepare_run, print_results, train


def main() -> None:
    keep_freed_memory()
    end_with_launcher()
    args, training_args, model_args = parse_arguments([CentaurArguments, CentaurConfig, ModelConfig], __doc__)
    is_main = training_args.process_index == 0
    folder = RunFolder(Path(training_args.output_dir), "train")
    with folder.lock() if is_main else nullcontext():
        run = prepare_run(args, training_args, model_args)
        with Tracker(folder, training_args.tracking, run.settings) if is_main else nullcontext():
            results = train(run)
        if training_args.push_to_hub:
            run.trainer.push_to_hub()
        if is_main:
            print_results(results)
            print(f"adapter: {folder.path}")
        run.trainer.end()


if __name__ == "__main__":
    exit_on_user_error(main)
