"""A sweep file is read as W&B would read it, and a mistake in one is named."""

import json
import sys
from pathlib import Path

import numpy as np
import optuna
import pytest

from centaurlab.runtime.errors import UserError
from centaurlab.sweeps.file import read_sweep
from centaurlab.sweeps.local import _suggest, command_line, local_storage, open_study
from helpers.paths import SWEEPS
from helpers.sweeps import write_sweep


def weighted(*probabilities: float) -> dict[str, object]:
    """A parameter with two values, and these probabilities."""
    about = {"distribution": "categorical_w_probabilities", "values": [1, 2], "probabilities": list(probabilities)}
    return {"rank": about}


FILES = sorted(SWEEPS.glob("*.yaml"))


def test_a_sweep_without_a_command_runs_its_program(tmp_path: Path) -> None:
    path = write_sweep(tmp_path)
    content = json.loads(path.read_text())
    del content["command"]
    path.write_text(json.dumps(content | {"program": "train.py"}))
    assert command_line(read_sweep(path), {"rank": 4}, tmp_path) == [
        *("/usr/bin/env", sys.executable, "train.py", "--rank=4")
    ]


@pytest.mark.parametrize(
    ("goal", "maximize"), [({}, False), ({"goal": "minimize"}, False), ({"goal": "maximize"}, True)]
)
def test_the_goal_is_to_minimize_unless_it_is_to_maximize(tmp_path: Path, goal: dict[str, str], maximize: bool) -> None:
    assert read_sweep(write_sweep(tmp_path, metric={"name": "loss"} | goal)).maximize is maximize


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_sweeps_of_the_project_are_valid(path: Path) -> None:
    sweep = read_sweep(path)
    assert sweep.metric in ("eval/nll", "effect/d/novel", "nll/lora")
    assert command_line(sweep, {name: 1 for name in sweep.parameters}, path)[:3] == ["/usr/bin/env", "sh", "-c"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "hill"}, "choose grid, random or bayes"),
        ({"parameters": {"rank": {"min": 1, "max": 4}}}, "a grid needs 'values' for 'rank'"),
        ({"method": "random", "parameters": {"rank": {"min": 1}}}, "needs 'value', 'values', or 'min' and 'max'"),
        ({"method": "random", "parameters": {"rate": {"min": "1e-5", "max": 1}}}, "text to YAML"),
        ({"early_terminate": {"type": "envelope"}}, "only hyperband"),
        ({"early_terminate": {"type": "hyperband"}}, "'max_iter' and 's'"),
        ({"early_terminate": {"type": "hyperband", "min_iter": 0}}, "'min_iter' must be a whole number, at least 1"),
        ({"early_terminate": {"type": "hyperband", "min_iter": 1, "eta": "3"}}, "'eta' must be a whole number"),
        ({"early_terminate": {"type": "hyperband", "min_iter": 9, "max_iter": 4}}, "9, beyond its 'max_iter', 4"),
        ({"early_terminate": [1]}, "early_terminate must hold 'name: value' lines"),
        ({"metric": "loss"}, "metric must hold 'name: value' lines"),
        ({"metric": {"goal": "minimize"}}, "metric lacks a 'name'"),
        ({"metric": {"name": "loss", "goal": "maximise"}}, "tiny.yaml: goal of .* 'maximise'; choose minimize or max"),
        ({"metric": {"name": "loss", "goal": ["maximize"]}}, "goal of the metric is a list; choose"),
        ({"parameters": ["rank"]}, "parameters must hold"),
        ({"parameters": {"rank": 3}}, "parameter 'rank' must hold"),
        ({"parameters": {"rank": {"values": 3}}}, "'rank' needs a list of texts"),
        ({"parameters": {"rank": {"values": []}}}, "'rank' needs a list of texts"),
        ({"parameters": {"rank": {"value": [1]}}}, "'rank' needs a list of texts"),
        ({"method": "random", "parameters": {"rate": {"min": True, "max": 1}}}, "must be numbers"),
        ({"method": "random", "parameters": {"rate": {"min": 3, "max": 1}}}, "no values between"),
        (
            {"method": "random", "parameters": {"rate": {"min": 0, "max": 1, "distribution": "log_uniform_values"}}},
            "no values between",
        ),
        (
            {"method": "random", "parameters": {"rate": {"min": 1.5, "max": 4, "distribution": "int_uniform"}}},
            "'rate', an int_uniform, must be whole numbers",
        ),
        ({"method": ["grid"]}, "method is a list; choose"),
        ({"run_cap": 0}, "'run_cap' must be a whole number, at least 1"),
        ({"command": "python x.py"}, "command must be a list of words"),
        ({"name": ["a"]}, "name is a list, not text"),
        ({"command": ["python", "${arg}"]}, r"\$\{arg\} is no macro of W&B's; known are \$\{env\}"),
        ({"command": ["python", "${args-json}"]}, "args-json} is no macro of W&B's"),
        ({"command": ["python", "${interpreter}${args_json}"]}, "is no macro of W&B's|only as a word of its own"),
        ({"command": ["python", "--seed=${envvar:NOT_SET_HERE}"]}, "and NOT_SET_HERE is not set"),
        ({"command": []}, "the command is empty, and there is no 'program'"),
        ({"command": ["python", "--file=${args_json_file}"]}, "only as a word of its own"),
        ({"command": ["python", "${program}"]}, "there is no 'program'"),
        ({"run_cpa": 3}, "'run_cpa' of the sweep is not known here; known are name"),
        ({"metric": {"name": "loss", "target": 0.1}}, "'target' of metric is not known here"),
        ({"early_terminate": {"type": "hyperband", "min_iter": 1, "strict": True}}, "'strict' of early_terminate"),
        ({"parameters": {"rank": {"values": [1, 2], "q": 1}}}, "'q' of parameter 'rank' is not known here"),
        ({"parameters": {"rank": {"values": [1, 2], "distribution": "normal"}}}, "has values, and the distribution"),
        ({"method": "random", "parameters": {"rate": {"min": 0, "max": 1, "q": 0.1}}}, "'q' of parameter 'rate'"),
        ({"method": "bayes", "parameters": weighted(0.5, 0.5)}, "are for the method random, not for bayes"),
        ({"method": "random", "parameters": weighted(0.5, 0.4)}, "have the sum 0.9, not 1"),
        ({"method": "random", "parameters": weighted(1)}, "must be 2 numbers, one for each"),
        ({"method": "random", "parameters": weighted(-1, 2)}, "must be 2 numbers"),
    ],
)
def test_a_mistake_in_a_sweep_is_named(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_sweep(write_sweep(tmp_path, **changes))


@pytest.mark.parametrize(
    ("low", "high", "q"),
    [(1, 10, 2), (1, 9, 2), (0, 11, 3), (0.1, 1.0, 0.3), (0.05, 0.35, 0.1), (0, 1, 5), (0.5, 4.5, 1), (-5, -1, 2)],
)
def test_quantised_values_are_those_that_wandb_draws(tmp_path: Path, low: float, high: float, q: float) -> None:
    """Multiples of q, rounded from a uniform draw: not steps of q from the lower end."""
    about = {"min": low, "max": high, "q": q, "distribution": "q_uniform"}
    sweep = read_sweep(write_sweep(tmp_path, method="random", parameters={"rate": about}))
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    ours = {round(float(_suggest(study.ask(), "rate", sweep.parameters["rate"])), 9) for _ in range(60)}
    theirs = {round(float(np.round(draw / q) * q), 9) for draw in np.random.default_rng(0).uniform(low, high, 10_000)}
    assert ours == theirs


def test_a_key_that_stands_twice_is_named(tmp_path: Path) -> None:
    path = write_sweep(tmp_path)
    path.write_text(path.read_text().replace('"rank":', '"rank": {"values": [1]}, "rank":'))
    with pytest.raises(UserError, match="the key 'rank' stands twice"):
        read_sweep(path)


def test_a_sweep_in_a_folder_of_any_name_has_its_database_there(tmp_path: Path) -> None:
    folder = tmp_path / "50% {of} it #1"
    folder.mkdir()
    open_study(read_sweep(write_sweep(tmp_path)), local_storage(folder / "tiny.db"), folder)
    assert (folder / "tiny.db").stat().st_size > 0
    with pytest.raises(UserError, match=r"holds a '\?', where the path of a database would end"):
        local_storage(tmp_path / "what?" / "tiny.db")
