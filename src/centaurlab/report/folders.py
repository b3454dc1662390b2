"""The folders of finished runs: what they say of themselves, where it comes from, and what makes them again."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from centaurlab.errors import UserError
from centaurlab.precision import sample_note
from centaurlab.runs import is_run, read_config, read_json

_SCRIPTS = ("eval", "recipes", "sweeps")


@dataclass(frozen=True)
class Run:
    """A finished run: its folder, its ``run.json`` and its ``config.json``."""

    folder: Path
    about: dict[str, Any]
    config: dict[str, Any]

    @property
    def job(self) -> str:
        """``score``, ``misalignment``, ``generalisation``, ``train`` or another."""
        return str(self.about["job"])


def find_runs(paths: Sequence[Path]) -> list[Run]:
    """The finished runs in these folders or, of a folder that is none, those right below it, each once.

    Raises ``UserError`` for what is no folder, a run that is not finished, and a folder without runs.
    """
    folders: dict[Path, Path] = {}
    for path in paths:
        if not path.is_dir():
            raise UserError(f"there is no folder {path}; name the folder of a run (its --output_dir)")
        found = [path] if is_run(path) else [folder for folder in sorted(path.glob("*/")) if is_run(folder)]
        if not found:
            raise UserError(f"{path} holds no run, nor do the folders right below it; name a run's --output_dir")
        for folder in found:
            folders.setdefault(folder.resolve(), folder)
    return [_read(folder) for folder in folders.values()]


def score_runs_of(run: Run) -> Iterator[tuple[str, Run | None]]:
    """The models that a comparison names, each with the run that scored it, or None where its folder has gone."""
    for model in run.about.get("models", []):
        folder = Path(str(model.get("folder", "")))
        places = (folder, run.folder / "scores" / folder.name)
        scored = next((place for place in places if read_json(place / "run.json").get("job") == "score"), None)
        same = scored and read_json(scored / "run.json")["model"].get("fingerprint") == model.get("fingerprint")
        yield str(model.get("name")), _read(scored) if scored and same else None


def command(run: Run) -> str:
    """What made the run, as typed in the checkout."""
    script, *arguments = map(str, run.about.get("command") or ["?"])
    path = Path(script)
    if path.parent.name in _SCRIPTS:
        script = f"{path.parent.name}/{path.name}"
    return shlex.join(["python", script, *arguments])


def provenance(run: Run) -> list[tuple[str, str]]:
    """Names and values: folder, models with fingerprints, data, protocol, commit, versions, machine, time."""
    about = run.about
    git, hardware = about.get("git") or {}, about.get("hardware") or {}
    data = about.get("data")
    facts = [("folder", str(run.folder))]
    facts += [("model", _model(model)) for model in _models(about)]
    if isinstance(data, Mapping):
        facts.append(("data", f"{data.get('name')}, fingerprint {data.get('fingerprint')}"))
        facts += [("note on the data", str(note)) for note in data.get("notes") or []]
    else:
        facts.append(("data", str(data or run.config.get("data", "?"))))
    if sampled := sample_note(about):
        facts.append(("sample", sampled))
    protocols = [p for p in [about.get("protocol"), *(model.get("protocol") for model in _models(about))] if p]
    said = dict.fromkeys(f"{p.get('name')}, at most {p.get('max_tokens'):,} tokens" for p in protocols)
    facts += [("protocol", text) for text in said]
    if about.get("bootstrap"):
        b = about["bootstrap"]
        facts.append(("intervals", f"{b['confidence']:.0%}, {b['resamples']:,} resamples, seed {b['seed']}"))
    dirty = ", with changes that were not committed" if git.get("dirty") else ""
    facts.append(("commit", f"{git['commit']}{dirty}" if git.get("commit") else "not run from a checkout"))
    versions = {"centaurlab": about.get("centaurlab"), **(about.get("versions") or {})}
    facts.append(("versions", ", ".join(f"{name} {version}" for name, version in versions.items())))
    if hardware:
        gpus = ", ".join(hardware.get("gpus") or []) or "no GPU"
        memory = hardware.get("memory_bytes", 0) / 2**30
        facts.append(("machine", f"{hardware.get('platform')}, {hardware.get('cpus')} CPUs, {memory:.0f} GiB, {gpus}"))
    facts.append(("time", str(about.get("time", "?"))))
    return facts


def _models(about: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    models = about.get("models") or [about.get("model") or about.get("base")]
    return [model for model in models if isinstance(model, Mapping) and "fingerprint" in model]


def _model(model: Mapping[str, Any]) -> str:
    adapter = f", adapter {model['adapter']}" if model.get("adapter") else ""
    return f"{model.get('name')}{adapter}, {model.get('dtype')}, fingerprint {model['fingerprint']}"


def _read(folder: Path) -> Run:
    about = read_json(folder / "run.json")
    if "job" not in about:
        raise UserError(f"the run in {folder} is not finished (it has no complete run.json); give its command again")
    return Run(folder, about, read_config(folder))
