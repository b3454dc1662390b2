"""A W&B sweep file run without a server: each trial is the file's own command, chosen and pruned by Optuna.

The study lives in SQLite, or in a database that nodes share. A sweep has a slot for every trial that is wanted, and
a slot a folder ``<runs>/<sweep>-<slot>``, whose lock its worker and its trial hold. The kernel frees it when both are
gone (a trial ends with its worker: ``sweeps.reaper``), so a slot is never run by two at once; whoever takes it then
continues it with the same values.
"""

import json
import math
import os
import random
import secrets
import subprocess
import sys
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING

from filelock import FileLock

from centaurlab.runs.folder import RunFolder, inheritable_lock, read_metrics
from centaurlab.runs.integrity import read_json
from centaurlab.runs.mirror import untracked
from centaurlab.runs.tracker import is_complete
from centaurlab.runtime.errors import IncompleteError, UserError
from centaurlab.runtime.terminal import say
from centaurlab.sweeps.file import Parameter, Sweep, Value
from centaurlab.sweeps.reaper import Reaper, end_group

if TYPE_CHECKING:
    import optuna
    from matplotlib.figure import Figure


_POLL_SECONDS = 0.5
_VALUES = "trial.json"
_ARGUMENTS = "values.json"  # the same for its program, which may refuse what it does not know: nothing besides


def n_trials(sweep: Sweep, count: int | None) -> int:
    """How many trials are wanted: ``count``, else the file's ``run_cap``, else the whole grid."""
    wanted = count or sweep.run_cap
    if sweep.method == "grid":
        return min(wanted or len(sweep.grid), len(sweep.grid))
    if not wanted:
        raise UserError(f"a {sweep.method} sweep has no end of its own; give --count")
    return wanted


def command_line(sweep: Sweep, values: Mapping[str, Value], json_file: Path) -> list[str]:
    """The command of one trial, its macros filled in as W&B's own agent does; ``json_file`` holds its values."""
    from wandb.sdk.launch.sweeps.utils import create_sweep_command, create_sweep_command_args

    filled: dict[str, list[str]] = create_sweep_command_args(
        {"args": {name: {"value": value} for name, value in values.items()}}
    )
    filled |= {"env": ["/usr/bin/env"], "interpreter": [sys.executable], "program": [sweep.program]}
    filled["args_json_file"] = [str(json_file)]
    line: list[str] = []
    for piece in create_sweep_command(list(sweep.command)):
        is_macro = piece.startswith("${") and piece.endswith("}")
        line += filled[piece[2:-1]] if is_macro else [piece]
    return line


def local_storage(path: Path) -> str:
    """The address of a database in a file; Optuna fills in what stands between braces there."""
    if "?" in str(path):
        raise UserError(f"{path.parent} holds a '?', where the path of a database would end; give another --runs")
    return f"sqlite:///{path}".replace("{", "{{").replace("}", "}}")


def open_study(sweep: Sweep, storage: str, runs: Path) -> "optuna.Study":
    """The sweep's study in ``storage``, new or as it is. ``UserError`` where the file has changed since."""
    import optuna
    from sqlalchemy.exc import SQLAlchemyError

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    pruner: optuna.pruners.BasePruner = optuna.pruners.NopPruner()
    if sweep.min_iter:
        pruner = optuna.pruners.HyperbandPruner(sweep.min_iter, sweep.max_iter or "auto", sweep.eta)
    known = {
        "asked": [sweep.method, sweep.metric, sweep.maximize, {k: asdict(p) for k, p in sweep.parameters.items()}],
        "command": [sweep.command, sweep.program],
        "early_terminate": [sweep.min_iter, sweep.max_iter, sweep.eta],
    }
    try:
        with FileLock(runs / f".{sweep.name}.lock"):
            study = optuna.create_study(
                storage=optuna.storages.RDBStorage(
                    storage,
                    engine_kwargs={"connect_args": {"timeout": 60}} if storage.startswith("sqlite") else None,
                ),
                study_name=sweep.name,
                pruner=pruner,
                direction="maximize" if sweep.maximize else "minimize",
                load_if_exists=True,
            )
            if "id" not in study.user_attrs:
                for name, asked in known.items():
                    study.set_user_attr(name, json.dumps(asked))
                study.set_user_attr("id", f"{sweep.name}-{secrets.token_hex(3)}")
    except (SQLAlchemyError, ImportError) as error:
        reason = error.__cause__ or error.__context__ or error
        raise UserError(f"cannot open the sweep's database: {reason}; check --storage") from error
    for name, asked in known.items():
        if study.user_attrs.get(name, json.dumps(asked)) != json.dumps(asked):  # older versions did not note all
            what = "other parameters" if name == "asked" else f"another {name}"
            raise UserError(f"the sweep {sweep.name!r} has begun with {what}; give the file another 'name'")
    return study


