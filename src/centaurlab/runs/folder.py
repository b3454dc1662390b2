"""A run's folder: what it was asked (``config.json``), where it comes from (``run.json``), what it measured.

Everything is on disk here first, each file whole or absent; trackers only mirror it.
"""

import json
import math
import os
import re
import time
import zlib
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from filelock import FileLock, Timeout

from centaurlab.runs.csv_table import write_csv
from centaurlab.runs.integrity import (
    ASKED,
    DIGEST,
    FILES,
    METRICS,
    RECORD,
    DamageError,
    damaged,
    digests,
    metrics_so_far,
    own_digests,
    read_any,
    read_json,
    read_sound_json,
    sealed,
)
from centaurlab.runtime.errors import UserError
from centaurlab.runtime.secrets import masked

if TYPE_CHECKING:
    import pandas as pd

CONFIG = "config.json"
MODEL_RUN_CONFIG = "run_config.json"
"""Instead, in a folder that is also that of a whole model, whose ``config.json`` is the model's."""

WRITTEN = "written"
"""Where ``run.json`` says which tables and figures a run wrote: others in its folder are anybody's."""

_READ_LATER = ("*", "figures/*", "alpha-*/*", "experiments/*/*/*")
"""Where the files of a run lie that others read: tables, figures, models between two, and tables of simulators."""

_LOCK = ".lock"
_JOB = ".job"
"""Which job a folder is held by, or was: one that has not ended has no ``run.json``."""

