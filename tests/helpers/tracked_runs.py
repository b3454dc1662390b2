"""A small run as trackers are told of it, and what they are known to have."""

from centaurlab.runs.folder import RunFolder
from centaurlab.runs.integrity import read_json
from centaurlab.runs.provenance import provenance

NLL = 1.2345678901234567
"""A number with as many digits as there are."""
CONFIG = {"model_name_or_path": "org/tiny-llama", "data": "starter", "hub_token": "hf_abcdefghijklmnop"}


def write_run(folder: RunFolder) -> None:
    """Write the files of a finished run of eval/score.py, and a table of effects."""
    folder.write_json("config.json", CONFIG)
    (folder.path / "effects.csv").write_text(f"level,name,d\noverall,overall,{NLL!r}\nstudy,shelf,inf\n")
    (folder.path / "scores.parquet").write_bytes(b"rows")
    data = {"name": "starter", "fingerprint": "ab" * 32, "studies": {"shelf": {"nll": NLL}}}
    known = {"job": "score", "data": data, "coverage": {"shelf": {"scored": 3}}, "nll_mean": NLL}
    folder.write_json("run.json", provenance() | known)


def known_to(folder: RunFolder, tracker: str = "mlflow") -> dict[str, object]:
    """What the folder notes of a tracker; empty where that has not begun."""
    known: dict[str, object] = read_json(folder.path / "tracking.json").get(tracker, {})
    return known


def run_id(folder: RunFolder, tracker: str = "mlflow") -> str:
    """The run's name in a tracker."""
    return str(folder.read_json("tracking.json")[tracker]["run_id"])
