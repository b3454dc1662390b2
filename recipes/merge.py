"""Merge an adapter into its base model: one bfloat16 model for serving.

example:
  python recipes/merge.py --adapter runs/centaur --output_dir runs/centaur-merged
  python recipes/merge.py --adapter runs/centaur --base gemma-3-270m --output_dir runs/centaur-merged
"""

from dataclasses import asdict, dataclass, field

from centaurlab.models.arguments import ModelArguments
from centaurlab.models.identity import identify
from centaurlab.runs.folder import MODEL_RUN_CONFIG, RunFolder
from centaurlab.runs.provenance import provenance
from centaurlab.runs.tracker import Tracker, TrackingArguments
from centaurlab.runtime.arguments import parse_arguments
from centaurlab.runtime.errors import exit_on_user_error
from centaurlab.training.merge import merge


@dataclass
class MergeArguments:
    """What is merged, and where to."""

    adapter: str = field(metadata={"help": "adapter folder or hub id"})
    output_dir: str = field(metadata={"help": "new folder for the model"})
    base: str | None = field(default=None, metadata={"help": "base model, where the adapter's own name of it fails"})


def main() -> None:
    args, tracking_args = parse_arguments([MergeArguments, TrackingArguments], __doc__)
    model = merge(args.adapter, args.base, args.output_dir)
    folder = RunFolder(model, "merge")
    with folder.lock():
        folder.write_json(MODEL_RUN_CONFIG, asdict(args))
        with Tracker(folder, tracking_args, asdict(args)):
            about = {"job": folder.job, "model": identify(ModelArguments(str(model))).as_dict()}
            folder.write_json("run.json", provenance() | about)
    print(f"model: {model}")


if __name__ == "__main__":
    exit_on_user_error(main)
