"""``centaurlab plan``: a model, data and devices into a table of what scoring will take, with its assumptions."""

import math
import shlex
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import track
from rich.table import Table

from centaurlab import terminal
from centaurlab.arguments import as_typed
from centaurlab.catalog import Device
from centaurlab.errors import UserError
from centaurlab.flops import ModelShape, model_shape
from centaurlab.forecast import (
    ASSUMED_UTILISATION,
    CPU,
    USABLE_MEMORY,
    Memory,
    Speed,
    Work,
    assumed_speed,
    estimate_memory,
    estimate_work,
    measured_speed,
    parse_devices,
)
from centaurlab.models import (
    ModelArguments,
    load_config,
    load_tokenizer,
    load_without_weights,
    quantization,
    usable_window,
)
from centaurlab.plan import SAMPLED_PER_STUDY
from centaurlab.sources import DataArguments, open_source

_GIB = 2**30
_HOUR = 3600


@dataclass(frozen=True)
class PlanArguments:
    """On what, and how. ``calibrate``: a finished run whose speed counts; ``tokenizer``: another model's."""

    devices: str
    protocol: str = "full"
    max_length: int | None = None
    utilisation: float = ASSUMED_UTILISATION
    calibrate: Path | None = None
    tokenizer: str | None = None


_ONLY_OF_PLANS = ("devices", "utilisation", "calibrate", "tokenizer")


@dataclass(frozen=True)
class Plan:
    """What scoring takes. ``n_copies``: processes, each with a whole model; 0: it fits on no number of the devices."""

    shape: ModelShape
    work: Work
    memory: Memory
    speed: Speed
    n_devices: int
    device: Device
    n_copies: int

    @property
    def hours(self) -> float:
        """Until the slowest process ends; NaN where the model does not fit."""
        if not self.n_copies:
            return math.nan
        seconds = self.work.flops / self.n_copies / self.speed.flops_per_second
        return seconds * (self.work.slowest_over_mean if self.n_copies > 1 else 1) / _HOUR


def make_plan(model_arguments: ModelArguments, data_arguments: DataArguments, arguments: PlanArguments) -> Plan:
    """Plan the scoring of the data; nothing but configuration and tokenizer of the model is needed.

    Raises ``UserError`` for whatever a user can mend.
    """
    n_devices, device = parse_devices(arguments.devices)
    if not 0 < arguments.utilisation <= 1:
        raise UserError(f"--utilisation is {arguments.utilisation}; it is a share, above 0 and at most 1")
    if arguments.protocol not in ("full", "paper"):
        raise UserError(f"--protocol is {arguments.protocol!r}; choose full or paper")
    if arguments.calibrate:
        speed = measured_speed(arguments.calibrate, device)
    else:
        speed = assumed_speed(device, arguments.utilisation)
        if model_arguments.dtype == "float32":
            raise UserError("the peaks known are of bfloat16; for --dtype float32 give a measured run as --calibrate")
    shape = model_shape(load_without_weights(model_arguments))
    max_tokens = usable_window(load_config(model_arguments), arguments.max_length)
    tokenizer = load_tokenizer(ModelArguments(arguments.tokenizer) if arguments.tokenizer else model_arguments)
    errors = Console(stderr=True)
    sessions = track(
        open_source(data_arguments), "reading", transient=True, console=errors, disable=not errors.is_terminal
    )
    work = estimate_work(sessions, tokenizer, shape, max_tokens, arguments.protocol, n_devices)
    if not work.n_response_tokens:
        raise UserError(f"no response of {data_arguments.data} stands in the text that is scored; try --protocol full")
    memory = estimate_memory(shape, work, device, model_arguments.dtype, quantization(model_arguments))
    n_copies = n_devices if memory.n_devices == 1 else int(memory.n_devices <= n_devices)
    return Plan(shape, work, memory, speed, n_devices, device, n_copies)


