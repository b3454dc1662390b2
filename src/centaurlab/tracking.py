"""A run's folder mirrored to MLflow and Weights & Biases, while it grows and once it is finished.

Files are the record and come first; trackers get what the files hold, so the same numbers stand everywhere, a run
continues where it was, and ``track`` logs later what could not be logged. A tracker that fails is named once and
left alone: it never stops the run.
"""

import dataclasses
import json
import os
import re
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from filelock import FileLock

from centaurlab.errors import UserError
from centaurlab.mlflow_run import LOCK, MetricLine, MlflowRun
from centaurlab.runs import RunFolder, provenance
from centaurlab.wandb_run import WandbRun

if TYPE_CHECKING:
    import pandas as pd
    from transformers import TrainerCallback

TRACKERS: dict[str, type[MlflowRun] | type[WandbRun]] = {"mlflow": MlflowRun, "wandb": WandbRun}
IDS = "tracking.json"
SEND_EVERY_SECONDS = 10.0
LARGE_FILE_BYTES = 200_000_000
"""Files above this are logged by reference."""

_OUTPUTS = ("*.parquet", "*.json", "metrics.jsonl", "README.md", "adapter_model*.safetensors")
_FIGURES = ("*.png", "*.svg", "*.pdf", "figures/*.png", "figures/*.svg", "figures/*.pdf")
_RESULTS = ("speed", "coverage", "studies", "skipped_sessions", "notes", "held_out", "overall", "time", "nll_mean")
_SECRET_NAME = re.compile(r"(token|api_key|password|secret)$")
_SECRET = re.compile(r"hf_[A-Za-z0-9]{8,}|//[^/@\s]+:[^/@\s]+@|wandb_v\d_\w+")


@dataclass
class TrackingArguments:
    """Where runs are tracked, and under which names."""

    report_to: list[str] = field(
        default_factory=lambda: ["mlflow"], metadata={"help": "trackers: mlflow, wandb, both, all or none"}
    )
    run_name: str | None = field(default=None, metadata={"help": "name of the run (default: job, model and data)"})
    group: str | None = field(
        default=None, metadata={"help": "runs of one comparison share it (default: WANDB_RUN_GROUP, if set)"}
    )

    def __post_init__(self) -> None:
        for name in self.report_to:
            if name not in (*TRACKERS, "all", "none"):
                raise UserError(f"--report_to is {name!r}; choose from mlflow, wandb, all, none")

    @property
    def trackers(self) -> list[str]:
        """The trackers meant: none without, every one with 'all'."""
        if "none" in self.report_to:
            return []
        return [name for name in TRACKERS if name in self.report_to or "all" in self.report_to]


