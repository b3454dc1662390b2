"""The command that makes models between a base and its post-trained version."""

from dataclasses import asdict, dataclass, field
from pathlib import Path

from centaurlab.jobs.command import Command
from centaurlab.runs.addresses import say_where
from centaurlab.runs.folder import RunFolder
from centaurlab.runs.provenance import provenance
from centaurlab.runs.tracker import Tracker, TrackingArguments
from centaurlab.runtime.errors import UserError
from centaurlab.runtime.terminal import say

DESCRIPTION = """Models between a base and its post-trained version: weights base + alpha * (post - base).

examples:
  centaurlab interpolate --post runs/posttrain --alpha 0.5 --output_dir runs/interpolated
  centaurlab interpolate --post Qwen/Qwen3-0.6B --base Qwen/Qwen3-0.6B-Base --alpha 0.25 0.5 0.75 \\
      --output_dir runs/qwen3-interpolated

Each model goes into a folder of its own: <output_dir>/alpha-0.5. From a LoRA adapter comes an adapter again; from
whole models, one in float32. The same command again makes those that are missing.
Next: centaurlab frontier, or centaurlab score --model <output_dir>/alpha-0.5.
"""


@dataclass
class InterpolateArguments:
    """Between what, and where."""

    post: str = field(metadata={"help": "post-trained model: a LoRA adapter, or a whole model"})
    output_dir: str = field(metadata={"help": "new folder, for one model per alpha"})
    alpha: list[float] = field(
        default_factory=lambda: [0.25, 0.5, 0.75], metadata={"help": "0: the base model, 1: the post-trained one"}
    )
    base: str | None = field(default=None, metadata={"help": "base model, where --post is a whole model"})


def run(asked: InterpolateArguments, tracking: TrackingArguments) -> None:
    """Make each model in turn."""
    # Here and not above: it imports torch, and --help answers without it.
    from centaurlab.training.interpolate import interpolate, is_there

    folder = RunFolder(Path(asked.output_dir), "interpolate")
    folders = {f"{alpha:g}": folder.path / f"alpha-{alpha:g}" for alpha in asked.alpha}
    if len(folders) < len(asked.alpha):
        raise UserError(f"--alpha names a number twice: {' '.join(f'{alpha:g}' for alpha in asked.alpha)}")
    for alpha, path in zip(asked.alpha, folders.values(), strict=True):
        if is_there(asked.post, asked.base, alpha, path):
            say(f"kept: {path}")
    with folder.lock():
        folder.write_json("config.json", asdict(asked))
        with Tracker(folder, tracking, asdict(asked)):
            for share, path in zip(asked.alpha, folders.values(), strict=True):
                interpolate(asked.post, asked.base, share, path)
            folder.finish(provenance() | {"job": folder.job, "post": asked.post, "models": folders})
    for model in folders.values():
        say(f"model: {model}")
    say_where(folder.path, tracking)


COMMAND = Command(DESCRIPTION, (InterpolateArguments, TrackingArguments), run)
