"""A run's folder: what it was asked (``config.json``), where it comes from (``run.json``), what it measured.

Everything is on disk here first, each file whole or absent; trackers only mirror it.
"""

import json
import math
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from centaurlab.runs.csv_table import write_csv
from centaurlab.runtime.errors import UserError
from centaurlab.runtime.secrets import masked

if TYPE_CHECKING:
    import pandas as pd

CONFIG = "config.json"
MODEL_RUN_CONFIG = "run_config.json"
"""Instead, in a folder that is also that of a whole model, whose ``config.json`` is the model's."""

MetricLine = tuple[float, int, Mapping[str, float]]
"""Seconds since 1970, step, and values by name."""


class RunFolder:
    """The folder of one run of ``job`` (``score``, ``train``, ``misalignment`` …), made with its parents.

    Raises ``UserError`` where the folder cannot be made or written to, and later when the disk is full.
    """

    def __init__(self, path: Path, job: str) -> None:
        self.path = path
        self.job = job
        self._last_logged: float | None = None
        with _disk_errors(path):
            path.mkdir(parents=True, exist_ok=True)
            if not os.access(path, os.W_OK):
                raise PermissionError("permission denied")

    def check_job(self) -> None:
        """Raise ``UserError`` where the folder holds a finished run of another job, which this one would overwrite."""
        check_job(self.path, self.job)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the folder; a second run into it is refused, and one of another job.

        The kernel releases it when the process dies.
        """
        self.check_job()
        with _disk_errors(self.path):
            lock = FileLock(self.path / ".lock", blocking=False)
        try:
            with lock:
                yield
        except Timeout:
            raise UserError(
                f"another run is writing to {self.path}; wait for it to end or give another --output_dir"
            ) from None

    def write_json(self, name: str, content: Mapping[str, Any]) -> None:
        """Write ``content`` as JSON, whole or not at all; NaN and infinities become null, secrets are masked."""
        path = self.path / name
        temporary = path.with_name(f".{name}.tmp")
        with _disk_errors(self.path):
            with temporary.open("w", encoding="utf-8") as file:
                json.dump(masked(_finite(content)), file, indent=2, sort_keys=True, allow_nan=False, default=str)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)

    def write_table(self, name: str, table: "pd.DataFrame") -> None:
        """Write ``table`` as ``name``, which ends in ``.csv`` or ``.parquet``, whole or not at all."""
        path = self.path / name
        temporary = path.with_name(f".{name}.tmp")
        with _disk_errors(self.path):
            if path.suffix == ".parquet":
                table.to_parquet(temporary, index=False)
            else:
                write_csv(table, temporary)
            temporary.replace(path)

    def read_json(self, name: str) -> dict[str, Any]:
        """The content of a JSON file of the folder; ``UserError`` when there is none."""
        path = self.path / name
        if not path.exists():
            raise UserError(f"{self.path} holds no {name}: the run is not finished, or this is not a run's folder")
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return content

    def log(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Append a line to ``metrics.jsonl``; one that a kill has torn is ended first.

        Its time is later than those of all lines before, also after a clock went back: of two values at the same step,
        MLflow takes the one with the later time as current.
        """
        if self._last_logged is None:
            self._last_logged = max((seconds for seconds, *_ in read_metrics(self.path)), default=0.0)
        self._last_logged = max(time.time(), self._last_logged + 0.001)
        line = {"time": self._last_logged} | ({} if step is None else {"step": step}) | _finite(metrics)
        with _disk_errors(self.path), (self.path / "metrics.jsonl").open("ab+") as file:
            if file.tell():
                file.seek(-1, os.SEEK_END)
            torn = file.read(1) not in (b"", b"\n")
            file.write(b"\n" * torn + json.dumps(line, allow_nan=False).encode() + b"\n")


def check_job(path: Path, job: str) -> None:
    """Raise ``UserError`` where ``path`` holds a finished run of another job, which ``job`` would overwrite."""
    known = read_json(path / "run.json").get("job", job)
    if known != job:
        raise UserError(f"{path} holds a run of {known}, not of {job}; give another --output_dir")


@contextmanager
def inheritable_lock(path: Path) -> Iterator[int | None]:
    """The descriptor of a lock on the file ``path``, or None where another process holds it.

    A child that inherits the descriptor holds the lock too; the kernel frees it when the last of them is gone.
    """
    import fcntl  # which Windows lacks; there, nothing is mirrored by a process that outlives a run

    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        yield None
    else:
        yield descriptor
    finally:
        os.close(descriptor)


def is_run(folder: Path) -> bool:
    """Whether a folder holds a run, finished or not; that of a model, whose ``config.json`` it is, does not."""
    if (folder / "run.json").exists() or (folder / MODEL_RUN_CONFIG).exists():
        return True
    return (folder / CONFIG).exists() and "model_type" not in read_json(folder / CONFIG)


def read_config(folder: Path) -> dict[str, Any]:
    """What the run in ``folder`` was asked, empty where that is not known."""
    return read_json(folder / (MODEL_RUN_CONFIG if (folder / MODEL_RUN_CONFIG).exists() else CONFIG))


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file, empty where there is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def read_metrics(folder: Path) -> list[MetricLine]:
    """The whole lines of ``metrics.jsonl``; values that are not finite are null there and left out."""
    file = folder / "metrics.jsonl"
    if not file.is_file():
        return []
    lines: list[MetricLine] = []
    for text in file.read_text(encoding="utf-8").splitlines():
        try:
            line = json.loads(text)
        except ValueError:  # torn by a kill
            continue
        values = {k: float(v) for k, v in line.items() if k not in ("time", "step") and isinstance(v, int | float)}
        lines.append((float(line.get("time", 0.0)), int(line.get("step", 0)), values))
    return lines


def _finite(content: Any) -> Any:
    if isinstance(content, float):
        return content if math.isfinite(content) else None
    if isinstance(content, Mapping):
        return {str(key): _finite(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_finite(value) for value in content]
    return content


@contextmanager
def _disk_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(f"cannot write to {folder}: {error.strerror or error}; give another --output_dir") from error


def checkpoint_steps(output_dir: Path) -> list[tuple[int, Path]]:
    """The steps and folders of the checkpoints in ``output_dir``, in order, whole or not."""
    return sorted(
        (int(path.name.rpartition("-")[2]), path)
        for path in output_dir.glob("checkpoint-*")
        if path.name.rpartition("-")[2].isdecimal()
    )
