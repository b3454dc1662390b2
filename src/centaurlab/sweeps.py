"""A W&B sweep file run without a server: each trial is the file's own command, chosen and pruned by Optuna.

The study lives in SQLite, or in a database that nodes share. Trials are slots queued beforehand, one per run that
is wanted; a worker takes a waiting slot, and a slot whose worker died is queued again. So no slot runs twice to
the end, whatever is killed. A trial's folder is ``<runs>/<slot id>``, with the id in ``WANDB_RUN_ID``: a trial
taken up again continues where its folder stands.
"""

import itertools
import json
import math
import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import yaml

from centaurlab.errors import UserError
from centaurlab.tracking import read_metrics

if TYPE_CHECKING:
    import optuna

HEARTBEAT_SECONDS = 5
_POLL_SECONDS = 0.5
Value = str | int | float | bool | None


@dataclass(frozen=True)
class Parameter:
    """Values to choose from, or a range of numbers."""

    values: tuple[Value, ...] = ()
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    step: float | None = None
    whole: bool = False


@dataclass(frozen=True)
class Sweep:
    """A sweep file: ``parameters`` by name, and what its trials are judged by."""

    name: str
    method: Literal["grid", "random", "bayes"]
    metric: str
    maximize: bool
    parameters: dict[str, Parameter]
    command: tuple[str, ...]
    min_iter: int | None = None
    eta: int = 3

    @property
    def grid(self) -> list[dict[str, Value]]:
        """Every combination of values."""
        names = list(self.parameters)
        return [
            dict(zip(names, v, strict=True)) for v in itertools.product(*(p.values for p in self.parameters.values()))
        ]


def read_sweep(path: Path) -> Sweep:
    """Read a W&B sweep file; ``UserError`` names what is missing or not supported here."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise UserError(f"cannot read the sweep {path}: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} must hold a sweep: method, metric, parameters, command")
    for key in ("method", "metric", "parameters", "command"):
        if key not in content:
            raise UserError(f"{path} lacks {key!r}; a sweep has method, metric, parameters and command")
    method, metric = content["method"], content["metric"]
    if method not in ("grid", "random", "bayes"):
        raise UserError(f"{path}: method is {method!r}; choose grid, random or bayes")
    parameters = {name: _parameter(path, name, about or {}) for name, about in content["parameters"].items()}
    if method == "grid" and (ranged := [name for name, p in parameters.items() if not p.values]):
        raise UserError(f"{path}: a grid needs 'values' for {ranged[0]!r}")
    early = content.get("early_terminate") or {}
    if early and early.get("type") != "hyperband":
        raise UserError(f"{path}: early_terminate type is {early.get('type')!r}; only hyperband is known")
    return Sweep(
        name=re.sub(r"[^\w-]+", "-", str(content.get("name", path.stem))),
        method=method,
        metric=str(metric["name"]),
        maximize=metric.get("goal", "minimize") == "maximize",
        parameters=parameters,
        command=tuple(str(piece) for piece in content["command"]),
        min_iter=int(early.get("min_iter", 1)) if early else None,
        eta=int(early.get("eta", 3)),
    )


def _parameter(path: Path, name: str, about: Mapping[str, Any]) -> Parameter:
    kind = about.get("distribution")
    if "value" in about:
        return Parameter(values=(about["value"],))
    if "values" in about:
        return Parameter(values=tuple(about["values"]))
    if "min" not in about or "max" not in about:
        raise UserError(f"{path}: parameter {name!r} needs 'value', 'values', or 'min' and 'max'")
    low, high = about["min"], about["max"]
    whole = isinstance(low, int) and isinstance(high, int)
    if kind in (None, "uniform", "int_uniform"):
        return Parameter(low=low, high=high, whole=kind == "int_uniform" or (kind is None and whole))
    if kind in ("q_uniform",):
        return Parameter(low=low, high=high, step=about.get("q", 1))
    if kind == "log_uniform_values":
        return Parameter(low=low, high=high, log=True)
    raise UserError(
        f"{path}: distribution {kind!r} of {name!r} is not supported here; "
        "use uniform, int_uniform, q_uniform or log_uniform_values"
    )


def command_line(sweep: Sweep, values: Mapping[str, Value]) -> list[str]:
    """The command of one trial: W&B's macros filled in."""
    line: list[str] = []
    for piece in sweep.command:
        if piece == "${args}":
            line += [f"--{name}={'' if value is None else value}" for name, value in values.items()]
        elif piece == "${interpreter}":
            line.append(sys.executable)
        elif piece != "${env}":
            line.append(re.sub(r"\$\{envvar:(\w+)\}", lambda found: os.environ.get(found[1], ""), piece))
    return line


