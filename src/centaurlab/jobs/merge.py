"""The command that merges an adapter into its base."""

from dataclasses import asdict, dataclass, field

from centaurlab.jobs.command import Command
from centaurlab.models.arguments import ModelArguments
from centaurlab.models.identity import identify
from centaurlab.runs.addresses import say_where
from centaurlab.runs.folder import MODEL_RUN_CONFIG, RunFolder
from centaurlab.runs.provenance import provenance
from centaurlab.runs.tracker import Tracker, TrackingArguments
from centaurlab.runtime.terminal import say

DESCRIPTION = """Merge an adapter into its base model: one bfloat16 model for serving.

examples:
  centaurlab merge --adapter runs/centaur --output_dir runs/centaur-merged
  centaurlab merge --adapter runs/centaur --base gemma-3-270m --output_dir runs/centaur-merged
"""


@dataclass
class MergeArguments:
    """What is merged, and where to."""

    adapter: str = field(metadata={"help": "adapter folder or hub id"})
    output_dir: str = field(metadata={"help": "new folder for the model"})
    base: str | None = field(default=None, metadata={"help": "base model, where the adapter's own name of it fails"})


def run(asked: MergeArguments, tracking: TrackingArguments) -> None:
    """Merge, and note in the model's folder what it was made of."""
    from centaurlab.training.merge import merge  # here: it imports torch, and --help answers without it

    notes = []

    def note(text: str) -> None:
        notes.append(text)
        say(f"note: {text}")

    model = merge(asked.adapter, asked.base, asked.output_dir, tell=note)
    folder = RunFolder(model, "merge")
    folder.write_json(MODEL_RUN_CONFIG, asdict(asked))
    with folder.lock(), Tracker(folder, tracking, asdict(asked)):
        about = {"job": folder.job, "model": identify(ModelArguments(str(model))).as_dict()}
        about |= {"notes": notes}
        folder.finish(provenance() | about)
    say(f"model: {model}")
    say_where(model, tracking)


COMMAND = Command(DESCRIPTION, (MergeArguments, TrackingArguments), run)
