"""The command that writes out the YAML and SLURM files that come with the package."""

import shutil
from dataclasses import dataclass, field
from pathlib import Path

from centaurlab.jobs.command import Command
from centaurlab.runtime.arguments import RECIPES
from centaurlab.runtime.errors import UserError
from centaurlab.runtime.terminal import say

COPY_DESCRIPTION = """Write out the files that come with the package, to be read and changed.

They are configurations of training and evaluation (configs/), launch files for several GPUs (accelerate/), batch
scripts (slurm/), jobs for rented GPUs (sky/), sweeps (sweeps/), templates that tell tables of trials (tables/) and
two such tables (exports/).

examples:
  centaurlab recipes copy
  centaurlab recipes copy my-recipes

As they are they need no copy: --config recipes/configs/gemma-3-270m-starter.yaml is understood everywhere.
"""


@dataclass
class CopyArguments:
    """Where to."""

    folder: str = field(default="recipes", metadata={"positional": True, "metavar": "FOLDER", "help": "new folder"})


def copy(asked: CopyArguments) -> None:
    """Write the files, and say which. Raises ``UserError`` where one of them is there already."""
    folder = Path(asked.folder)
    ours = {path: folder / path.relative_to(RECIPES) for path in sorted(RECIPES.rglob("*")) if path.is_file()}
    if there := next((path for path in ours.values() if path.exists()), None):
        raise UserError(f"{there} is there already; name another folder, or move it away")
    try:
        for source, target in ours.items():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
            say(str(target))
    except OSError as error:
        raise UserError(f"cannot write to {folder}: {error.strerror or error}; name another folder") from error


COPY = Command(COPY_DESCRIPTION, (CopyArguments,), copy)