def print_plan(
    plan: Plan, model_arguments: ModelArguments, data_arguments: DataArguments, arguments: PlanArguments
) -> None:
    """Print the plan as a table, what it assumes, and the command that it is the plan of."""
    console = terminal.console()
    on = f"{plan.n_devices} × {plan.device.name}" if plan.device.name != CPU else "this machine's CPU"
    title = f"{model_arguments.model_name_or_path} on {data_arguments.data}, {on}"
    table = Table(title=escape(title), box=box.SIMPLE_HEAD, show_header=False)
    table.add_column("", no_wrap=True)
    table.add_column("")
    for name, value in _rows(plan):
        table.add_row(name, value)
    console.print(table)
    console.print("assumptions:")
    for line in _assumptions(plan):
        console.print(f"- {line}", markup=False, highlight=False, soft_wrap=True)
    if plan.n_copies:
        launch = ["accelerate", "launch", *(["--num_processes", str(plan.n_copies)] if plan.n_devices > 1 else [])]
        if plan.n_devices > plan.n_copies == 1:
            model_arguments = replace(model_arguments, device_map="auto")
        options = [
            *as_typed(model_arguments),
            *as_typed(data_arguments, but=["on_malformed"]),  # planning skips what scoring is to name
            *as_typed(arguments, but=_ONLY_OF_PLANS),
        ]
        command = f"{shlex.join([*launch, 'eval/score.py', *options])} --output_dir …"
        console.print(f"the command: {command}", markup=False, highlight=False, soft_wrap=True)


def _rows(plan: Plan) -> Iterable[tuple[str, str]]:
    shape, work, memory = plan.shape, plan.work, plan.memory
    yield "sessions", f"{work.n_sessions:,} different ones with {work.n_responses:,} responses"
    reused = 1 - work.n_computed / work.n_tokens if work.n_tokens else 0.0
    yield (
        "tokens",
        f"{_short(work.n_tokens)}, {reused:.1%} of them in shared prefixes; {work.longest_tokens:,.0f} the longest",
    )
    yield "response tokens", _short(work.n_response_tokens)
    is_sparse = shape.body_weights < shape.matrix_parameters
    used = f", {_short(shape.body_weights)} of them for a token" if is_sparse else ""
    yield "parameters", f"{_short(shape.n_parameters)}{used}"
    yield "operations", f"{work.flops:.3g} FLOP ({_shares(plan)})"
    parts = ", ".join(
        f"{name} {getattr(memory, name) / _GIB:,.1f}" for name in ("weights", "cache", "activations", "libraries")
    )
    yield "memory", f"{memory.total / _GIB:,.1f} GiB per process ({parts}) of {memory.available / _GIB:,.1f} per device"
    yield "placement", _placement(plan)
    yield "speed", f"{plan.speed.flops_per_second / 1e12:,.3g} TFLOP/s per process ({plan.speed.source})"
    if plan.n_copies > 1:
        yield "slowest process", f"{work.slowest_over_mean:.3f} of the mean"
    if plan.n_copies:
        tokens_per_second = work.n_tokens / plan.hours / _HOUR
        yield "time", f"{_duration(plan.hours)}; {_short(tokens_per_second)} tokens/s over all processes"


def _shares(plan: Plan) -> str:
    head = 2 * plan.shape.head_weights * plan.work.n_response_tokens
    body = 2 * plan.shape.body_weights * plan.work.n_computed
    parts = {"weights": body, "attention": plan.work.flops - head - body, "LM head": head}
    return ", ".join(f"{name} {part / plan.work.flops:.0%}" for name, part in parts.items())


def _duration(hours: float) -> str:
    if hours >= 1:
        return f"{hours:,.1f} hours"
    return f"{hours * 60:.1f} minutes" if hours * 60 >= 1 else f"{hours * _HOUR:.0f} seconds"


def _placement(plan: Plan) -> str:
    if plan.memory.n_devices == 1:
        return "one process" if plan.n_copies == 1 else f"{plan.n_copies} processes, a copy of the model each"
    if plan.n_copies:
        return f"one copy spread over {plan.memory.n_devices} devices (--device_map auto), which compute in turn"
    return f"does not fit: it needs {plan.memory.n_devices} × {plan.device.name}, or --load_in_4bit"


def _assumptions(plan: Plan) -> Iterable[str]:
    yield (
        f"{SAMPLED_PER_STUDY} sessions per study were tokenized (per 64 million characters); the others' tokens follow "
        "from their characters"
    )
    yield (
        "operations: two per weight and token, and per query and key that it sees; the LM head at response tokens "
        "alone; norms, softmax and what a process computes again of prefixes shared with another are left out"
    )
    yield (
        f"memory: {USABLE_MEMORY:.0%} of a device is usable; the longest session decides; activations are estimated "
        "from the sizes of the layers"
    )
    yield f"speed: {plan.speed.source}; the same for every session, every layer and the LM head"
    yield "time: without downloading and loading the model, and without reading the data"


def _short(number: float) -> str:
    for size, unit in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:,.2f} {unit}"
    return f"{number:,.0f}"