def open_study(sweep: Sweep, storage: str, seed: int = 0) -> "optuna.Study":
    """The sweep's study in ``storage``, new or as it is."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    database = optuna.storages.RDBStorage(
        storage,
        engine_kwargs={"connect_args": {"timeout": 60}} if storage.startswith("sqlite") else None,
        heartbeat_interval=HEARTBEAT_SECONDS,
        failed_trial_callback=optuna.storages.RetryFailedTrialCallback(),
    )
    sampler: optuna.samplers.BaseSampler = optuna.samplers.RandomSampler()
    if sweep.method == "bayes":
        sampler = optuna.samplers.TPESampler(constant_liar=True)
    pruner: optuna.pruners.BasePruner = optuna.pruners.NopPruner()
    if sweep.min_iter:
        pruner = optuna.pruners.HyperbandPruner(min_resource=sweep.min_iter, reduction_factor=sweep.eta)
    return optuna.create_study(
        storage=database,
        study_name=sweep.name,
        sampler=sampler,
        pruner=pruner,
        direction="maximize" if sweep.maximize else "minimize",
        load_if_exists=True,
    )


def queue_trials(sweep: Sweep, study: "optuna.Study", count: int | None) -> int:
    """Queue the slots that are missing, those that failed among them; return how many there are in all."""
    from optuna.trial import TrialState

    grid = sweep.grid if sweep.method == "grid" else []
    if not grid and count is None:
        raise UserError(f"a {sweep.method} sweep has no end of its own; give --count")
    total = min(count or len(grid), len(grid)) if grid else count or 0
    alive = [t for t in study.get_trials(deepcopy=False) if t.state != TrialState.FAIL]
    taken = {t.user_attrs.get("slot") for t in alive}
    for slot in range(total):
        if slot not in taken:
            values: dict[str, Any] = grid[slot] if grid else {}
            study.enqueue_trial(values, user_attrs={"slot": slot})
    return total


def work(sweep: Sweep, study: "optuna.Study", runs: Path) -> None:
    """Run waiting slots, one after the other, until all have ended; slots of dead workers are taken over."""
    import optuna
    from optuna.trial import TrialState

    while True:
        optuna.storages.fail_stale_trials(study)
        trials = study.get_trials(deepcopy=False)
        if any(t.state == TrialState.WAITING for t in trials):
            trial = study.ask()
            slot = trial.user_attrs.get("slot")
            taken = [
                t
                for t in study.get_trials(
                    deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING)
                )
                if t.user_attrs.get("slot") == slot
                and (t.number < trial.number or t.state != TrialState.RUNNING)
                and t.number != trial.number
            ]
            if slot is None or taken:  # workers raced for the last slot, or queued a dead worker's slot twice
                study.tell(trial, state=TrialState.FAIL)
            else:
                _run_trial(sweep, study, trial, runs)
        elif any(t.state == TrialState.RUNNING for t in trials):
            time.sleep(_POLL_SECONDS)
        else:
            return


def _run_trial(sweep: Sweep, study: "optuna.Study", trial: "optuna.Trial", runs: Path) -> None:
    import optuna
    from optuna.trial import TrialState

    values = {name: _suggest(trial, name, parameter) for name, parameter in sweep.parameters.items()}
    run_id = f"{sweep.name}-{trial.user_attrs['slot']}"
    folder = runs / run_id
    folder.mkdir(parents=True, exist_ok=True)
    environment = os.environ | {"WANDB_RUN_ID": run_id, "WANDB_RUN_GROUP": sweep.name, "SWEEP_RUNS": str(runs)}
    storage = study._storage
    pruned = False
    with (folder / "output.log").open("ab") as log:
        process = subprocess.Popen(command_line(sweep, values), env=environment, stdout=log, stderr=log)
        try:
            reported: set[int] = set()
            next_beat = 0.0
            while process.poll() is None:
                if time.monotonic() >= next_beat and isinstance(storage, optuna.storages._heartbeat.BaseHeartbeat):
                    storage.record_heartbeat(trial._trial_id)
                    next_beat = time.monotonic() + HEARTBEAT_SECONDS
                if sweep.min_iter:
                    for step, value in _history(sweep, folder):
                        if step not in reported:
                            reported.add(step)
                            trial.report(value, step)
                            pruned = pruned or trial.should_prune()
                if pruned:
                    process.terminate()
                    process.wait()
                time.sleep(_POLL_SECONDS)
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
    history = _history(sweep, folder)
    if pruned:
        study.tell(trial, state=TrialState.PRUNED)
        print(f"{run_id}: pruned at step {max(reported)}", flush=True)
    elif process.returncode or not history:
        study.tell(trial, state=TrialState.FAIL)
        why = f"exit code {process.returncode}" if process.returncode else f"it logged no {sweep.metric}"
        print(f"{run_id}: failed ({why}); see {folder / 'output.log'}", file=sys.stderr, flush=True)
    else:
        study.tell(trial, history[-1][1])
        print(f"{run_id}: {sweep.metric} = {history[-1][1]:.6g}  {json.dumps(values)}", flush=True)


def _history(sweep: Sweep, folder: Path) -> list[tuple[int, float]]:
    lines = read_metrics(folder)
    return [(step, v[sweep.metric]) for _, step, v in lines if math.isfinite(v.get(sweep.metric, math.nan))]


def _suggest(trial: "optuna.Trial", name: str, parameter: Parameter) -> Value:
    if parameter.values:
        chosen: Value = trial.suggest_categorical(name, parameter.values)
        return chosen
    if parameter.whole:
        return trial.suggest_int(name, int(parameter.low), int(parameter.high))
    return trial.suggest_float(name, parameter.low, parameter.high, log=parameter.log, step=parameter.step)


def finish(sweep: Sweep, study: "optuna.Study", folder: Path) -> Sequence[Path]:
    """Print the best trial; write pictures of importance and parallel coordinates. ``UserError`` if all failed."""
    import matplotlib

    matplotlib.use("Agg")
    import warnings

    from matplotlib import pyplot
    from optuna.trial import TrialState
    from optuna.visualization.matplotlib import plot_parallel_coordinate, plot_param_importances

    done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if not done:
        raise UserError(f"no trial of {sweep.name} finished; see the output.log of each in {folder}")
    best = study.best_trial
    print(f"best of {len(done)}: {sweep.name}-{best.user_attrs['slot']}  {sweep.metric} = {best.value:.6g}")
    for name, value in best.params.items():
        print(f"  {name}: {value}")
    plots = []
    varied = [name for name, p in sweep.parameters.items() if len(p.values) != 1]
    for kind, plot in (("importance", plot_param_importances), ("parallel", plot_parallel_coordinate)):
        if len({trial.value for trial in done}) < 2 or not varied:
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            plot(study, params=varied)
            path = folder / f"{sweep.name}-{kind}.png"
            pyplot.savefig(path, dpi=150, bbox_inches="tight")
            pyplot.close()
        plots.append(path)
        print(f"plot: {path}")
    return plots
