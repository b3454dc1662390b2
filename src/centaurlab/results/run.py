"""A folder of scores into what it says of itself, and whether two such folders may be compared."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from centaurlab.data.transcripts import data_fingerprint
from centaurlab.runtime.errors import UserError

_NAMED = 5  # studies named in an error


@dataclass(frozen=True)
class ScoreRun:
    """A finished folder of scores and the contents of its ``run.json``."""

    folder: Path
    about: dict[str, Any]

    @property
    def model(self) -> str:
        """The model's name."""
        return str(self.about["model"]["name"])

    @property
    def fingerprint(self) -> str:
        """The model's fingerprint: equal for the same weights in the same precision, whatever the name."""
        return str(self.about["model"]["fingerprint"])

    @property
    def n_failed(self) -> int:
        """Sessions of the data that could not be scored, hence are in no comparison."""
        return len(self.about.get("failed_sessions", ()))


def is_score_folder(path: Path) -> bool:
    """Whether ``path`` is the folder of a score run, finished or not."""
    return (path / "scores.parquet").exists() or (path / "store").is_dir()


def read_run(folder: Path) -> ScoreRun:
    """What a folder of scores says of itself; ``UserError`` where it is none, unfinished or damaged."""
    for name in ("run.json", "scores.parquet"):
        if not (folder / name).exists():
            remedy = "give its eval/score.py command again to finish it" if folder.is_dir() else "check the name"
            raise UserError(f"{folder} is not a finished run of eval/score.py (it holds no {name}); {remedy}")
    try:
        about: dict[str, Any] = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{folder / 'run.json'} is damaged ({error}); give the eval/score.py command again") from error
    if about.get("job") != "score":
        raise UserError(f"{folder} is a run of {about.get('job')!r}, not of eval/score.py; give a folder of scores")
    return ScoreRun(folder, about)


def scored_data(runs: Iterable[ScoreRun]) -> dict[str, Any]:
    """Name and fingerprints of the data that ``runs`` scored between them, as they stand in a ``run.json``."""
    scored = [run.about["data"] for run in runs]
    prints = {study: about["fingerprint"] for data in scored for study, about in data["studies"].items()}
    return {
        "name": scored[0]["name"],
        "fingerprint": data_fingerprint(prints),
        "studies": {study: {"fingerprint": prints[study]} for study in sorted(prints)},
    }


def scored_models(runs: Mapping[str, ScoreRun]) -> list[dict[str, Any]]:
    """By what name each model was asked for, where its scores are, and what it is, as they stand in a ``run.json``."""
    return [
        {"asked": name, "folder": str(run.folder), "protocol": run.about["protocol"], "failed": run.n_failed}
        | run.about["model"]
        for name, run in runs.items()
    ]


def check_same(runs: Iterable[ScoreRun], same_context: bool = True) -> None:
    """Raise ``UserError``, naming the difference, unless all runs scored the same sessions by the same protocol.

    And in the same context (persona, chat template), unless it is the context that is compared.
    """
    first, *others = runs
    for other in others:
        _check_same(first, other)
        contexts = [run.about.get("context") for run in (first, other)]
        if same_context and contexts[0] != contexts[1]:
            raise UserError(
                f"{first.folder} was scored with context {contexts[0]} and {other.folder} with {contexts[1]}; score "
                "both alike"
            )


def _check_same(first: ScoreRun, other: ScoreRun) -> None:
    protocols = [run.about["protocol"]["name"] for run in (first, other)]
    if protocols[0] != protocols[1]:
        raise UserError(
            f"{first.folder} was scored with protocol {protocols[0]!r} and {other.folder} with {protocols[1]!r}; "
            "score one of them again with the other's --protocol"
        )
    prints = [
        {study: about["fingerprint"] for study, about in run.about["data"]["studies"].items()} for run in (first, other)
    ]
    differing = sorted(study for study in prints[0].keys() | prints[1].keys() if len(_values(prints, study)) > 1)
    if differing:
        named = ", ".join(differing[:_NAMED]) + (f" and {len(differing) - _NAMED} more" * (len(differing) > _NAMED))
        raise UserError(
            f"{first.folder} and {other.folder} were scored on different sessions of {named}; "
            "score both with the same --data, --studies, --participants and --max_participants"
        )


def _values(prints: list[dict[str, str]], study: str) -> set[str | None]:
    return {known.get(study) for known in prints}
