"""Models between a base and its post-trained version: weights base + alpha * (post - base).

examples:
  python recipes/interpolate.py --post runs/posttrain --alpha 0.5 --output_dir runs/interpolated
  python recipes/interpolate.py --post Qwen/Qwen3-0.6B --base Qwen/Qwen3-0.6B-Base --alpha 0.25 0.5 0.75 \\
      --output_dir runs/qwen3-interpolated

Each model goes into a folder of its own: <output_dir>/alpha-0.5. From a LoRA adapter comes an adapter again; from
whole models, one in float32. Next: eval/frontier.py, or eval/score.py --model_name_or_path <output_dir>/alpha-0.5.
"""

from dataclasses import asdict, dataclass, field
from pathlib import Path

from centaurlab.runs.folder import RunFolder
from centaurlab.runs.provenance import provenance
from centaurlab.runs.tracker import Tracker, TrackingArguments
from centaurlab.runtime.arguments import parse_arguments
from centaurlab.runtime.errors import UserError, exit_on_user_error
from centaurlab.training.interpolate import interpolate


@dataclass
class InterpolateArguments:
    """Between what, and where."""

    post: str = field(metadata={"help": "post-trained model: a LoRA adapter, or a whole model"})
    output_dir: str = field(metadata={"help": "new folder, for one model per alpha"})
    alpha: list[float] = field(
        default_factory=lambda: [0.25, 0.5, 0.75], metadata={"help": "0: the base model, 1: the post-trained one"}
    )
    base: str | None = field(default=None, metadata={"help": "base model, where --post is a whole model"})


def main() -> None:
    args, tracking_args = parse_arguments([InterpolateArguments, TrackingArguments], __doc__)
    folder = RunFolder(Path(args.output_dir), "interpolate")
    folders = {f"{alpha:g}": folder.path / f"alpha-{alpha:g}" for alpha in args.alpha}
    if len(folders) < len(args.alpha):
        raise UserError(f"--alpha names a number twice: {' '.join(f'{alpha:g}' for alpha in args.alpha)}")
    for alpha, path in folders.items():
        if path.exists() and any(path.iterdir()):
            raise UserError(f"{path} is not empty; leave {alpha} out of --alpha, or give another --output_dir")
    with folder.lock():
        folder.write_json("config.json", asdict(args))
        with Tracker(folder, tracking_args, asdict(args)):
            for alpha, path in zip(args.alpha, folders.values(), strict=True):
                interpolate(args.post, args.base, alpha, path)
            folder.write_json("run.json", provenance() | {"job": folder.job, "post": args.post, "models": folders})
    for model in folders.values():
        print(f"model: {model}")


if __name__ == "__main__":
    exit_on_user_error(main)
