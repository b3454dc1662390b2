"""One run in an MLflow store.

Built on ``MlflowClient`` with an explicit address, so that nothing global changes and a ``./mlruns`` left by an
older MLflow does not select its file store.
"""

import getpass
import hashlib
import json
import logging
import math
import os
import re
import socket
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from centaurlab.runs.folder import MetricLine, inheritable_lock
from centaurlab.runs.found import DataSet, files_by_type
from centaurlab.runs.mlflow_model import is_adapter, log_adapter
from centaurlab.runs.mlflow_store import (
    RESUMED,
    check_writable,
    connect,
    database_of,
    experiment_name,
    settings_of,
    store_address,
)
from centaurlab.runs.settings import Setting, as_text
from centaurlab.runtime.secrets import mask_secrets

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor


LOCK = ".tracking.lock"
"""Whoever mirrors a run holds this file of its folder, so that a killed run is told from a living one."""

_BATCH = {"params": 100, "metrics": 1000}  # of one request, limits of the MLflow REST API
_VALUE = 6000  # characters of a parameter that MLflow keeps
_NAME = 250  # characters of a metric's name
_ILLEGAL = re.compile(r"[^\w\-./ :]")
_PARENT = "mlflow.parentRunId"
_SCHEMA = {
    "mlflow_colspec": [
        {"name": name, "type": "string", "required": True} for name in ("text", "study", "experiment", "participant")
    ]
}
"""Of a session as every source of data gives it."""


def legal(name: str) -> str:
    """The name of a metric as MLflow takes it; one that it does not take ends with a digest, so that none are one.

    Examples
    --------
    >>> legal("nll/shelf"), legal("nll/a+b"), legal("nll/a=b")
    ('nll/shelf', 'nll/a_b-bda6ed53', 'nll/a_b-8039a8bc')
    """
    known = _ILLEGAL.sub("_", name)
    if known == name and len(name) <= _NAME:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{known[: _NAME - len(digest) - 1]}-{digest}"


