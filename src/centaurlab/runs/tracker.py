"""Runs tracked in MLflow and Weights & Biases, by a process of its own that follows the run's folder.

The run writes its files and knows nothing of trackers: they cost it no time, and cannot stop it. The other process
reads the files, and sees how the run ends, by whatever signal. HF's own callbacks are not used: all goes this way.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from centaurlab.runs.folder import RunFolder, held, inheritable_lock, is_run, job_of, read_metrics
from centaurlab.runs.integrity import read_json, read_sound_json
from centaurlab.runs.lineage import IDS, group_of
from centaurlab.runs.mirror import FAILED, FINISHED, TRACKERS, Mirror, note_untracked, warn
from centaurlab.runs.mlflow_run import LOCK, MlflowRun
from centaurlab.runs.mlflow_store import check_writable
from centaurlab.runs.provenance import provenance
from centaurlab.runs.wandb_run import OF_ONE_RUN, is_disabled
from centaurlab.runtime.errors import IncompleteError, UserError
from centaurlab.runtime.secrets import mask_secrets

_EVERY_SECONDS = 10.0
_END_SECONDS = 120.0
"""How long a finished run waits for its trackers; then they go on without it."""
_PREDECESSOR_SECONDS = 60.0
"""How long a run waits for the trackers of the one before it in the same folder, killed a moment ago."""


@dataclass
class TrackingArguments:
    """Where runs are tracked, and under which names."""

    report_to: list[str] = field(
        default_factory=lambda: ["mlflow"],
        metadata={"help": "trackers: mlflow, wandb, the two (with a space between), all or none"},
    )
    run_name: str | None = field(
        default=None, metadata={"help": "name of the run (default: WANDB_NAME, if set, or job, model and data)"}
    )
    group: str | None = field(
        default=None, metadata={"help": "runs of one comparison share it (default: WANDB_RUN_GROUP, if set)"}
    )

    is_part: bool = field(default=False, init=False)
    condition: str | None = field(default=None, init=False)

    def grouped(self, output_dir: str, base: str | None = None) -> "TrackingArguments":
        """With the group of a comparison, which the runs that it compares join unless they have one.

        It is the one named, that of ``WANDB_RUN_GROUP``, that of ``base`` if this is a run's folder, or the name of
        the output folder.
        """
        group = self.group or os.environ.get("WANDB_RUN_GROUP") or group_of(base) or Path(output_dir).name
        return replace(self, group=group)

    def part(self, condition: str | None = None) -> "TrackingArguments":
        """For one of the runs that a script makes on its way; its name ends with ``condition``.

        Names and ids, given or in the environment, are those of the script's own run.
        """
        part = replace(self, run_name=None)
        part.is_part, part.condition = True, condition
        return part

    def __post_init__(self) -> None:
        if isinstance(self.report_to, str):  # as YAML gives it
            self.report_to = self.report_to.split()
        for name in self.report_to:
            if name not in (*TRACKERS, "all", "none"):
                raise UserError(f"--report_to is {name!r}; choose from mlflow, wandb, all, none")

    @property
    def trackers(self) -> list[str]:
        """The trackers meant: every one with 'all', and no W&B where ``WANDB_MODE`` says 'disabled'."""
        if "none" in self.report_to:
            return []
        named = [name for name in TRACKERS if name in self.report_to or "all" in self.report_to]
        return [name for name in named if not (name == "wandb" and is_disabled())]


class Tracker:
    """Mirrors ``folder`` to the trackers while the ``with`` block runs; at its end everything the folder holds.

    ``config`` is what the run was asked, as it will stand in ``config.json``. A run that leaves the block by an
    exception, is killed in it, or at its end has no ``run.json`` or lacks sessions, is marked as failed. Processes
    other than the main one of a launch track nothing. Enter it inside ``folder.lock()``.
    """

    def __init__(
        self,
        folder: RunFolder,
        arguments: TrackingArguments,
        config: Mapping[str, Any] | None = None,
        every_seconds: float = _EVERY_SECONDS,
    ) -> None:
        self._folder = folder
        self._arguments = arguments
        self._config = config
        self._every_seconds = every_seconds
        self._process: subprocess.Popen[str] | None = None
        self._trackers: list[str] = []

    def __enter__(self) -> Self:
        if os.environ.get("RANK", "0") != "0":
            return self
        self._trackers = [name for name in self._arguments.trackers if self._can_start(name)]
        if not self._trackers:
            return self
        deadline = time.monotonic() + _PREDECESSOR_SECONDS
        while time.monotonic() < deadline:
            with inheritable_lock(self._folder.path / LOCK) as lock:
                if lock is not None:
                    self._process = self._spawn(lock)
                    return self
            time.sleep(0.2)
        raise UserError(f"another process is tracking {self._folder.path}; wait for it to end")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is None:
            return
        done = kind is None or (isinstance(error, SystemExit) and error.code in (None, 0))
        ended = FINISHED if done and is_complete(read_json(self._folder.path / "run.json")) else FAILED
        try:
            self._process.communicate(ended + "\n", timeout=_END_SECONDS)
            if self._process.returncode:
                self._lose("tracking failed; nothing more is logged")
        except subprocess.TimeoutExpired:
            self._warn(f"trackers are slow and go on in process {self._process.pid}; they may not end")

    def _spawn(self, lock: int) -> "subprocess.Popen[str] | None":
        environment = dict(os.environ)
        if self._arguments.is_part:
            for name in OF_ONE_RUN:
                environment.pop(name, None)
        request = {
            "path": str(self._folder.path),
            "job": self._folder.job,
            "trackers": self._trackers,
            "run_name": self._arguments.run_name or environment.get("WANDB_NAME"),
            "condition": self._arguments.condition,
            "group": self._arguments.group or environment.get("WANDB_RUN_GROUP"),
            "config": self._config or {},
            "about": provenance(),
            "metric_lines": len(read_metrics(self._folder.path)),
            "every_seconds": self._every_seconds,
        }
        try:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "centaurlab.runs.mirror"],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                text=True,
                env=environment,
                pass_fds=(lock,),
                start_new_session=True,
            )
            assert process.stdin is not None, "it is a pipe"
            process.stdin.write(json.dumps(request, default=str) + "\n")
            process.stdin.flush()
        except OSError as error:
            self._lose(f"trackers cannot be started ({error}); nothing is logged there")
            return None
        return process

    def _can_start(self, name: str) -> bool:
        """Whether nothing is known to be in a tracker's way; what is, is said now, and costs the run no time."""
        try:
            if name == "mlflow":
                check_writable(MlflowRun.address_of(read_sound_json(self._folder.path / IDS).get(name, {})))
        except UserError as error:
            missing = f"{TRACKERS[name].name} failed ({mask_secrets(str(error))}); not logged there: the run"
            note_untracked(self._folder, name, missing)
            warn(self._folder.path, missing, [name])
            return False
        return True

    def _lose(self, what: str) -> None:
        """Say and remember that the process which tracks is gone."""
        for name in self._trackers:
            note_untracked(self._folder, name, what)
        self._warn(what)

    def _warn(self, what: str) -> None:
        warn(self._folder.path, what, self._trackers)