_CHECKSUM = re.compile(rb', "crc": "([0-9a-f]{8})"\}$')

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
        """Raise ``UserError`` where the folder holds a run of another job, or what no run wrote: see ``check_job``."""
        check_job(self.path, self.job)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the folder; a second run into it is refused, and whatever ``check_job`` refuses.

        The kernel releases it when the process dies.
        """
        self.check_job()
        with held(self.path):
            with _disk_errors(self.path):
                (self.path / _JOB).write_text(self.job, encoding="utf-8")
            yield

    def write_json(self, name: str, content: Mapping[str, Any]) -> None:
        """Write ``content`` as JSON with its digest, whole or not at all.

        NaN and infinities become null, secrets are masked.
        """
        path = self.path / name
        temporary = path.with_name(f".{name}.tmp")
        with _disk_errors(self.path):
            written = json.loads(json.dumps(masked(_finite(content)), allow_nan=False, default=str))
            with temporary.open("w", encoding="utf-8") as file:
                json.dump(sealed(written), file, indent=2, sort_keys=True)
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

    def remove_earlier(self, written: Collection[str]) -> None:
        """Remove what the run before noted as ``WRITTEN`` and this one has not, and the folders that are empty then.

        Nothing else is removed from a run's folder: it may be the user's.
        """
        before = read_sound_json(self.path / RECORD).get(WRITTEN)
        for name in set(before if isinstance(before, list) else ()).difference(written):
            if Path(name).is_absolute() or ".." in Path(name).parts:
                continue
            with _disk_errors(self.path):
                (self.path / name).unlink(missing_ok=True)
                for folder in Path(name).parents[:-1]:
                    with suppress(OSError):  # it is not empty, or gone
                        (self.path / folder).rmdir()

    def read_json(self, name: str) -> dict[str, Any]:
        """The content of a JSON file of the folder; ``UserError`` when there is none, or it is damaged."""
        path = self.path / name
        if not path.exists():
            raise UserError(f"{self.path} holds no {name}: the run is not finished, or this is not a run's folder")
        return read_json(path)

    def finish(self, about: Mapping[str, Any]) -> None:
        """Write ``run.json``, the last file of a run, with the digests of the files that it is read with."""
        with _disk_errors(self.path):
            files = digests(self.path, [file for kind in _READ_LATER for file in self.path.glob(kind)])
            known = {FILES: files, ASKED: own_digests(self.path), METRICS: metrics_so_far(self.path)}
        self.write_json(RECORD, {**about, **known})

    def log(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Append a line to ``metrics.jsonl`` with its checksum; one that a kill has torn is taken away first.

        Its time is later than those of all lines before, also after a clock went back: of two values at the same step,
        MLflow takes the one with the later time as current. A line without a step is all that a run found: what an
        earlier one found besides, of other people or studies, is null from there on.
        """
        earlier = read_metrics(self.path) if step is None or self._last_logged is None else []
        if self._last_logged is None:
            self._last_logged = max((seconds for seconds, *_ in earlier), default=0.0)
        self._last_logged = max(time.time(), self._last_logged + 0.001)
        found_before = {name: None for _, at, values in earlier if not at for name in values}
        line = {"time": self._last_logged} | (found_before if step is None else {"step": step}) | _finite(metrics)
        text = json.dumps(line, allow_nan=False).encode()
        with _disk_errors(self.path), (self.path / "metrics.jsonl").open("ab+") as file:
            _end_line(file)
            file.write(text[:-1] + b', "crc": "%08x"}\n' % zlib.crc32(text))


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold a folder; ``UserError`` where a run is writing to it."""
    with _disk_errors(path):
        lock = FileLock(path / _LOCK, blocking=False)
    try:
        with lock:
            yield
    except Timeout:
        raise UserError(f"another run is writing to {path}; wait for it to end or give another --output_dir") from None


def check_job(path: Path, job: str) -> None:
    """Raise ``UserError`` where ``job`` would overwrite a run of another job, finished or not, or what no run wrote."""
    known = job_of(path)
    if known not in (None, job):
        raise UserError(f"{path} holds a run of {known}, not of {job}; give another --output_dir")
    is_run = (path / _LOCK).exists() or DIGEST in read_any(path / CONFIG)  # of an older version, which noted no job
    if known or is_run or (path / MODEL_RUN_CONFIG).exists():
        return
    written = (CONFIG, "adapter_config.json", *(["README.md"] if job in ("train", "posttrain") else ()))
    if others := next((name for name in written if (path / name).exists()), None):
        raise UserError(f"{path / others} is no run's, as of a model, and would be lost; give another --output_dir")


def job_of(path: Path) -> str | None:
    """The job of the run in ``path``, ended or not; None: there is none, or one of an older version in its middle."""
    if job := read_sound_json(path / RECORD).get("job"):  # a damaged one is written anew
        return str(job)
    is_begun = (path / CONFIG).exists() or (path / MODEL_RUN_CONFIG).exists()
    is_noted = is_begun and (path / _JOB).is_file()
    return (path / _JOB).read_text(encoding="utf-8", errors="replace") or None if is_noted else None


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
    return (folder / CONFIG).exists() and "model_type" not in read_sound_json(folder / CONFIG)


def read_config(folder: Path) -> dict[str, Any]:
    """What the run in ``folder`` was asked, empty where that is not known."""
    return read_json(folder / (MODEL_RUN_CONFIG if (folder / MODEL_RUN_CONFIG).exists() else CONFIG))


def read_metrics(folder: Path) -> list[MetricLine]:
    """The whole lines of ``metrics.jsonl``; values that are not finite are null there, and NaN here.

    Raises ``UserError`` where a line is not as it was written. The last may be torn by a kill, and lines of older
    versions and other programs, which have no checksum, may be anything.
    """
    file = folder / "metrics.jsonl"
    if not file.is_file():
        return []
    content = file.read_bytes()
    has_checksums, *texts = b'"crc": "' in content, *content.split(b"\n")
    lines: list[MetricLine] = []
    for number, text in enumerate(texts, start=1):
        is_torn = number == len(texts) and not _is_checked(text[:-1])  # or only its end is another character
        try:
            line = json.loads(_checked(text))
        except ValueError as error:
            if has_checksums and not is_torn:
                raise damaged(file, f"line {number}: {error}") from error
            continue
        if not isinstance(line, dict):
            continue
        given = {k: math.nan if v is None else v for k, v in line.items() if k not in ("time", "step")}
        values = {name: float(value) for name, value in given.items() if isinstance(value, int | float)}
        lines.append((float(line.get("time", 0.0)), int(line.get("step", 0)), values))
    return lines


def _checked(text: bytes) -> bytes:
    """A line without its checksum; ``DamageError`` where that is of another line, all of it where it has none."""
    found = _CHECKSUM.search(text)
    if not found:
        return text
    line = text[: found.start()] + b"}"
    if zlib.crc32(line) != int(found[1], 16):
        raise DamageError("its content is not what its checksum says")
    return line


def _is_checked(text: bytes) -> bool:
    """Whether a line has a checksum, and it is right."""
    try:
        return _checked(text) != text
    except DamageError:
        return False


def _end_line(file: BinaryIO) -> None:
    """Let the next line begin on its own: one without an end gets it, and one that a kill has torn is taken away."""
    size = file.tell()
    file.seek(0)
    *_, last = file.read().split(b"\n") if size else [b""]
    try:
        if last:
            json.loads(last)
            file.write(b"\n")
    except ValueError:
        file.truncate(size - len(last))


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