class MlflowRun:
    """A run of ``folder``, new or continued; every method raises what MLflow raises."""

    name = "MLflow"

    def __init__(self, folder: Path, known: Mapping[str, str], run_name: str, tags: Mapping[str, str]) -> None:
        self.address = self.address_of(known)
        check_writable(self.address)
        self._client = connect(self.address)
        self._folder = folder.resolve()
        self._monitor: SystemMetricsMonitor | None = None
        self._model_id = known.get("model_id")
        tags = {**tags, "folder": str(self._folder), "host": socket.gethostname(), "mlflow.user": _user()}
        self.continues = "run_id" in known and self._is_there(known["run_id"])
        if self.continues:
            self.run_id = known["run_id"]
            self._experiment_id = self._client.get_run(self.run_id).info.experiment_id
            self._client.update_run(self.run_id, status="RUNNING")
            for key, value in tags.items():
                self._client.set_tag(self.run_id, key, value)
        else:
            self._experiment_id = self._experiment()
            self._fail_killed_runs(self._experiment_id)
            self.run_id = self._client.create_run(self._experiment_id, tags=tags, run_name=run_name).info.run_id

    @staticmethod
    def address_of(known: Mapping[str, str]) -> str:
        """The store of a run of which these ids are known."""
        return os.environ.get("MLFLOW_TRACKING_URI") or known.get("address") or store_address()

    @property
    def ids(self) -> dict[str, str]:
        """What continues this run later; a password in the address is left out."""
        known = {"address": mask_secrets(self.address), "run_id": self.run_id, "experiment_id": self._experiment_id}
        return known | ({"model_id": self._model_id} if self._model_id else {})

    def config(self, settings: Mapping[str, Setting]) -> None:
        """Log parameters, as text; one that the run has with another value goes into a tag ``resumed.<name>``."""
        from mlflow.entities import Param, RunTag

        flat = {name: as_text(value) for name, value in settings.items()}
        if "command" in flat:
            script = Path(json.loads(flat["command"])[0]).name
            name = "centaurlab" if script == "__main__.py" else script
            self._client.set_tag(self.run_id, "mlflow.source.name", name)
        if "git.commit" in flat:
            self._client.set_tag(self.run_id, "mlflow.source.git.commit", flat["git.commit"])
        flat = {_ILLEGAL.sub("_", name): value[:_VALUE] for name, value in flat.items()}
        known = settings_of(self._client.get_run(self.run_id))
        new = [Param(name, value) for name, value in flat.items() if name not in known]
        for start in range(0, len(new), _BATCH["params"]):
            self._client.log_batch(self.run_id, params=new[start : start + _BATCH["params"]])
        changed = [RunTag(f"{RESUMED}{k}", v) for k, v in flat.items() if k in known and known[k] != v]
        for start in range(0, len(changed), _BATCH["params"]):
            self._client.log_batch(self.run_id, tags=changed[start : start + _BATCH["params"]])

    def metrics(self, lines: Iterable[MetricLine]) -> None:
        """Log lines of metrics, in as few requests as the API allows."""
        from mlflow.entities import Metric

        metrics = [
            Metric(legal(name), value, round(seconds * 1000), step)
            for seconds, step, values in lines
            for name, value in values.items()
        ]
        for start in range(0, len(metrics), _BATCH["metrics"]):
            self._client.log_batch(self.run_id, metrics=metrics[start : start + _BATCH["metrics"]])

    def table(self, name: str, table: "pd.DataFrame") -> None:
        """Write a table, in place of an earlier one of that name."""
        is_told = table.notna() & ~table.isin([math.inf, -math.inf])
        rows = table.astype(object).where(is_told, None)  # pandas' own JSON drops the last digits
        content = {"columns": list(rows.columns), "data": rows.to_numpy().tolist()}
        self._client.log_text(self.run_id, json.dumps(content), f"{name}.json")
        entry = {"path": f"{name}.json", "type": "table"}
        tag = "mlflow.loggedArtifacts"
        logged = json.loads(self._client.get_run(self.run_id).data.tags.get(tag, "[]"))
        if entry not in logged:
            self._client.set_tag(self.run_id, tag, json.dumps([*logged, entry]))

    def figure(self, path: Path) -> None:
        """Upload a picture."""
        self._client.log_artifact(self.run_id, str(path), "figures")

    def files(self, paths: Sequence[Path], references: Sequence[Path]) -> None:
        """Upload ``paths``, an adapter as a logged model; of ``references`` only where they are and how large."""
        model = [path for path in files_by_type(self._folder, paths).get("model", ()) if path.parent == self._folder]
        if is_adapter(model):
            self._model_id = log_adapter(self._client, self.run_id, self._experiment_id, self._folder.name, model)
            paths = [path for path in paths if path not in model]
        for path in paths:
            parent = path.relative_to(self._folder).parent
            self._client.log_artifact(self.run_id, str(path), None if parent == Path() else str(parent))
        if references:
            listed = {
                str(p.relative_to(self._folder)): {"uri": p.as_uri(), "bytes": p.stat().st_size} for p in references
            }
            self._client.log_dict(self.run_id, listed, "references.json")

    def describe(self, said: str, command: str) -> None:
        """Put what the run found, and the command that finds it again, at the head of its page."""
        self._client.set_tag(self.run_id, "mlflow.note.content", f"{said}\n\n```\n{command}\n```" if said else command)

    def data_set(self, data_set: DataSet, context: str) -> None:
        """Record the data set as an input of the run, with where it comes from and what a session of it holds."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        kind = "hugging_face" if data_set.is_of_hub else "local"
        profile = {"studies": len(data_set.studies), "fingerprint": data_set.fingerprint}
        entity = Dataset(
            name=data_set.name[:500],
            digest=data_set.fingerprint[:36],
            source_type=kind,
            source=json.dumps(data_set.source),
            schema=json.dumps(_SCHEMA),
            profile=json.dumps(profile),
        )
        self._client.log_inputs(self.run_id, [DatasetInput(entity, [InputTag("mlflow.data.context", context)])])

    def use(self, folder: Path, known: Mapping[str, str], paths: Sequence[Path], references: Sequence[Path]) -> None:
        """Name the logged model of another run, by its ids, as an input of this one."""
        from mlflow.entities import LoggedModelInput

        if "model_id" in known and self._is_there(known["run_id"]):
            self._client.log_inputs(self.run_id, models=[LoggedModelInput(known["model_id"])])

    def watch(self) -> None:
        """Log processor, memory, disk, network and GPU of this machine until the end, every ten seconds.

        Not where ``MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING`` is 'false'.
        """
        if os.environ.get("MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING", "true").lower() in ("false", "0"):
            return
        from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

        logging.getLogger("mlflow.system_metrics").setLevel(logging.CRITICAL)  # it announces its beginning and its end
        about = {"resume_logging": self.continues, "tracking_uri": self.address}
        self._monitor = SystemMetricsMonitor(self.run_id, **about)  # type: ignore[no-untyped-call]
        self._monitor.start()  # type: ignore[no-untyped-call]

    def adopt(self, known: Mapping[str, str]) -> None:
        """Show another run of the store, by its ids, below this one, unless it is below another."""
        if self._is_there(known["run_id"]) and _PARENT not in self._client.get_run(known["run_id"]).data.tags:
            self._client.set_tag(known["run_id"], _PARENT, self.run_id)

    def regroup(self, known: Mapping[str, str], group: str) -> None:
        """Give another run of the store, by its ids, a group."""
        if self._is_there(known["run_id"]):
            self._client.set_tag(known["run_id"], "group", group)

    def end(self, failed: bool) -> None:
        """Mark the run as finished or failed."""
        if self._monitor:
            self._monitor.finish()  # type: ignore[no-untyped-call]
        self._client.set_terminated(self.run_id, "FAILED" if failed else "FINISHED")

    def _is_there(self, run_id: str) -> bool:
        """Whether the store has the run: another store may have been named, or this one deleted."""
        from mlflow.exceptions import MlflowException

        try:
            return bool(self._client.get_run(run_id).info.lifecycle_stage == "active")
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return False
            raise

    def _experiment(self) -> str:
        from mlflow.exceptions import MlflowException

        name = experiment_name()
        found = self._client.get_experiment_by_name(name)
        if not found:
            database = database_of(self.address)
            beside = (database.parent / "mlartifacts").as_uri() if database else None
            try:
                return self._client.create_experiment(name, artifact_location=beside)
            except MlflowException as error:
                found = self._client.get_experiment_by_name(name)  # another run was faster
                if not found:
                    raise error
        if found.lifecycle_stage == "deleted":
            self._client.restore_experiment(found.experiment_id)
        return str(found.experiment_id)

    def _fail_killed_runs(self, experiment: str) -> None:
        """Mark as failed the runs of this machine that are said to run, and whose folder nobody holds."""
        said = f"attributes.status = 'RUNNING' and tags.host = '{socket.gethostname()}'"
        for run in self._client.search_runs([experiment], said):
            lock = Path(run.data.tags.get("folder", "/")) / LOCK
            if not lock.exists():
                self._client.set_terminated(run.info.run_id, "FAILED")
                continue
            with inheritable_lock(lock) as held:
                if held is not None:
                    self._client.set_terminated(run.info.run_id, "FAILED")


def _user() -> str:
    """Who is logged in to the server, or to this machine."""
    try:
        return os.environ.get("MLFLOW_TRACKING_USERNAME") or getpass.getuser()
    except (KeyError, OSError):  # a container may run as a number without a name
        return str(os.getuid())