def run_sweep(sweep: Sweep, storage: str, runs: Path, count: int | None, workers: int) -> "optuna.Study":
    """Run the trials that have no result yet, ``workers`` at a time, and return the study.

    What failed in an earlier run is tried again. An interrupt stops the trials; the next call continues them.
    """
    total = n_trials(sweep, count)
    study = open_study(sweep, storage, runs)
    first = len(study.get_trials(deepcopy=False))
    stop = Event()
    with ThreadPoolExecutor(workers) as pool:
        jobs = [
            pool.submit(_work, sweep, open_study(sweep, storage, runs), range(total), first, runs, stop)
            for _ in range(workers)
        ]
        try:
            for job in as_completed(jobs):
                job.result()
        finally:
            stop.set()
    return study


def _work(sweep: Sweep, study: "optuna.Study", slots: range, first: int, runs: Path, stop: Event) -> None:
    while not stop.is_set():
        trials = study.get_trials(deepcopy=False)
        left = [slot for slot in slots if not _is_settled(trials, slot, first)]
        if not left:
            return
        if not any(_take(sweep, study, slot, first, runs, stop) for slot in left):
            stop.wait(_POLL_SECONDS)


def _is_settled(trials: Sequence["optuna.trial.FrozenTrial"], slot: int, first: int) -> bool:
    """Whether the slot has a result, or failed by itself in a trial from number ``first`` on."""
    return any(
        trial.state.name in ("COMPLETE", "PRUNED") or ("failure" in trial.user_attrs and trial.number >= first)
        for trial in trials
        if trial.user_attrs.get("slot") == slot
    )


def _take(sweep: Sweep, study: "optuna.Study", slot: int, first: int, runs: Path, stop: Event) -> bool:
    """Run the slot, unless it is held elsewhere or has its result by now; return whether it was run."""
    import optuna
    from optuna.trial import TrialState

    run_id = f"{study.user_attrs['id']}-{slot}"
    folder = RunFolder(runs / run_id, "sweep")
    with inheritable_lock(folder.path / ".slot.lock") as lock:
        trials = study.get_trials(deepcopy=False)
        if lock is None or _is_settled(trials, slot, first):
            return False
        earlier = [trial for trial in trials if trial.user_attrs.get("slot") == slot]
        has_failed = any("failure" in trial.user_attrs for trial in earlier)
        for trial in earlier:
            if trial.state == TrialState.RUNNING:
                study.tell(trial.number, state=TrialState.FAIL)  # its worker is gone, or the slot would be held
        sampler = optuna.samplers.TPESampler(constant_liar=True) if sweep.method == "bayes" else None
        fixed = sweep.grid[slot] if sweep.method == "grid" else draw(sweep) | read_json(folder.path / _VALUES)
        study.sampler = optuna.samplers.PartialFixedSampler(fixed, sampler or optuna.samplers.RandomSampler())
        asked = study.ask()
        asked.set_user_attr("slot", slot)
        values = {name: _suggest(asked, name, parameter) for name, parameter in sweep.parameters.items()}
        folder.write_json(_VALUES, values)
        varied = " ".join(f"{n}={str(v)[:40]}" for n, v in values.items() if len(sweep.parameters[n].values) != 1)
        environment = {
            "WANDB_RUN_ID": run_id,
            "WANDB_RUN_GROUP": study.user_attrs["id"],
            "WANDB_NAME": f"{sweep.name} {slot}: {varied}",
            "SWEEP_RUNS": str(runs),
            "REPORT_TO": os.environ.get("REPORT_TO", "mlflow"),
            "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}",
        }
        ended: int | None = 0
        if has_failed or not _is_done(folder.path):  # it is when the trial outlived its worker
            arguments = folder.path / _ARGUMENTS
            arguments.write_text(json.dumps(values))
            command = command_line(sweep, values, arguments)
            ended = _run_trial(sweep, asked, command, environment, folder.path, lock, stop)
        if stop.is_set():
            return True
        history = _history(sweep, folder.path)
        if ended is None:
            study.tell(asked, state=TrialState.PRUNED)
            say(f"{run_id}: pruned after {len(history)} values of {sweep.metric}")
        elif ended or not history or not math.isfinite(history[-1]):
            lacks = f"its last {sweep.metric} is not a number" if history else f"it logged no {sweep.metric}"
            why = f"exit code {ended}" if ended else lacks
            asked.set_user_attr("failure", why)
            study.tell(asked, state=TrialState.FAIL)
            say(f"{run_id}: failed ({why}); see {folder.path / 'output.log'}", is_error=True)
        else:
            study.tell(asked, history[-1])
            say(f"{run_id}: {sweep.metric} = {history[-1]:.6g}  {varied}")
    return True


def _run_trial(
    sweep: Sweep,
    trial: "optuna.Trial",
    command: Sequence[str],
    environment: Mapping[str, str],
    folder: Path,
    lock: int,
    stop: Event,
) -> int | None:
    """Run a trial's command; return its exit code, or None when it was pruned or ``stop`` was set."""
    reaper = Reaper()
    with (folder / "output.log").open("ab") as log:
        try:
            process = subprocess.Popen(
                command,
                env=os.environ | environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(lock,),
                process_group=0,
            )
        except OSError as error:
            reaper.dismiss()
            raise UserError(f"cannot start {command[0]!r}: {error.strerror}; check the sweep's command") from error
    reaper.watch(process.pid)
    reported = 0

    def report() -> None:
        nonlocal reported
        for value in _history(sweep, folder)[reported:]:
            reported += 1
            trial.report(value, reported)  # W&B too counts values, not steps

    try:
        while process.poll() is None:
            if sweep.min_iter:
                report()
                if trial.should_prune():
                    return None
            if stop.wait(_POLL_SECONDS):
                return None
        if sweep.min_iter:
            report()  # what it said last, by which later trials are judged
        return process.returncode
    finally:
        if process.poll() is None:
            end_group(process.pid, process.poll)
        reaper.dismiss()


