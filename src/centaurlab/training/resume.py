"""The last checkpoint that is whole: a run killed at any moment goes on from there, by the same command."""

import json
import zipfile
from pathlib import Path

from safetensors import SafetensorError, safe_open

_STATE = "trainer_state.json"  # the last file that a checkpoint gets


def last_complete_checkpoint(output_dir: Path) -> Path | None:
    """The checkpoint of the highest step in ``output_dir`` whose files can all be read, or None."""
    steps = sorted(
        (int(path.name.rpartition("-")[2]), path)
        for path in output_dir.glob("checkpoint-*")
        if path.name.rpartition("-")[2].isdecimal()
    )
    return next((path for _, path in reversed(steps) if is_complete(path)), None)


def is_complete(checkpoint: Path) -> bool:
    """Whether no file of a checkpoint is missing or torn."""
    try:
        json.loads((checkpoint / _STATE).read_text(encoding="utf-8"))
        for weights in [*checkpoint.glob("*model*.safetensors")] or [checkpoint / "model.safetensors"]:
            with safe_open(weights, "pt") as tensors:
                tensors.keys()
    except (OSError, ValueError, SafetensorError):
        return False
    return all(zipfile.is_zipfile(path) for path in checkpoint.glob("*.pt"))


def logged_until(metrics: Path, step: int) -> None:
    """Drop the lines of ``metrics.jsonl`` that a resumed run will write again: those after ``step``, torn ones."""
    if not metrics.exists():
        return
    kept = []
    for line in metrics.read_text(encoding="utf-8").splitlines():
        try:
            if json.loads(line).get("step", 0) <= step:
                kept.append(line + "\n")
        except ValueError:
            continue
    temporary = metrics.with_suffix(".tmp")
    temporary.write_text("".join(kept), encoding="utf-8")
    temporary.replace(metrics)
