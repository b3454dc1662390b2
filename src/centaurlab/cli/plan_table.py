"""A plan as a table of what scoring will take, with its assumptions and the command that it is the plan of."""

import shlex
from collections.abc import Iterable
from dataclasses import replace

from centaurlab.data.source import DataArguments
from centaurlab.display.tables import facts_table
from centaurlab.display.terminal import show
from centaurlab.models.arguments import ModelArguments
from centaurlab.runtime.arguments import as_typed
from centaurlab.scoring.arguments import ScoringArguments
from centaurlab.scoring.cost import _HOUR, CPU, USABLE_MEMORY, Plan
from centaurlab.scoring.order import WINDOW_CHARACTERS
from centaurlab.scoring.plan import SAMPLED_PER_STUDY
from centaurlab.scoring.scorer import WHOLE_SEQUENCE_TOKENS
from centaurlab.stats.words import percent

_GIB = 2**30


LINKS = (25e9, 300e9)
"""Bytes per second between devices, assumed: about those of PCIe 4.0 and of NVLink in an A100, one way."""


def print_plan(
    plan: Plan, model_arguments: ModelArguments, data_arguments: DataArguments, scoring: ScoringArguments
) -> None:
    """Print the plan as a table, what it assumes, and the command that it is the plan of."""
    on = f"{plan.n_devices} × {plan.device.name}" if plan.device.name != CPU else "this machine's CPU"
    title = f"{model_arguments.model_name_or_path} on {data_arguments.data}, {on}"
    show(facts_table(title, _rows(plan)), "assumptions:", *(f"- {line}" for line in _assumptions(plan)))
    if plan.n_copies:
        n_processes = plan.n_copies * plan.shards
        launch = ["accelerate", "launch", *(["--num_processes", str(n_processes)] if plan.n_devices > 1 else [])]
        if plan.n_devices > n_processes == 1:
            model_arguments = replace(model_arguments, device_map="auto")
        options = as_typed(model_arguments, data_arguments, scoring)
        command = f"{shlex.join([*launch, '-m', 'centaurlab', 'score', *options])} --output_dir …"
        show(f"the command: {command}")


def _rows(plan: Plan) -> Iterable[tuple[str, str]]:
    shape, work, memory = plan.shape, plan.work, plan.memory
    yield "sessions", f"{work.n_sessions:,} different ones with {work.n_responses:,} responses"
    reused = 1 - work.n_computed / work.n_tokens if work.n_tokens else 0.0
    yield (
        "tokens",
        f"{_short(work.n_tokens)}, {percent(reused, decimals=1)} of them in shared prefixes; "
        f"{work.longest_tokens:,.0f} the longest",
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
    reached = plan.work.flops_each / plan.speed.seconds(plan.work)
    yield "speed", f"{reached / 1e12:,.3g} TFLOP/s per process ({plan.speed.source})"
    if plan.n_copies > 1:
        yield "slowest group" if plan.shards > 1 else "slowest process", f"{work.slowest_over_mean:.3f} of the mean"
    if plan.n_copies:
        tokens_per_second = work.n_tokens / plan.hours / _HOUR
        yield "time", f"{_duration(plan.hours)}; {_short(tokens_per_second)} tokens/s over all processes"


def _shares(plan: Plan) -> str:
    head = 2 * plan.shape.head_weights * plan.work.n_response_tokens
    body = 2 * plan.shape.body_weights * plan.work.n_computed
    parts = {"weights": body, "attention": plan.work.flops - head - body, "LM head": head}
    return ", ".join(f"{name} {percent(part / plan.work.flops)}" for name, part in parts.items())


def _duration(hours: float) -> str:
    if hours >= 1:
        return f"{hours:,.1f} hours"
    return f"{hours * 60:.1f} minutes" if hours * 60 >= 1 else f"{hours * _HOUR:.0f} seconds"


def _placement(plan: Plan) -> str:
    if plan.shards > 1:
        groups = "one model" if plan.n_copies == 1 else f"{plan.n_copies} copies of the model, each"
        fits = f"{groups} divided among {plan.shards} processes (--tensor_parallel)"
        return fits if plan.n_copies else f"does not fit: a part needs {plan.memory.n_devices} × {plan.device.name}"
    if plan.memory.n_devices == 1:
        return "one process" if plan.n_copies == 1 else f"{plan.n_copies} processes, a copy of the model each"
    if plan.n_copies:
        on = f"one copy spread over {plan.memory.n_devices} devices"
        at_once = f"; at once with --tensor_parallel {plan.n_devices}" if plan.is_divisible else ""
        return f"{on} (--device_map auto), which compute in turn{at_once}"
    return f"does not fit: it needs {plan.memory.n_devices} × {plan.device.name}, or --load_in_4bit"


def _assumptions(plan: Plan) -> Iterable[str]:
    yield (
        f"{SAMPLED_PER_STUDY} sessions per study were tokenized (per {WINDOW_CHARACTERS // 10**6} million characters); "
        "the others' tokens follow from their characters"
    )
    yield (
        "operations: two per weight and token, and per query and key that it sees; the LM head at response tokens "
        "alone; norms, softmax and what a process computes again of prefixes shared with another are left out"
    )
    yield (
        f"memory: {USABLE_MEMORY:.0%} of a device is usable; the longest session decides; activations are estimated "
        "from the sizes of the layers"
    )
    yield f"speed: {plan.speed.source}; the same for every layer and the LM head"
    if plan.shards > 1:
        size = plan.bytes_exchanged
        times = ", ".join(f"{_duration(size / rate / _HOUR)} at {rate / 1e9:.0f} GB/s" for rate in LINKS)
        yield (
            "every weight counts as divided, and the cache where the architecture's plan in transformers divides keys "
            "and values"
        )
        yield f"each device sends {size / 1e9:,.0f} GB, left out of the time: {times}"
    if plan.speed.seconds_per_pass:
        yield f"passes: {plan.work.n_passes:,.0f}; short sessions share those of {WHOLE_SEQUENCE_TOKENS:,} tokens"
    yield "time: without downloading and loading the model, and without reading the data"


def _short(number: float) -> str:
    for size, unit in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:,.2f} {unit}"
    return f"{number:,.0f}"
