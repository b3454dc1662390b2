"""A sweep file in W&B's own format: what is varied, what trials are judged by, and the command of a trial.

What is not done here as W&B would do it is refused: a key that is passed over would give other trials in silence.
"""

import itertools
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

from centaurlab.runtime.arguments import read_yaml, said
from centaurlab.runtime.errors import UserError

Value = str | int | float | bool | None

MACROS = (
    *("env", "interpreter", "program", "args", "args_no_equals", "args_no_hyphens", "args_no_boolean_flags"),
    *("args_json", "args_json_file", "args_append_hydra", "args_override_hydra"),
)
"""What may stand as ``${name}`` in a command."""

_MAX_NAME = 100  # of a sweep: its trials' folders are named by it
_KEYS = {
    "the sweep": (
        *("name", "description", "project", "entity", "program", "command", "method", "metric", "parameters"),
        *("early_terminate", "run_cap"),
    ),
    "metric": ("name", "goal"),
    "early_terminate": ("type", "min_iter", "max_iter", "s", "eta"),
}


@dataclass(frozen=True)
class Parameter:
    """Values to choose from, each with its probability where these are given, or a range of numbers."""

    values: tuple[Value, ...] = ()
    probabilities: tuple[float, ...] = ()
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
    program: str = ""
    run_cap: int | None = None
    min_iter: int | None = None
    max_iter: int | None = None
    eta: int = 3

    @property
    def grid(self) -> list[dict[str, Value]]:
        """Every combination of values."""
        names = list(self.parameters)
        return [
            dict(zip(names, v, strict=True)) for v in itertools.product(*(p.values for p in self.parameters.values()))
        ]


def read_sweep(path: Path) -> Sweep:
    """Read a W&B sweep file; ``UserError`` names what is missing, of the wrong kind or not supported here."""
    content = read_yaml(path, "the sweep")
    _check_keys(path, "the sweep", content)
    for key in ("method", "metric", "parameters"):
        if key not in content:
            raise UserError(f"{path} lacks {key!r}; a sweep has method, metric, parameters and command")
    if "command" not in content and "program" not in content:
        raise UserError(f"{path} lacks 'command' (or 'program'); a sweep has method, metric, parameters and command")
    method = content["method"]
    if method not in ("grid", "random", "bayes"):
        raise UserError(f"{path}: method is {said(method)}; choose grid, random or bayes")
    metric = _mapping(path, "metric", content["metric"])
    _check_keys(path, "metric", metric)
    if not isinstance(metric.get("name"), str):
        raise UserError(f"{path}: metric lacks a 'name', such as nll/mean")
    goal = metric.get("goal", "minimize")
    if goal not in ("minimize", "maximize"):
        raise UserError(f"{path}: goal of the metric is {said(goal)}; choose minimize or maximize")
    given = _mapping(path, "parameters", content["parameters"])
    parameters = {
        name: _parameter(path, name, _mapping(path, f"parameter {name!r}", about)) for name, about in given.items()
    }
    if method == "grid" and (ranged := [name for name, p in parameters.items() if not p.values]):
        raise UserError(f"{path}: a grid needs 'values' for {ranged[0]!r}")
    if method != "random" and (weighted := [name for name, p in parameters.items() if p.probabilities]):
        raise UserError(f"{path}: 'probabilities' of {weighted[0]!r} are for the method random, not for {method}")
    command = _command(path, content.get("command", []))
    if not content.get("program") and (not command or "${program}" in command):
        what = "the command holds ${program}" if command else "the command is empty"
        raise UserError(f"{path}: {what}, and there is no 'program'")
    run_cap = content.get("run_cap")
    min_iter, max_iter, eta = _hyperband(path, _mapping(path, "early_terminate", content.get("early_terminate")))
    return Sweep(
        name=re.sub(r"[^\w-]+", "-", _text(path, "name", content.get("name", path.stem)))[:_MAX_NAME],
        method=method,
        metric=metric["name"],
        maximize=goal == "maximize",
        parameters=parameters,
        command=command,
        program=_text(path, "program", content.get("program", "")),
        run_cap=None if run_cap is None else _whole(path, "run_cap", run_cap, 1),
        min_iter=min_iter,
        max_iter=max_iter,
        eta=eta,
    )


def _command(path: Path, command: object) -> tuple[str, ...]:
    """The pieces of a command, whose macros are all known, and pieces of their own."""
    if not isinstance(command, list) or not all(isinstance(piece, str | int | float) for piece in command):
        raise UserError(f"{path}: command must be a list of words, such as [python, script.py, '${{args}}']")
    for piece in map(str, command):
        for variable in re.findall(r"\$\{envvar:([A-Z0-9_]*)\}", piece):
            if variable not in os.environ:
                raise UserError(f"{path}: the command holds ${{envvar:{variable}}}, and {variable} is not set")
        macro = re.fullmatch(r"\$\{(?!envvar:[A-Z0-9_]*\})(.*)\}", piece, re.DOTALL)
        if macro and macro[1] not in MACROS:
            known = ", ".join(f"${{{name}}}" for name in (*MACROS, "envvar:NAME"))
            raise UserError(f"{path}: the command's {piece} is no macro of W&B's; known are {known}")
        if not macro and (within := re.search(r"\$\{args\w*\}", piece)):
            raise UserError(f"{path}: {within[0]} is filled in only as a word of its own, not within {said(piece)}")
    return tuple(map(str, command))


