"""Runs side by side: their metrics, and of their configuration only what differs.

Runs come from run folders or from the MLflow store; one row each, columns named as everywhere else.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from centaurlab.display.markdown import table_lines
from centaurlab.display.tables import rows_of, table_of
from centaurlab.display.terminal import print_table
from centaurlab.jobs.command import Command
from centaurlab.runs.csv_table import write_csv
from centaurlab.runs.folder import is_run, read_config, read_metrics
from centaurlab.runs.integrity import UnfinishedError, check_asked, check_metrics, read_json
from centaurlab.runs.mlflow_store import connect, experiment_name, settings_of, store_address
from centaurlab.runs.settings import as_text, flat_config
from centaurlab.runtime.errors import UserError
from centaurlab.runtime.names import shown
from centaurlab.runtime.terminal import say

if TYPE_CHECKING:
    import pandas as pd


Format = Literal["table", "csv", "markdown"]

_SHOWN = ("nll/", "eval/nll", "effect/", "d/overall", "d/domain")
_SCORED = "coverage/scored"
_FIRST = ("nll/mean", "effect/d", "effect/d_low", "effect/d_high")
_NOT_A_DIFFERENCE = ("output_dir", "command", "time", "folder", "run_name", "logging_dir")


DESCRIPTION = """Show runs side by side: NLL per study, effects, and the settings that differ.

examples:
  centaurlab compare runs/*
  centaurlab compare --job score --sort nll/mean
"""


@dataclass
class CompareArguments:
    """Which runs, and how they are shown."""

    folders: list[str] = field(
        default_factory=list,
        metadata={
            "positional": True,
            "metavar": "RUN",
            "help": "run folders, or folders of them (default: the MLflow store)",
        },
    )
    format: Format = field(default="table", metadata={"help": "table, csv or markdown"})
    job: str | None = field(default=None, metadata={"help": "only runs of this job, such as score"})
    name: str | None = field(default=None, metadata={"help": "only runs whose name contains this"})
    sort: str | None = field(default=None, metadata={"help": "column to sort by; --sort=-COLUMN: from high to low"})


def run(asked: CompareArguments) -> None:
    """Print the table."""
    runs = read_folders(list(map(Path, asked.folders))) if asked.folders else read_store()
    print_comparison(compare_runs(runs, asked.job, asked.name, asked.sort), asked.format)


@dataclass(frozen=True)
class ComparedRun:
    """A run's name, job, last value of each metric, and flat configuration."""

    name: str
    job: str
    metrics: dict[str, float]
    config: dict[str, str]


def read_folders(paths: Sequence[Path]) -> list[ComparedRun]:
    """The runs in these folders, or in the folders right below them.

    Of several paths, as ``runs/*`` gives them, one without a run is noted on stderr and left out. A run that is begun
    anew is noted too, and has no numbers. Raises ``UserError`` where there is no such path, or no run in any.
    """
    runs = []
    for path in paths:
        found = [folder for folder in (path, *sorted(path.glob("*/"))) if is_run(folder)] if path.is_dir() else []
        missing = f"{path} holds no run (no config.json or run.json in it or right below it)"
        if not found and (len(paths) == 1 or not path.exists()):
            raise UserError(f"{missing}; check the name")
        if not found:
            say(f"note: left out, as {missing}", is_error=True)
        for folder in found:
            try:
                check_asked(folder)
                check_metrics(folder)
            except UnfinishedError as error:
                say(f"note: shown as unfinished, without numbers: {error}", is_error=True)
                runs.append(ComparedRun(str(folder), "unfinished", {}, {}))
                continue
            about = read_json(folder / "run.json")
            metrics: dict[str, float] = {}
            for _, _, values in read_metrics(folder):
                metrics |= values
            config = {name: as_text(value) for name, value in flat_config(read_config(folder), about).items()}
            runs.append(ComparedRun(str(folder), str(about.get("job", "unfinished")), metrics, config))
    if paths and not runs:
        raise UserError("no path holds a run; name the folders that runs were written to, their --output_dir")
    return runs