class Tracker:
    """Mirrors ``folder`` while the ``with`` block runs; at its end everything the folder holds.

    ``config`` is what the run was asked, for the time before ``config.json`` is written. Leaving the block with an
    exception marks the run as failed. Processes other than the main one of a launch track nothing.
    """

    def __init__(
        self, folder: RunFolder, arguments: TrackingArguments, config: Mapping[str, Any] | None = None
    ) -> None:
        self._folder = folder
        self._arguments = arguments
        self._config = dict(config or {})
        self._runs: dict[str, MlflowRun | WandbRun] = {}
        self._sent: dict[str, int] = {}
        self._sent_at = 0.0
        self._held = ExitStack()

    def __enter__(self) -> Self:
        if os.environ.get("RANK", "0") == "0" and self._arguments.trackers:
            self._held.enter_context(FileLock(self._folder.path / LOCK))
            for name in self._arguments.trackers:
                self._attempt(name, "the run", lambda name=name: self._start(name))  # type: ignore[misc]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        failed = kind is not None and not (isinstance(error, SystemExit) and error.code in (None, 0))
        with self._held:
            for name in list(self._runs):
                self._attempt(name, "tables, figures and files", lambda name=name: self._finish(name, failed))  # type: ignore[misc]

    def log(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Append ``metrics`` to ``metrics.jsonl`` and mirror them."""
        self._folder.log(metrics, step)
        self.update()

    def update(self) -> None:
        """Mirror the new lines of ``metrics.jsonl``, at most every ten seconds."""
        if time.monotonic() - self._sent_at < SEND_EVERY_SECONDS:
            return
        for name in list(self._runs):
            self._attempt(name, "metrics from here on, tables, figures and files", lambda name=name: self._send(name))  # type: ignore[misc]
        self._sent_at = time.monotonic()

    def _start(self, name: str) -> None:
        path = self._folder.path
        known = read_json(path / IDS).get(name, {})
        config = self._config or read_json(path / "config.json")
        run_name = self._arguments.run_name or _run_name(self._folder.job, config, path)
        group = self._arguments.group or os.environ.get("WANDB_RUN_GROUP")
        tags = {"job_type": self._folder.job} | ({"group": group} if group else {}) | _links(config)
        self._runs[name] = TRACKERS[name](path, known, run_name, tags)
        self._sent[name] = int(known.get("metric_lines", 0))
        self._remember(name)
        self._runs[name].config(flat_config(config, provenance()))

    def _send(self, name: str) -> None:
        lines = read_metrics(self._folder.path)
        self._sent[name] = min(self._sent[name], len(lines))
        if len(lines) > self._sent[name]:
            self._runs[name].metrics(lines[self._sent[name] :])
            self._sent[name] = len(lines)
            self._remember(name)

    def _finish(self, name: str, failed: bool) -> None:
        run, path = self._runs[name], self._folder.path
        self._send(name)
        about = read_json(path / "run.json")
        config = read_json(path / "config.json")
        if not failed and about:
            run.config(flat_config(config, about) | _links(config | about))
            _mirror_data_set(run, about)
        for table_name, table in tables(path).items():
            run.table(table_name, table)
        for figure in _matching(path, _FIGURES):
            run.figure(figure)
        files = [file.resolve() for file in _matching(path, _OUTPUTS) if file.name != IDS]
        large = [file for file in files if file.stat().st_size > LARGE_FILE_BYTES]
        run.files([file for file in files if file not in large], large)
        run.end(failed)

    def _remember(self, name: str) -> None:
        known = read_json(self._folder.path / IDS)
        known[name] = {**self._runs[name].ids, "metric_lines": self._sent[name]}
        known["job"] = self._folder.job
        known["group"] = self._arguments.group or os.environ.get("WANDB_RUN_GROUP")
        self._folder.write_json(IDS, known)

    def _attempt(self, name: str, what: str, act: Callable[[], None]) -> None:
        """Do ``act``; where it fails, say once what is missing and leave that tracker alone."""
        try:
            act()
        except Exception as error:  # noqa: BLE001  # a tracker may fail in any way, the run goes on
            self._runs.pop(name, None)
            reason = _SECRET.sub("***", " ".join(str(error).split()))[:200] or type(error).__name__
            print(
                f"warning: {TRACKERS[name].name} failed ({reason}); not logged there: {what}. The files in "
                f"{self._folder.path} are complete; log them later with: centaurlab track {self._folder.path}",
                file=sys.stderr,
            )


def tracker_callback(tracker: Tracker) -> "TrainerCallback":
    """A callback that mirrors whatever a trainer logs, to be added after the one that writes ``metrics.jsonl``."""
    from transformers import TrainerCallback

    class TrackerCallback(TrainerCallback):
        def on_log(self, *args: Any, **kwargs: Any) -> None:
            tracker.update()

    return TrackerCallback()


def track(path: Path, arguments: TrackingArguments) -> None:
    """Mirror the run in ``path`` now: all of it, or what its trackers do not have yet.

    Raises ``UserError`` where ``path`` is no run's folder.
    """
    if not (path / "config.json").exists() and not (path / "run.json").exists():
        raise UserError(f"{path} is not a run's folder (it holds neither config.json nor run.json); check the name")
    about, known = read_json(path / "run.json"), read_json(path / IDS)
    job = str(about.get("job") or known.get("job") or "run")
    if not arguments.group and known.get("group"):
        arguments = dataclasses.replace(arguments, group=str(known["group"]))
    with Tracker(RunFolder(path, job), arguments):
        pass


def flat_config(config: Mapping[str, Any], about: Mapping[str, Any]) -> dict[str, str]:
    """Arguments and provenance as one level of ``a.b.c`` names; results and secrets are left out."""
    flat: dict[str, str] = {}

    def add(prefix: str, value: Any) -> None:
        if isinstance(value, Mapping):
            for key, inner in value.items():
                if key not in _RESULTS or prefix == "":
                    add(f"{prefix}.{key}" if prefix else str(key), inner)
        elif value is not None and not _SECRET_NAME.search(prefix):
            text = value if isinstance(value, str) else json.dumps(value, default=str)
            flat[prefix] = _SECRET.sub("***", text)

    add("", config)
    add("", {key: value for key, value in about.items() if key not in _RESULTS})
    return flat


def tables(path: Path) -> dict[str, "pd.DataFrame"]:
    """The run's tables by name: each CSV file, and the studies of ``run.json``."""
    import pandas as pd

    found = {file.stem: pd.read_csv(file) for file in _matching(path, ("*.csv",))}
    about = read_json(path / "run.json")
    data = about.get("data")
    studies = data.get("studies") if isinstance(data, dict) else None
    if isinstance(studies, dict) and studies:
        coverage = about.get("coverage", {})
        rows = [{"study": study, **values, **coverage.get(study, {})} for study, values in studies.items()]
        found["studies"] = pd.DataFrame(rows)
    if about.get("held_out"):
        found["held_out"] = pd.DataFrame(about["held_out"])
    return found


def _mirror_data_set(run: MlflowRun | WandbRun, about: Mapping[str, Any]) -> None:
    data = about.get("data")
    if isinstance(data, dict) and "fingerprint" in data:
        name = str(data.get("name", "data"))
        run.data_set(name, str(data["fingerprint"]), data.get("studies", {}), str(about.get("job", "run")))


def _run_name(job: str, config: Mapping[str, Any], path: Path) -> str:
    """'score gemma-3-270m on starter': what a person needs to find the run."""
    flat = flat_config(config, {})
    data = flat.get("data") or flat.get("data.data")
    model = flat.get("adapter_name_or_path") or flat.get("model_name_or_path") or flat.get("model.model_name_or_path")
    if flat.get("base") and flat.get("post"):
        return f"{job} {Path(flat['base']).name} → {Path(flat['post']).name}"
    if not model:
        return f"{job} {path.name}"
    return f"{job} {Path(model).name}" + (f" on {Path(data).name}" if data else "")


def _links(config: Mapping[str, Any]) -> dict[str, str]:
    """Run ids of the runs that this one builds on: the training of its adapter, the two scorings it compares."""
    links = {}
    for tag, keys in (
        ("training_run", ("adapter_name_or_path", "model_name_or_path")),
        ("base_run", ("base",)),
        ("post_run", ("post",)),
    ):
        for key in keys:
            value = config.get(key)
            folder = value.get("folder") if isinstance(value, dict) else value
            if isinstance(folder, str) and (Path(folder) / IDS).is_file():
                for name, ids in read_json(Path(folder) / IDS).items():
                    if isinstance(ids, dict):
                        links[f"{tag}.{name}"] = str(ids["run_id"])
                break
    return links


def read_metrics(path: Path) -> list[MetricLine]:
    """The whole lines of ``metrics.jsonl``; values that are not finite are null there and left out."""
    file = path / "metrics.jsonl"
    if not file.exists():
        return []
    lines: list[MetricLine] = []
    for text in file.read_text(encoding="utf-8").splitlines():
        try:
            line = json.loads(text)
        except ValueError:
            break
        values = {k: float(v) for k, v in line.items() if k not in ("time", "step") and isinstance(v, int | float)}
        lines.append((float(line.get("time", 0.0)), int(line.get("step", 0)), values))
    return lines


def _matching(path: Path, patterns: tuple[str, ...]) -> list[Path]:
    return sorted({file for pattern in patterns for file in path.glob(pattern) if not file.name.startswith(".")})


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file, empty where there is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
