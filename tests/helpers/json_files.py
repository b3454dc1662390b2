"""JSON files and what the folder of a run says in them."""

import json
from pathlib import Path
from typing import Any


def read_json(path: Path) -> Any:
    """What a JSON file says; an error where there is none, unlike ``centaurlab.runs.folder.read_json``."""
    return json.loads(path.read_text(encoding="utf-8"))


def write_json(path: Path, content: object) -> None:
    """Write ``content`` as a JSON file."""
    path.write_text(json.dumps(content), encoding="utf-8")


def edit_json(path: Path, **changes: object) -> None:
    """Change or add keys of a JSON file."""
    write_json(path, read_json(path) | changes)


def run_json(folder: Path) -> dict[str, Any]:
    """What a finished run says of itself."""
    found: dict[str, Any] = read_json(folder / "run.json")
    return found


def metrics(folder: Path, name: str) -> list[float]:
    """The values of a metric in the order in which a run logged them."""
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [line[name] for line in lines if name in line]


def losses(folder: Path) -> list[float]:
    """The training loss of each logged step of a run."""
    return metrics(folder, "train/loss")
