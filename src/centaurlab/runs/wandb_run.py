"""One run in Weights & Biases: online with a key, else written to files that ``wandb sync`` uploads later.

It never asks, and gives up on a silent server within a minute.
"""

import json
import math
import netrc
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from centaurlab.runs.folder import MetricLine, read_metrics
from centaurlab.runs.found import DataSet, files_by_type
from centaurlab.runs.settings import Setting
from centaurlab.runtime.terminal import say

if TYPE_CHECKING:
    import pandas as pd
    import wandb


PROJECT = "centaurlab"
MAX_TABLE_ROWS = 200_000
_CURVES = ("train/", "eval/")
"""Metrics along a run's steps: of these the summary has the lowest and the highest value beside the last."""
_TAG_LENGTH = 64
OF_ONE_RUN = ("WANDB_NAME", "WANDB_RUN_ID", "WANDB_SWEEP_ID", "WANDB_SWEEP_PARAM_PATH")
"""The environment variables that mean one run and no other that its process logs."""


def is_disabled() -> bool:
    """Whether W&B is told to do nothing: then it is not started, and nothing is remembered of it."""
    return os.environ.get("WANDB_MODE") == "disabled"


def has_key() -> bool:
    """Whether W&B can log in without asking: by environment variable or netrc."""
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    host = urlsplit(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname or ""
    path = os.environ.get("NETRC") or str(Path.home() / ".netrc")
    try:
        return host in netrc.netrc(path).hosts
    except (OSError, netrc.NetrcParseError):
        return False


def _init(**about: Any) -> "wandb.Run":
    """``wandb.init`` without questions, console capture or long waits; offline where there is no key."""
    import wandb

    mode = os.environ.get("WANDB_MODE") or "online"
    if mode in ("online", "run", "shared") and not has_key():
        mode = "offline"  # W&B would ask for one
    return wandb.init(
        **about,
        resume="allow",
        mode=mode,  # type: ignore[arg-type]  # checked by W&B
        reinit="create_new",
        settings=wandb.Settings(
            console="off",
            silent=True,
            save_code=False,
            x_disable_meta=True,  # it holds the command as typed, keys included; the configuration has our own
            x_stats_pid=os.getppid(),  # the run, beside which this process was started
            init_timeout=30,
            finish_timeout=60,
            x_graphql_retry_max=2,
            x_file_stream_retry_max=2,
            x_file_transfer_retry_max=2,
        ),
    )


class WandbRun:
    """A run of ``folder``, new or continued; every method raises what W&B raises."""

    name = "W&B"

    def __init__(self, folder: Path, known: Mapping[str, str], run_name: str, tags: Mapping[str, str]) -> None:
        import wandb

        self._wandb = wandb
        self._folder = folder.resolve()
        self._drawings: list[Path] = []
        self._run = _init(
            project=os.environ.get("WANDB_PROJECT") or known.get("project") or PROJECT,
            entity=os.environ.get("WANDB_ENTITY") or known.get("entity"),
            id=os.environ.get("WANDB_RUN_ID") or known.get("run_id"),
            name=run_name,
            job_type=tags["job_type"],
            group=tags.get("group"),
            config=dict(tags),
        )
        self._run.define_metric("step", hidden=True)
        self._run.define_metric("*", step_metric="step")
        self._label(tags["job_type"])
        self.address = "offline" if self._run.offline else str(self._run.url)
        self.run_id = str(self._run.id)
        self.continues = bool(self._run.resumed)  # what was written offline is not with W&B, and is sent again

    @property
    def ids(self) -> dict[str, str]:
        """What continues this run later."""
        known = {"address": self.address, "run_id": self.run_id, "project": str(self._run.project)}
        return known | {"entity": self._run.entity, "name": str(self._run.name)}

    def config(self, settings: Mapping[str, Setting]) -> None:
        """Set the configuration, numbers as numbers; a resumed run's new values replace its old ones."""
        self._run.config.update(dict(settings), allow_val_change=True)  # type: ignore[no-untyped-call]

    def metrics(self, lines: Iterable[MetricLine]) -> None:
        """Log lines of metrics."""
        for _, step, values in lines:
            self._run.log({"step": step, **values})

    def describe(self, said: str, command: str) -> None:
        """Put what the run found into its notes, unless ``WANDB_NOTES`` says something else."""
        if not os.environ.get("WANDB_NOTES"):
            self._run.notes = said

    def table(self, name: str, table: "pd.DataFrame") -> None:
        """Log a table; W&B's end at 200,000 rows."""
        self._run.log({f"tables/{name}": self._wandb.Table(dataframe=table.head(MAX_TABLE_ROWS))})

    def figure(self, path: Path) -> None:
        """Upload a picture; vector graphics, which W&B does not show, go with the files."""
        if path.suffix == ".png":
            self._run.log({f"figures/{path.stem}": self._wandb.Image(str(path))})
        else:
            self._drawings.append(path.resolve())

    def files(self, paths: Sequence[Path], references: Sequence[Path]) -> None:
        """Upload ``paths`` as artifacts of the types scores, model and run-folder; of ``references`` the addresses."""
        for artifact in self._artifacts(self._folder, self.run_id, [*paths, *self._drawings], references):
            self._run.log_artifact(artifact)

    def data_set(self, data_set: DataSet, context: str) -> None:
        """Record the data set in the configuration, and as an input of type dataset, without its texts."""
        about = {"name": data_set.name, "fingerprint": data_set.fingerprint, "source": data_set.source}
        shown = about | {"studies": len(data_set.studies), "context": context}
        self._run.config.update({"input": shown}, allow_val_change=True)  # type: ignore[no-untyped-call]
        artifact = self._wandb.Artifact(_legal(data_set.name), type="dataset", metadata=about)
        with artifact.new_file("dataset.json") as file:
            json.dump(about | {"studies": data_set.studies}, file, indent=2)
        self._use(artifact)
        self._label(data_set.name)

    def use(self, folder: Path, known: Mapping[str, str], paths: Sequence[Path], references: Sequence[Path]) -> None:
        """Name the scores or the model of another run, by its folder, ids and files, as an input of this one."""
        for artifact in self._artifacts(folder, known["run_id"], paths, references):
            if artifact.type != "run-folder":
                self._use(artifact)

    def watch(self) -> None:
        """Nothing: W&B watches processor, memory and GPU by itself."""

    def adopt(self, known: Mapping[str, str]) -> None:
        """Nothing: runs of W&B have a group, but no parent."""

    def regroup(self, known: Mapping[str, str], group: str) -> None:
        """Once this run has ended, give another one, by its ids, a group."""
        for name in OF_ONE_RUN:
            os.environ.pop(name, None)
        self._wandb.teardown()  # or W&B remembers them
        about = {name: known.get(name) for name in ("project", "entity", "name")}
        _init(**about, id=known["run_id"], group=group).finish()

    def end(self, failed: bool) -> None:
        """Close the run; say how to upload one that was written offline."""
        if self._run.offline:
            say(f"W&B: no upload (offline); later: wandb sync {Path(self._run.dir).parent}", is_error=True)
        lines = [values for _, _, values in read_metrics(self._folder)]  # those before a resume, too
        for name in {name for values in lines for name in values if name.startswith(_CURVES)}:
            if along := [values[name] for values in lines if math.isfinite(values.get(name, math.nan))]:
                self._run.summary[f"{name}.min"], self._run.summary[f"{name}.max"] = min(along), max(along)
        self._run.finish(exit_code=1 if failed else 0)

    def _label(self, tag: str) -> None:
        tags = dict.fromkeys([*(self._run.tags or ()), tag[:_TAG_LENGTH]])
        self._run.tags = tuple(tags)

    def _artifacts(
        self, folder: Path, run_id: str, paths: Sequence[Path], references: Sequence[Path]
    ) -> "list[wandb.Artifact]":
        """One of each type of file; equal files give an equal artifact, whichever run makes it."""
        made = []
        for kind, files in files_by_type(folder, [*paths, *references]).items():
            name = f"{folder.name}-{run_id}" if kind == "run-folder" else f"{folder.name}-{kind}-{run_id}"
            artifact = self._wandb.Artifact(_legal(name), type=kind)
            for path in files:
                name = str(path.relative_to(folder))
                if path in references:
                    artifact.add_reference(path.as_uri(), name=name, checksum=False)
                else:
                    artifact.add_file(str(path), name=name)
            made.append(artifact)
        return made

    def _use(self, artifact: "wandb.Artifact") -> None:
        """Make an artifact an input, uploaded where W&B does not have it yet; offline, as a record for ``wandb sync``.

        ``use_artifact`` refuses to work offline, though the record that it writes is read there all the same.
        """
        if self._run.offline:
            self._run._log_artifact(artifact, use_after_commit=True)
        else:
            self._run.use_artifact(artifact)


def _legal(name: str) -> str:
    """A name of an artifact: letters, digits, dashes, underscores and dots, at most 128 of them."""
    return re.sub(r"[^\w.-]+", "-", name, flags=re.ASCII).strip("-")[-128:] or "unnamed"
