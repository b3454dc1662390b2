"""The runs that a run builds on: found by the folders that its configuration names, and by what these name in turn."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from centaurlab.runs.folder import read_config
from centaurlab.runs.integrity import read_json, read_sound_json

IDS = "tracking.json"
"""Where a run stands in its trackers."""

_ROLES = (
    ("training_run", ("adapter_name_or_path", "adapter", "model_name_or_path", "run")),
    ("base_run", ("base",)),
    ("post_run", ("post", "models")),
)


def links(config: Mapping[str, Any]) -> dict[str, str]:
    """Tags such as ``training_run.mlflow``: the ids of the runs whose folders ``config`` names, by their role."""
    found: dict[str, list[str]] = {}
    for role, names in _ROLES:
        for folder in _tracked(_mentioned(config, names)):
            for tracker, known in read_sound_json(folder / IDS).items():
                if isinstance(known, dict) and "run_id" in known:
                    found.setdefault(f"{role}.{tracker}", []).append(str(known["run_id"]))
    return {tag: " ".join(ids) for tag, ids in found.items()}


def without_group(config: Mapping[str, Any], about: Mapping[str, Any]) -> list[Path]:
    """The folders of the finished runs that a run was made from, directly or through others, and that have no group."""
    reached: dict[Path, None] = {}
    ahead = made_from(config, about)
    while ahead:
        folder = ahead.pop()
        if folder not in reached:
            reached[folder] = None
            ahead += made_from(read_config(folder), read_json(folder / "run.json"))
    return [run for run in reached if (run / "run.json").exists() and not read_sound_json(run / IDS).get("group")]


def group_of(name: str | None) -> str | None:
    """The group of the run whose folder is ``name``, where it is one and has one."""
    groups = [read_sound_json(folder / IDS).get("group") for folder in _tracked([name] if name else [])]
    return str(groups[0]) if groups and groups[0] else None


def made_from(config: Mapping[str, Any], about: Mapping[str, Any]) -> list[Path]:
    """The folders of the tracked runs that a run was made from directly."""
    named = _mentioned(config, [name for _, names in _ROLES for name in names])
    return list(dict.fromkeys([*_tracked(named), *compared(about)]))


def compared(about: Mapping[str, Any]) -> list[Path]:
    """The folders of the tracked scores that a finished comparison read."""
    models = [model for model in about.get("models", ()) if isinstance(model, dict)]
    return _tracked([str(model["folder"]) for model in models if "folder" in model])


def _mentioned(config: Mapping[str, Any], names: Iterable[str]) -> list[str]:
    """The values of these settings; those of a training run stand under ``model``."""
    model = config.get("model")
    known = {**(model if isinstance(model, Mapping) else {}), **config}
    mentioned: list[Any] = []
    for name in names:
        value = known.get(name)
        mentioned += value if isinstance(value, list) else [value]
    return [value for value in mentioned if isinstance(value, str)]


def _tracked(names: Iterable[str]) -> list[Path]:
    """Those that are the folders of tracked runs; a checkpoint stands for its run, ``half=runs/x`` for ``runs/x``."""
    found: dict[Path, None] = {}
    for name in names:
        for path in map(Path, dict.fromkeys((name, name.partition("=")[2] or name))):
            run = next((folder for folder in (path, path.parent) if path.is_dir() and (folder / IDS).is_file()), None)
            if run:
                found[run.resolve()] = None
    return list(found)
