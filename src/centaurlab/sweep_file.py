"""A sweep file in W&B's own format: what is varied, what trials are judged by, and the command of a trial."""

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from centaurlab.errors import UserError

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
    """Read a W&B sweep file; ``UserError`` names what is missing or not supported here."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise UserError(f"cannot read the sweep {path}: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} must hold a sweep: method, metric, parameters, command")
    for key in ("method", "metric", "parameters"):
        if key not in content:
            raise UserError(f"{path} lacks {key!r}; a sweep has method, metric, parameters and command")
    if "command" not in content and "program" not in content:
        raise UserError(f"{path} lacks 'command' (or 'program'); a sweep has method, metric, parameters and command")
    method, metric = content["method"], content["metric"]
    if method not in ("grid", "random", "bayes"):
        raise UserError(f"{path}: method is {method!r}; choose grid, random or bayes")
    parameters = {name: _parameter(path, name, about or {}) for name, about in content["parameters"].items()}
    if method == "grid" and (ranged := [name for name, p in parameters.items() if not p.values]):
        raise UserError(f"{path}: a grid needs 'values' for {ranged[0]!r}")
    early = content.get("early_terminate") or {}
    if early and early.get("type") != "hyperband":
        raise UserError(f"{path}: early_terminate type is {early.get('type')!r}; only hyperband is known")
    if early and "min_iter" not in early and not {"max_iter", "s"} <= early.keys():
        raise UserError(f"{path}: early_terminate needs 'min_iter', or 'max_iter' and 's'")
    eta = int(early.get("eta", 3))
    min_iter, max_iter = early.get("min_iter"), early.get("max_iter")
    if max_iter and "s" in early:
        min_iter = max(1, int(max_iter / eta ** int(early["s"])))
    return Sweep(
        name=re.sub(r"[^\w-]+", "-", str(content.get("name", path.stem))),
        method=method,
        metric=str(metric["name"]),
        maximize=metric.get("goal", "minimize") == "maximize",
        parameters=parameters,
        command=tuple(str(piece) for piece in content.get("command", ())),
        program=str(content.get("program", "")),
        run_cap=content.get("run_cap"),
        min_iter=min_iter,
        max_iter=max_iter,
        eta=eta,
    )


def _parameter(path: Path, name: str, about: Mapping[str, Any]) -> Parameter:
    kind = about.get("distribution")
    if "value" in about:
        return Parameter(values=(about["value"],))
    if "values" in about:
        return Parameter(values=tuple(about["values"]))
    if "min" not in about or "max" not in about:
        raise UserError(f"{path}: parameter {name!r} needs 'value', 'values', or 'min' and 'max'")
    low, high, step = about["min"], about["max"], about.get("q", 1)
    for number in (low, high, step):
        if not isinstance(number, int | float):
            raise UserError(f"{path}: {number!r} of parameter {name!r} is text to YAML; write numbers like 1.0e-5")
    whole = isinstance(low, int) and isinstance(high, int)
    if kind in (None, "uniform", "int_uniform"):
        return Parameter(low=low, high=high, whole=kind == "int_uniform" or (kind is None and whole))
    if kind == "q_uniform":
        return Parameter(low=low, high=high, step=step, whole=whole and isinstance(step, int))
    if kind == "log_uniform_values":
        return Parameter(low=low, high=high, log=True)
    raise UserError(
        f"{path}: distribution {kind!r} of {name!r} is not supported here; "
        "use uniform, int_uniform, q_uniform or log_uniform_values"
    )
