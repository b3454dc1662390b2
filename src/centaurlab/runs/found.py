"""What a finished run found, in a sentence, and which of its files are what: for trackers and their pages."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from centaurlab.runs.integrity import read_sound_json

_WEIGHTS = (".safetensors",)
_MODEL_FILES = ("adapter_config.json", "README.md", "chat_template.jinja", "generation_config.json")
_SCORE_FILES = ("scores.parquet", "run.json")

BASE_WEIGHTS = "base_weights"
"""Where a training, and what is made of its adapter, notes the fingerprint of the base's weights alone."""
MADE_OF = "made_of.json"
_NOTED_IN = ("split.json", "data.json", MADE_OF)


def base_weights(folder: Path) -> str | None:
    """The fingerprint of the weights that an adapter was trained on, of a checkpoint as its run says; None: unknown."""
    folders = [folder, *([folder.parent] if folder.name.startswith("checkpoint-") else [])]
    noted = (read_sound_json(one / name).get(BASE_WEIGHTS) for one in folders for name in _NOTED_IN)
    return next((str(known) for known in noted if known), None)


def verdict(about: Mapping[str, Any]) -> str:
    """The sentence that a run's ``run.json`` answers its question with; '' where it has none.

    Examples
    --------
    >>> verdict({"overall": {"d": 0.2, "verdict": "the chat model is worse"}})
    'the chat model is worse'
    >>> verdict({"nll_mean": 1.25, "data": {"name": "starter", "studies": {"a": {}, "b": {}}}})
    'mean NLL 1.250 nats over 2 studies of starter'
    """
    overall = about.get("overall")
    parts = [about, *([overall, *overall.values()] if isinstance(overall, Mapping) else [])]
    said = [str(part["verdict"]) for part in parts if isinstance(part, Mapping) and part.get("verdict")]
    data, nll_mean = about.get("data"), about.get("nll_mean")
    if not said and isinstance(nll_mean, int | float) and isinstance(data, Mapping):
        n_studies = len(data.get("studies", ()))
        studies = f"{n_studies} {'study' if n_studies == 1 else 'studies'}"
        return f"mean NLL {nll_mean:.3f} nats over {studies} of {data.get('name', 'data')}"
    return "; ".join(said)


@dataclass(frozen=True)
class DataSet:
    """The data of a run as trackers show them: what they are called, which they are, and where they come from."""

    name: str
    fingerprint: str
    studies: tuple[str, ...]
    revision: str | None = None

    @classmethod
    def of(cls, about: Mapping[str, Any], config: Mapping[str, Any]) -> "DataSet | None":
        """That of a finished run; None where its record names none."""
        data, asked = about.get("data"), config.get("data")
        if not isinstance(data, Mapping) or "fingerprint" not in data:
            return None
        known = asked if isinstance(asked, Mapping) else config
        revision = known.get("data_revision")
        name, studies = str(data.get("name", "data")), tuple(sorted(map(str, data.get("studies", ()))))
        return cls(name, str(data["fingerprint"]), studies, str(revision) if revision else None)

    @property
    def is_of_hub(self) -> bool:
        """Whether the name is that of a data set on the Hugging Face Hub."""
        return self.name.count("/") == 1 and not Path(self.name).exists() and not self.name.startswith((".", "~", "/"))

    @property
    def source(self) -> dict[str, str | None]:
        """Where they come from, as MLflow's own sources say it."""
        if self.is_of_hub:
            return {"path": self.name, "revision": self.revision}
        path = Path(self.name)
        return {"uri": path.resolve().as_uri() if path.exists() else self.name}


def files_by_type(folder: Path, files: Sequence[Path]) -> dict[str, list[Path]]:
    """A run's files under the types of artifacts that they are: its scores, its model, and the rest.

    A model, and an adapter, is what is beside its weights; the files of ``folder`` alone count as beside.
    """
    has_scores = any(path.name == "scores.parquet" for path in files)
    homes = {path.parent for path in files if path.suffix in _WEIGHTS}
    sorted_files: dict[str, list[Path]] = {"scores": [], "model": [], "run-folder": []}
    for path in files:
        if has_scores and path.parent == folder and path.name in _SCORE_FILES:
            kind = "scores"
        elif path.suffix in _WEIGHTS or (path.parent in homes and _belongs_to_model(path)):
            kind = "model"
        else:
            kind = "run-folder"
        sorted_files[kind].append(path)
    return {kind: found for kind, found in sorted_files.items() if found}


def _belongs_to_model(path: Path) -> bool:
    if path.name == "config.json":  # beside an adapter, what the run was asked
        return not path.with_name("adapter_config.json").exists()
    return path.name in _MODEL_FILES or path.name.startswith(("tokenizer", "special_tokens"))
