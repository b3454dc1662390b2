"""A run's folder mirrored to MLflow and Weights & Biases, while it grows and once it is finished.

Files are the record; trackers get what the files hold, so that the same numbers stand everywhere and a run continues
where it was. A tracker that fails is named once and left alone. ``python -m centaurlab.runs.mirror`` is the process
that ``Tracker`` starts beside a run: whatever happens to trackers happens there.
"""

import json
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Any

from centaurlab.runs.csv_table import read_csv
from centaurlab.runs.folder import RunFolder, read_config, read_metrics
from centaurlab.runs.found import DataSet, verdict
from centaurlab.runs.integrity import read_json, read_sound_json
from centaurlab.runs.lineage import IDS, compared, links, made_from, without_group
from centaurlab.runs.mlflow_run import MlflowRun
from centaurlab.runs.provenance import as_typed
from centaurlab.runs.settings import flat_config
from centaurlab.runs.wandb_run import WandbRun
from centaurlab.runtime.secrets import mask_secrets, masked
from centaurlab.runtime.terminal import say

if TYPE_CHECKING:
    import pandas as pd


TRACKERS: dict[str, type[MlflowRun] | type[WandbRun]] = {"mlflow": MlflowRun, "wandb": WandbRun}
FINISHED, FAILED = "finished", "failed"
LARGE_FILE_BYTES = 200_000_000
"""Files above this are logged by reference."""

_OUTPUTS = (
    *("*.parquet", "*.json", "metrics.jsonl", "README.md", "*.safetensors", "chat_template.jinja"),
    *("alpha-*/*.safetensors", "alpha-*/*.json"),  # of interpolated models
)
_FIGURES = ("*.png", "*.svg", "*.pdf", "figures/*.png", "figures/*.svg", "figures/*.pdf")


def warn(folder: Path, what: str, trackers: Sequence[str]) -> None:
    """Say what is not logged of the run in ``folder`` to ``trackers``, and how to make up for it."""
    option = "" if trackers == ["mlflow"] else f" --report_to {trackers[0] if len(trackers) == 1 else 'all'}"
    later = f"The files in {folder} are complete; log them later with: centaurlab track {folder}{option}"
    say(f"warning: {what}. {later}", is_error=True)


def note_untracked(folder: RunFolder, tracker: str, what: str | None) -> None:
    """Remember beside the ids what a tracker lacks of the run, or that it lacks nothing."""
    known = read_sound_json(folder.path / IDS)
    missing = {name: said for name, said in known.get("untracked", {}).items() if name != tracker}
    if what:
        missing[tracker] = what
    if missing != known.get("untracked", {}):
        folder.write_json(IDS, known | {"untracked": missing})


def untracked(folder: Path) -> dict[str, str]:
    """What each tracker lacks of the run in ``folder``, as it was said then; empty where all is there."""
    missing: dict[str, str] = read_sound_json(folder / IDS).get("untracked", {})
    return missing


class Mirror:
    """The run in ``folder``, in ``trackers``. ``config`` and ``about`` stand in for the files that it has not yet.

    ``metric_lines`` are in ``metrics.jsonl`` already: a resumed run drops those after its checkpoint and writes them
    again, so that trackers may know more of them. ``on_failure`` is told what is not logged, and to which tracker.
    """

    def __init__(
        self,
        folder: RunFolder,
        trackers: Sequence[str],
        run_name: str | None,
        condition: str | None,
        group: str | None,
        config: Mapping[str, Any],
        about: Mapping[str, Any],
        metric_lines: int,
        on_failure: Callable[[Path, str, Sequence[str]], None] = warn,
    ) -> None:
        self._folder = folder
        self._on_failure = on_failure
        self._metric_lines = metric_lines
        self._run_name = run_name
        self._condition = condition
        self._group = group
        self._config = config
        self._about = about
        self._runs: dict[str, MlflowRun | WandbRun] = {}
        self._sent: dict[str, int] = {}
        for name in trackers:
            self._attempt(name, "the run", self._start)

    def update(self) -> None:
        """Send the new lines of ``metrics.jsonl``."""
        for name in list(self._runs):
            self._attempt(name, "metrics from here on, tables, figures and files", self._send)

    def end(self, failed: bool) -> None:
        """Send all that the folder holds, and close the runs."""
        config, about = self._config or read_config(self._folder.path), read_json(self._folder.path / "run.json")
        for name in list(self._runs):
            self._attempt(name, "tables, figures and files", lambda name: self._finish(name, failed, config, about))
        if self._group and not failed and not os.environ.get("WANDB_RUN_GROUP"):  # which groups all by itself
            alone = without_group(config, about)
            for name in list(self._runs):
                self._attempt(name, f"the group of {len(alone)} runs", lambda name: self._share_group(name, alone))
            for folder in alone:
                RunFolder(folder, "").write_json(IDS, read_sound_json(folder / IDS) | {"group": self._group})

    def watch(self) -> None:
        """Let the trackers watch the machine until the end."""
        for name in list(self._runs):
            self._attempt(name, "system metrics", lambda name: self._runs[name].watch())

    def _start(self, name: str) -> None:
        path = self._folder.path
        known = read_sound_json(path / IDS).get(name, {})
        config = self._config or read_config(path)
        described = _run_name(self._folder.job, config, path) + (f", {self._condition}" if self._condition else "")
        tags = {"job_type": self._folder.job} | ({"group": self._group} if self._group else {}) | links(config)
        run_name = mask_secrets(self._run_name or known.get("name") or described)
        run = self._runs[name] = TRACKERS[name](path, known, run_name, masked(tags))
        self._sent[name] = min(int(known.get("metric_lines", 0)), self._metric_lines) if run.continues else 0
        self._remember(name)
        run.config(flat_config(config, self._about))

    def _send(self, name: str) -> None:
        lines = read_metrics(self._folder.path)
        self._sent[name] = min(self._sent[name], len(lines))
        if len(lines) > self._sent[name]:
            self._runs[name].metrics(lines[self._sent[name] :])
            self._sent[name] = len(lines)
            self._remember(name)

    def _finish(self, name: str, failed: bool, config: Mapping[str, Any], about: Mapping[str, Any]) -> None:
        run, path = self._runs[name], self._folder.path
        self._send(name)
        if not failed and about:
            run.config(flat_config(config, about))
            run.describe(verdict(about), as_typed(about["command"]) if about.get("command") else "")
        try:
            for table_name, table in tables(path).items():
                run.table(table_name, table)
            for figure in _matching(path, _FIGURES):
                run.figure(figure)
            run.files(*_outputs(path))
            if not failed and about:
                self._trace(name, config, about)
            self._remember(name)
            note_untracked(self._folder, name, None)
        finally:
            run.end(failed)

    def _trace(self, name: str, config: Mapping[str, Any], about: Mapping[str, Any]) -> None:
        """Name the data and the runs that this one was made from as inputs, and those that it compares as children."""
        if data_set := DataSet.of(about, config):
            self._runs[name].data_set(data_set, str(about.get("job", "run")))
        children = compared(about)
        for folder in made_from(config, about):
            known = read_sound_json(folder / IDS).get(name)
            if isinstance(known, dict) and "run_id" in known:
                self._runs[name].use(folder, known, *_outputs(folder))
                if folder in children:
                    self._runs[name].adopt(known)

    def _share_group(self, name: str, folders: Sequence[Path]) -> None:
        for known in [read_sound_json(folder / IDS) for folder in folders]:
            if name in known:
                self._runs[name].regroup(known[name], str(self._group))

    def _remember(self, name: str) -> None:
        known = read_sound_json(self._folder.path / IDS)
        known[name] = {**self._runs[name].ids, "metric_lines": self._sent[name]}
        self._folder.write_json(IDS, known | {"job": self._folder.job, "group": self._group})

    def _attempt(self, name: str, what: str, act: Callable[[str], None]) -> None:
        """Do ``act``; where it fails, say once what is missing and leave that tracker alone."""
        try:
            act(name)
        except Exception as error:  # noqa: BLE001  # a tracker may fail in any way, the run goes on
            self._runs.pop(name, None)
            reason = mask_secrets(" ".join(str(error).split()))[:200] or type(error).__name__
            missing = f"{TRACKERS[name].name} failed ({reason}); not logged there: {what}"
            note_untracked(self._folder, name, missing)
            self._on_failure(self._folder.path, missing, [name])


