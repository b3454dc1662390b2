"""The command that trains a Centaur."""

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from centaurlab.jobs.command import Command
from centaurlab.runs.addresses import say_where
from centaurlab.runs.folder import RunFolder
from centaurlab.runs.tracker import Tracker
from centaurlab.runtime.processes import end_with_launcher, keep_freed_memory
from centaurlab.runtime.terminal import say
from centaurlab.training.options import CentaurArguments, UsualSettings

if TYPE_CHECKING:
    from trl import ModelConfig

    from centaurlab.training.arguments import CentaurConfig

DESCRIPTION = """Train a Centaur: a LoRA adapter that predicts people's responses, judged on people it never saw.

examples:
  centaurlab train --config recipes/configs/gemma-3-270m-starter.yaml
  accelerate launch -m centaurlab train --config recipes/configs/gemma-3-270m-starter.yaml --load_in_4bit true \\
      --output_dir runs/centaur-4bit
  accelerate launch -m centaurlab train --config recipes/configs/gemma-3-270m-starter.yaml \\
      --model runs/posttrain --output_dir runs/centaur-after
  accelerate launch --config_file recipes/accelerate/fsdp_qlora.yaml -m centaurlab train \\
      --config recipes/configs/centaur-llama-3.1-70b.yaml

Any field of TRL's SFTConfig and ModelConfig can be set in the YAML or here. An adapter named as the model, such as one
that 'centaurlab posttrain' wrote, is merged into its base first, in the run's folder. The same command again continues
an interrupted run. The configurations come with the package: 'centaurlab recipes copy' writes them out to be changed.
Output: a PEFT adapter with its model card (README.md), split.json, metrics.jsonl, run.json.
"""


def all_arguments() -> tuple[type[Any], ...]:
    """What is parsed: with every field of TRL's configurations."""
    # Here and not above: TRL takes seconds to import, and --help answers without it.
    from trl import ModelConfig

    from centaurlab.training.arguments import CentaurConfig

    return CentaurArguments, CentaurConfig, ModelConfig


def run(args: CentaurArguments, training_args: "CentaurConfig", model_args: "ModelConfig") -> None:
    """Train to the end, from where an earlier run was interrupted."""
    from centaurlab.training.centaur import prepare_run, print_results, train  # here: for the same reason

    keep_freed_memory()
    end_with_launcher()
    is_main = training_args.process_index == 0
    folder = RunFolder(Path(training_args.output_dir), "train")
    with folder.lock() if is_main else nullcontext():
        prepared = prepare_run(args, training_args, model_args)
        if is_main:
            for note in prepared.data.notes:
                say(f"note: {note}")
        with Tracker(folder, training_args.tracking, prepared.settings) if is_main else nullcontext():
            results = train(prepared)
        if training_args.push_to_hub:
            prepared.trainer.push_to_hub()
        if is_main:
            print_results(results)
            say(f"adapter: {folder.path}")
            say_where(folder.path, training_args.tracking)
        prepared.trainer.end()


COMMAND = Command(DESCRIPTION, (CentaurArguments, UsualSettings), run, all_arguments)