def track(path: Path, arguments: TrackingArguments) -> None:
    """Mirror the run in ``path`` now: all of it, or what its trackers do not have yet.

    Raises ``UserError`` where ``path`` is no run's folder, or its run is still going, and ``IncompleteError`` where a
    tracker failed, after the others had their turn.
    """
    if not is_run(path):
        raise UserError(f"{path} is not a run's folder (it holds neither config.json nor run.json); check the name")
    about, known = read_json(path / "run.json"), read_sound_json(path / IDS)
    job = job_of(path) or str(known.get("job") or "run")
    group, folder = arguments.group or known.get("group"), RunFolder(path, job)
    with held(path), inheritable_lock(path / LOCK) as lock:
        if lock is None:
            raise UserError(f"the run in {path} is still being tracked; wait for it to end")
        lines = len(read_metrics(path))
        failures: list[str] = []
        mirror = Mirror(
            *(folder, arguments.trackers, arguments.run_name, None, group, {}, {}, lines),
            on_failure=lambda _, what, __: failures.append(what),
        )
        mirror.end(failed=not is_complete(about))
    if failures:
        raise IncompleteError(
            f"{'; '.join(failures)}. The files in {path} are complete; give the same command again once that is mended"
        )


def is_complete(about: Mapping[str, Any]) -> bool:
    """Whether a run wrote its ``run.json``, and all that it was asked to score is there."""
    return bool(about) and not about.get("failed_sessions")
