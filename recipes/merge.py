"""Merge an adapter into its base model: one bfloat16 model for serving.

example:
  python recipes/merge.py --adapter runs/centaur --output_dir runs/centaur-merged
  python recipes/merge.py --adapter runs/centaur --base gemma-3-270m --output_dir runs/centaur-merged
"""

from dataclasses import dataclass, field

from centaurlab.arguments import parse_arguments
from centaurlab.errors import exit_on_user_error
from centaurlab.training.merge import merge


@dataclass
class MergeArguments:
    """What is merged, and where to."""

    adapter: str = field(metadata={"help": "adapter folder or hub id"})
    output_dir: str = field(metadata={"help": "new folder for the model"})
    base: str | None = field(default=None, metadata={"help": "base model, where the adapter's own name of it fails"})


def main() -> None:
    (args,) = parse_arguments([MergeArguments], __doc__)
    print(f"model: {merge(args.adapter, args.base, args.output_dir)}")


if __name__ == "__main__":
    exit_on_user_error(main)