def read_store() -> list[ComparedRun]:
    """The runs of the MLflow experiment, newest first; ``UserError`` where there is none."""
    address, name = store_address(), experiment_name()
    local = address.removeprefix("sqlite:///")
    if local != address and not Path(local).exists():
        raise UserError(f"there is no run store {local}; give run folders, or set MLFLOW_TRACKING_URI")
    from mlflow.exceptions import MlflowException

    client = connect(address)
    try:
        experiment = client.get_experiment_by_name(name)
        if experiment is None:
            raise UserError(f"the MLflow store has no experiment {name!r}; set MLFLOW_EXPERIMENT_NAME")
        found = client.search_runs([experiment.experiment_id])
    except MlflowException as error:
        raise UserError(f"cannot read the MLflow store: {error.message}; check MLFLOW_TRACKING_URI") from error
    return [
        ComparedRun(str(run.info.run_name), run.data.tags.get("job_type", ""), dict(run.data.metrics), settings_of(run))
        for run in found
    ]


def compare_runs(
    runs: Sequence[ComparedRun], job: str | None = None, name_contains: str | None = None, sort: str | None = None
) -> "pd.DataFrame":
    """One row per run: name, job, NLLs and effects, then the configuration that differs among runs of the same job.

    How many responses were scored stands there where that differs: NLLs are then over others.

    ``sort`` is a column, ascending, or with a leading '-' descending; ``UserError`` where there is no such column.
    """
    import pandas as pd

    kept = [run for run in runs if (not job or run.job == job) and (not name_contains or name_contains in run.name)]
    if not kept:
        raise UserError("no run is left to compare; widen --job and --name")
    known = {name for run in kept for name, value in run.metrics.items() if not math.isnan(value)}
    names = sorted(name for name in known if name.startswith(_SHOWN))
    names.sort(key=lambda name: _FIRST.index(name) if name in _FIRST else len(_FIRST))
    if len({run.metrics[_SCORED] for run in kept if _SCORED in run.metrics}) > 1:
        names.append(_SCORED)  # their NLLs are over other responses
    settings = sorted({name for run in kept for name in run.config})
    jobs = [[run.config for run in kept if run.job == name] for name in {run.job for run in kept}]
    differing = {  # some jobs have an option 'run'
        name: f"config.{name}" if name in ("run", "job") else name
        for name in settings
        if name.rpartition(".")[2] not in _NOT_A_DIFFERENCE
        and any(len({config.get(name) for config in configs}) > 1 for configs in jobs)
    }
    rows = [
        {"run": run.name, "job": run.job}
        | {name: run.metrics.get(name) for name in names}
        | {column: run.config.get(name) for name, column in differing.items()}
        for run in kept
    ]
    table = pd.DataFrame(rows, columns=["run", "job", *names, *differing.values()])
    if sort:
        column = sort.removeprefix("-")
        if column not in table:
            raise UserError(f"--sort {column!r} is no column; choose from {', '.join(table.columns)}")
        table = table.sort_values(
            column, ascending=not sort.startswith("-"), kind="stable", ignore_index=True, key=_numbers
        )
    return table


def _numbers(column: "pd.Series[Any]") -> "pd.Series[Any]":
    """A column as numbers, where all that is known are; settings are kept as text."""
    import pandas as pd

    numbers = pd.to_numeric(column, errors="coerce")
    return numbers if numbers.count() == column.count() else column


def print_comparison(table: "pd.DataFrame", format: Format) -> None:
    """Print the table for a terminal, as CSV in full precision, or as Markdown.

    In a terminal a run is a column and a quantity a line, as many runs side by side as there is room for.
    """
    if format == "csv":
        written = StringIO(newline="")
        write_csv(table, written)
        print("\n".join(map(shown, written.getvalue().split("\n"))), end="")
    elif format == "markdown":
        print(table_lines(table_of("", table, {str(name): str(name) for name in table.columns})))
    else:
        lines = [(name, *table[name].tolist()) for name in table.columns[1:]]
        print_table(rows_of("", ("", *map(str, table["run"])), lines))


COMMAND = Command(DESCRIPTION, (CompareArguments,), run)