def tables(path: Path) -> dict[str, "pd.DataFrame"]:
    """The run's tables by name: each CSV file, and the studies of ``run.json``."""
    import pandas as pd

    found = {file.stem: read_csv(file) for file in _matching(path, ("*.csv",))}
    about = read_json(path / "run.json")
    data = about.get("data")
    studies = data.get("studies") if isinstance(data, dict) else None
    if isinstance(studies, dict) and studies:
        coverage = about.get("coverage", {})
        rows = [{"study": study, **values, **coverage.get(study, {})} for study, values in studies.items()]
        found["data_studies" if "studies" in found else "studies"] = pd.DataFrame(rows)
    if about.get("held_out"):
        found["held_out"] = pd.DataFrame(about["held_out"])
    return found


def _outputs(path: Path) -> tuple[list[Path], list[Path]]:
    """A run's files: those that are uploaded, and those that are too large for that."""
    files = [file.resolve() for file in _matching(path, _OUTPUTS) if file.name != IDS]
    large = [file for file in files if file.stat().st_size > LARGE_FILE_BYTES]
    return [file for file in files if file not in large], large


def _run_name(job: str, config: Mapping[str, Any], path: Path) -> str:
    """'score gemma-3-270m on starter': what a person needs to find the run."""
    known = dict(config)
    for part in ("data", "model", "posttrain"):  # of a training run
        known |= _mapping(config.get(part))
    data = known.get("dataset") or known.get("data")
    other = known.get("post") or known.get("adapter")
    if known.get("base") and other:
        return f"{job} {Path(known['base']).name} → {Path(other).name}"
    models = known.get("adapter_name_or_path") or known.get("model_name_or_path") or known.get("run")
    models = models or other or known.get("base")
    if not models:
        return f"{job} {path.name}"
    named = ", ".join(Path(model).name for model in ([models] if isinstance(models, str) else models))
    return f"{job} {named}" + (f" on {Path(data).name}" if isinstance(data, str) else "")


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _matching(path: Path, patterns: tuple[str, ...]) -> list[Path]:
    return sorted({file for pattern in patterns for file in path.glob(pattern) if not file.name.startswith(".")})


def main() -> None:
    """Mirror the run that the first line of standard input describes, until the second says how it ended.

    An end of the input instead means that the run was killed.
    """
    os.nice(10)  # the run comes first
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # they end the run, which is told here
    words: SimpleQueue[str] = SimpleQueue()

    def listen() -> None:
        for line in sys.stdin:
            words.put(line)
        words.put(FAILED)

    Thread(target=listen, daemon=True).start()
    request = json.loads(words.get())
    every_seconds = request.pop("every_seconds")
    mirror = Mirror(RunFolder(Path(request.pop("path")), request.pop("job")), **request)
    mirror.watch()
    while True:
        try:
            ended = words.get(timeout=every_seconds).strip()
            break
        except Empty:
            mirror.update()
    mirror.end(failed=ended != FINISHED)


if __name__ == "__main__":
    main()