def _hyperband(path: Path, early: Mapping[str, Any]) -> tuple[int | None, int | None, int]:
    """The first and the last step at which trials are compared, and by how much fewer go on each time."""
    if not early:
        return None, None, 3
    _check_keys(path, "early_terminate", early)
    if early.get("type") != "hyperband":
        raise UserError(f"{path}: early_terminate type is {said(early.get('type'))}; only hyperband is known")
    if "min_iter" not in early and not {"max_iter", "s"} <= early.keys():
        raise UserError(f"{path}: early_terminate needs 'min_iter', or 'max_iter' and 's'")
    eta = _whole(path, "eta", early.get("eta", 3), 2)
    min_iter = _whole(path, "min_iter", early["min_iter"], 1) if "min_iter" in early else None
    max_iter = _whole(path, "max_iter", early["max_iter"], 1) if "max_iter" in early else None
    if max_iter and "s" in early:
        brackets = min(_whole(path, "s", early["s"], 0), max_iter.bit_length())  # beyond, the first step is 1 anyway
        min_iter = max(1, max_iter // eta**brackets)
    if min_iter and max_iter and min_iter > max_iter:
        raise UserError(f"{path}: early_terminate has the 'min_iter' {min_iter}, beyond its 'max_iter', {max_iter}")
    return min_iter, max_iter, eta


def _parameter(path: Path, name: str, about: Mapping[str, Any]) -> Parameter:
    kind = about.get("distribution")
    if "value" in about or "values" in about:
        values = [about["value"]] if "value" in about else about["values"]
        if not isinstance(values, list) or not values or not all(isinstance(one, Value) for one in values):
            raise UserError(f"{path}: parameter {name!r} needs a list of texts, numbers or true and false as 'values'")
        kinds = ("constant",) if "value" in about else ("categorical", "categorical_w_probabilities")
        if kind is not None and kind not in kinds:
            raise UserError(f"{path}: parameter {name!r} has values, and the distribution {said(kind)}, which has none")
        usual = ("value",) if "value" in about else ("values", "probabilities")
        _check_keys(path, f"parameter {name!r}", about, ("distribution", *usual))
        return Parameter(tuple(values), _probabilities(path, name, about.get("probabilities"), len(values)))
    if "min" not in about or "max" not in about:
        raise UserError(f"{path}: parameter {name!r} needs 'value', 'values', or 'min' and 'max'")
    low, high, step = about["min"], about["max"], about.get("q", 1)
    for number in (low, high, step):
        if isinstance(number, str):
            raise UserError(f"{path}: {number!r} of parameter {name!r} is text to YAML; write numbers like 1.0e-5")
        if type(number) not in (int, float) or not abs(number) < math.inf:
            raise UserError(f"{path}: 'min', 'max' and 'q' of parameter {name!r} must be numbers")
    if low > high or step <= 0 or (kind == "log_uniform_values" and low <= 0):
        raise UserError(f"{path}: parameter {name!r} has no values between its 'min' and 'max'")
    whole = isinstance(low, int) and isinstance(high, int)
    _check_keys(path, f"parameter {name!r}", about, ("distribution", "min", "max", *["q"] * (kind == "q_uniform")))
    if kind == "int_uniform" and not whole:
        raise UserError(f"{path}: 'min' and 'max' of parameter {name!r}, an int_uniform, must be whole numbers")
    if kind in (None, "uniform", "int_uniform"):
        return Parameter(low=low, high=high, whole=kind == "int_uniform" or (kind is None and whole))
    if kind == "q_uniform":
        # W&B rounds draws to multiples of q; what the exact ends alone would give is never drawn. As decimals, or their
        # distance would be no multiple of q.
        q, half = Decimal(str(step)), Decimal("0.5")
        first = math.floor(Decimal(str(low)) / q + half)
        last = max(first, math.ceil(Decimal(str(high)) / q - half))
        return Parameter(low=float(first * q), high=float(last * q), step=step, whole=isinstance(step, int))
    if kind == "log_uniform_values":
        return Parameter(low=low, high=high, log=True)
    raise UserError(
        f"{path}: distribution {said(kind)} of {name!r} is not supported here; "
        "use uniform, int_uniform, q_uniform or log_uniform_values"
    )


def _probabilities(path: Path, name: str, given: object, n_values: int) -> tuple[float, ...]:
    """One for each value, with a sum of 1; none where none are given."""
    if given is None:
        return ()
    numbers = given if isinstance(given, list) else []
    if not all(type(one) in (int, float) and one >= 0 for one in numbers) or len(numbers) != n_values:
        raise UserError(f"{path}: 'probabilities' of {name!r} must be {n_values} numbers, one for each of its values")
    if not math.isclose(sum(numbers), 1, abs_tol=1e-6):
        raise UserError(f"{path}: 'probabilities' of {name!r} have the sum {sum(numbers):g}, not 1")
    return tuple(map(float, numbers))


def _check_keys(path: Path, what: str, given: Mapping[str, Any], known: Sequence[str] = ()) -> None:
    """Refuse a key that would be passed over."""
    known = known or _KEYS[what]
    if strange := [key for key in given if key not in known]:
        raise UserError(f"{path}: {strange[0]!r} of {what} is not known here; known are {', '.join(known)}")


def _mapping(path: Path, what: str, value: object) -> dict[str, Any]:
    """``value`` where it is 'name: value' lines with texts for names; absent: none."""
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
        raise UserError(f"{path}: {what} must hold 'name: value' lines")
    return value


def _text(path: Path, what: str, value: object) -> str:
    if not isinstance(value, str | int | float):
        raise UserError(f"{path}: {what} is {said(value)}, not text")
    return str(value)


def _whole(path: Path, name: str, value: object, least: int) -> int:
    if type(value) is not int or value < least:
        raise UserError(f"{path}: {name!r} must be a whole number, at least {least}")
    return value