def _is_done(folder: Path) -> bool:
    """Whether a trial wrote its ``run.json``, and that tells of nothing that failed."""
    about = read_json(folder / "run.json")
    models = about.get("models")  # of a comparison; other programs may write anything
    of_each = [one for one in models if isinstance(one, dict)] if isinstance(models, list) else []
    return is_complete(about) and not any(one.get("failed") for one in of_each)


def _history(sweep: Sweep, folder: Path) -> list[float]:
    return [line[sweep.metric] for _, _, line in read_metrics(folder) if sweep.metric in line]


def draw(sweep: Sweep) -> dict[str, Value]:
    """Values of the parameters that have probabilities, of which Optuna knows nothing."""
    weighted = {name: one for name, one in sweep.parameters.items() if one.probabilities}
    return {name: random.choices(one.values, one.probabilities)[0] for name, one in weighted.items()}


def _suggest(trial: "optuna.Trial", name: str, parameter: Parameter) -> Value:
    if parameter.values:
        chosen: Value = trial.suggest_categorical(name, parameter.values)
        return chosen
    if parameter.whole:
        return trial.suggest_int(name, int(parameter.low), int(parameter.high), step=int(parameter.step or 1))
    return trial.suggest_float(name, parameter.low, parameter.high, log=parameter.log, step=parameter.step)


def finish(sweep: Sweep, study: "optuna.Study", folder: Path, count: int | None) -> None:
    """Print the best trial; write pictures of importance and parallel coordinates.

    Raises ``UserError`` where no trial finished and, after all that, ``IncompleteError`` where some failed.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from optuna.trial import TrialState
    from optuna.visualization.matplotlib import plot_parallel_coordinate, plot_param_importances

    _say_untracked(study, folder, n_trials(sweep, count))
    done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if not done:
        raise UserError(f"no trial of {sweep.name} finished; see the output.log of each in {folder}")
    best = study.best_trial
    say(f"best of {len(done)}: {study.user_attrs['id']}-{best.user_attrs['slot']}  {sweep.metric} = {best.value:.6g}")
    for name, value in best.params.items():
        say(f"  {name}: {value}")
    varied = [name for name, p in sweep.parameters.items() if len(p.values) != 1]
    for kind, plot in (("importance", plot_param_importances), ("parallel", plot_parallel_coordinate)):
        if len({trial.value for trial in done}) < 2 or not varied:
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            plot(study, params=varied, target_name=sweep.metric)
            figure = pyplot.gcf()
            figure.set_size_inches(9, 5)
            _tidy(figure)
            path = folder / f"{study.user_attrs['id']}-{kind}.png"
            figure.savefig(path, dpi=150, bbox_inches="tight")
            pyplot.close(figure)
        say(f"plot: {path}")
    trials, total = study.get_trials(deepcopy=False), n_trials(sweep, count)
    failed = [slot for slot in range(total) if not _is_settled(trials, slot, first=len(trials))]
    if failed:
        raise IncompleteError(
            f"{len(failed)} of {total} trials of {sweep.name} failed; see the output.log of each in {folder}. "
            "The same command tries them again"
        )


def _say_untracked(study: "optuna.Study", folder: Path, total: int) -> None:
    """Name how many trials a tracker does not have, why, and how to make up for it."""
    name = study.user_attrs["id"]
    missing = [lacks for slot in range(total) if (lacks := untracked(folder / f"{name}-{slot}"))]
    if missing:
        trackers = sorted({tracker for lacks in missing for tracker in lacks})
        option = "" if trackers == ["mlflow"] else f" --report_to {' '.join(trackers)}"
        say(
            f"warning: {len(missing)} of {total} trials are not wholly tracked ({next(iter(missing[0].values()))}). "
            f"Their files are complete; log them later with: centaurlab track {folder / name}-*/{option}",
            is_error=True,
        )


def _tidy(figure: "Figure") -> None:
    """Leave away what runs into the labels of the last axis, and of labels that are lists all but the beginning."""
    for axes in figure.axes:
        if axes.get_label() == "<colorbar>":
            axes.remove()  # the first axis says the same
            continue
        labels = [label.get_text() for label in axes.get_yticklabels()]
        if any("," in label for label in labels):
            axes.set_yticks(axes.get_yticks(), [_shortened(label) for label in labels])


def _shortened(label: str) -> str:
    """Of a list with commas, its first entry and how many more there are."""
    first, *more = label.split(",")
    return f"{first} + {len(more)}" if more else first
