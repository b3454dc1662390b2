"""What scoring a data set will take, before anything is scored: tokens, operations, memory, hours.

The sessions go through the plan that scoring itself follows (windows, shared prefixes, division among processes), and
the model's shape says what each costs. From operations to hours it takes a speed: that of a finished run, or the
maker's figure for the device times the share of it that is assumed to be reached.
"""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
from rich.console import Console
from rich.progress import track

from centaurlab.catalog.tables import Device, devices
from centaurlab.data.source import DataArguments, open_source
from centaurlab.data.transcripts import Transcript, text_digest
from centaurlab.models.arguments import ModelArguments
from centaurlab.models.attention import QUERIES_PER_BLOCK
from centaurlab.models.identity import quantization
from centaurlab.models.loading import check_divisible, load_config, load_tokenizer
from centaurlab.models.shape import ModelShape, countable_shape, usable_window
from centaurlab.prompts.context import Reading
from centaurlab.results.run import read_run
from centaurlab.runtime.errors import UserError
from centaurlab.scoring.options import OptionRules
from centaurlab.scoring.order import divide, windows
from centaurlab.scoring.plan import estimate_lengths, plan_window
from centaurlab.scoring.scorer import CPU_CHUNK_TOKENS, HEAD_ROWS, WHOLE_SEQUENCE_TOKENS
from centaurlab.scoring.store import ResultDigests
from centaurlab.scoring.token_statistics import CPU_BLOCK_ELEMENTS, GPU_BLOCK_ELEMENTS

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

CPU = "cpu"
ASSUMED_SHARE = 0.45
"""Of a device's dense bfloat16 peak, while its kernels compute. Training of Llama 3 on H100s, whose kernels are large,
reached 0.38 to 0.43 in all (arXiv 2407.21783, Table 4)."""

LAUNCHES_PER_LAYER = 60
"""Kernels that a pass launches per layer, whatever it is long: 40 of Llama, 56 of Qwen3, 86 of Gemma 3 were counted."""

LAUNCH_SECONDS = 15e-6
"""Of a launch from PyTorch without a graph, assumed. Passes that are shorter than their launches wait for these."""

USABLE_MEMORY = 0.9
"""Of a device: the rest goes to fragmentation and to what else runs there."""

_LIBRARIES_BYTES = 0.6 * 2**30  # PyTorch, transformers and their kernels on a CPU; a CUDA context takes about as much
# Blocks for attention grow with every chunk of a session, and glibc keeps those that are outgrown (allocator.py). Fits
# measured peaks of Gemma 3 270M on sessions of 3,900 tokens (1.35 GiB) and 16,685 (2.5 GiB) within a tenth.
_OUTGROWN = 8
_BYTES = {"bfloat16": 2, "float16": 2, "float32": 4}
# NF4 with doubly quantised constants: arXiv 2305.14314, section 3.
_QUANTISED_BYTES = {"nf4": 4.127 / 8, "fp4": 4.127 / 8, "int8": 1.0}
_DEVICES = re.compile(r"(?:(\d+) ?[x×*] ?)?(.*)")


@dataclass
class Work:
    """Sums over the sessions that would be scored, equal texts once, as the plan estimates them.

    ``n_computed``: tokens not taken from a neighbour's cache. ``n_passes``: of a GPU, where short sessions share one.
    ``flops`` are of what is computed, ``flops_each`` what each of those that have a model together does of it.
    ``slowest_over_mean``: of the processes, by the costs that they were divided by. ``most_response_tokens``: the
    largest share of a session's tokens that are response tokens.
    """

    n_sessions: int = 0
    n_responses: int = 0
    n_tokens: float = 0.0
    n_computed: float = 0.0
    n_passes: float = 0.0
    n_response_tokens: float = 0.0
    longest_tokens: float = 0.0
    most_response_tokens: float = 0.0
    flops: float = 0.0
    flops_each: float = 0.0
    loads: list[float] = field(default_factory=list)

    @property
    def slowest_over_mean(self) -> float:
        """The work of the slowest process over the mean of all; 1 where they end together."""
        return max(self.loads) * len(self.loads) / sum(self.loads) if sum(self.loads) else 1.0


@dataclass(frozen=True)
class Memory:
    """Bytes that one process holds at its peak, by what they are for, and what is ``available`` on its device."""

    weights: float
    cache: float
    activations: float
    libraries: float
    available: float

    @property
    def total(self) -> float:
        """All bytes that the process holds."""
        return self.weights + self.cache + self.activations + self.libraries

    @property
    def n_devices(self) -> int:
        """The number of devices over which one copy of the model has to be spread."""
        return math.ceil(self.total / (USABLE_MEMORY * self.available))


@dataclass(frozen=True)
class Speed:
    """Operations per second of one process, what a pass costs besides, and where the figures come from, in words."""

    flops_per_second: float
    source: str
    seconds_per_pass: float = 0.0

    def seconds(self, work: Work) -> float:
        """What ``work`` takes one process, or a group of them that have a model together and do every pass."""
        return work.flops_each / self.flops_per_second + work.n_passes * self.seconds_per_pass


def parse_devices(text: str) -> tuple[int, Device]:
    """Read ``4xH100`` as a number and a device; ``cpu`` is this machine, whose speed only a finished run can tell.

    Raises ``UserError`` for a device that the catalog does not know.
    """
    given = _DEVICES.fullmatch(text.strip())
    number, name = given.groups() if given else (None, "")
    known = {device.lower(): found for device, found in devices().items()}
    if name.lower() == CPU and number in (None, "1"):
        return 1, Device(CPU, "", psutil.virtual_memory().total, math.nan)
    if name.lower() not in known or number == "0":
        raise UserError(
            f"--devices is {text!r}; give a number and one of {', '.join(devices())}, such as 4xH100, or cpu"
        )
    return int(number or 1), known[name.lower()]


def estimate_work(
    transcripts: Iterable[Transcript],
    tokenizer: "PreTrainedTokenizerBase",
    shape: ModelShape,
    part: ModelShape,
    max_tokens: int,
    protocol: str,
    n_processes: int,
) -> Work:
    """Estimate what it takes to score transcripts, by the plan that scoring itself follows.

    Parameters
    ----------
    transcripts
        The sessions, read as a stream; equal texts count once.
    tokenizer, shape, part, max_tokens
        The model's tokenizer, its shape and that of what one process has of it, its context window in tokens.
    protocol
        ``full`` or ``paper``.
    n_processes
        Among how many the sessions are divided.

    Returns
    -------
    Work
        Numbers of sessions, responses and tokens, and floating-point operations.
    """
    work, scored, loads = Work(), ResultDigests(), [0.0] * n_processes
    reading = Reading(protocol)
    for window in windows(transcripts):
        new: dict[str, Transcript] = {}
        for transcript in window:
            digest = text_digest(transcript.text)
            if digest not in scored:
                scored.add(digest)
                new[digest] = transcript
        planned = plan_window(list(new.values()), list(new), reading, OptionRules({}))
        lengths = estimate_lengths(planned, tokenizer, max_tokens)
        costs = [shape.flops(n.n_tokens, n.n_tokens, n.n_response_tokens) for n in lengths]
        for process, share in enumerate(divide(costs, n_processes, loads)):
            loads[process] += sum(costs[i] for i in share)
        for session, length in zip(planned, lengths, strict=True):
            n_computed = max(length.n_tokens - session.reused * length.per_character, 0)
            work.n_sessions += 1
            work.n_responses += session.prompt.n_responses
            work.n_tokens += length.n_tokens
            work.n_computed += n_computed
            work.n_response_tokens += length.n_response_tokens
            work.longest_tokens = max(work.longest_tokens, length.n_tokens)
            if length.n_tokens:
                work.most_response_tokens = max(work.most_response_tokens, length.n_response_tokens / length.n_tokens)
            work.n_passes += _passes(n_computed)
            work.flops += shape.flops(length.n_tokens, n_computed, length.n_response_tokens)
            work.flops_each += part.flops(length.n_tokens, n_computed, length.n_response_tokens)
    work.loads = loads
    return work


def _passes(n_computed: float) -> float:
    """Passes of a GPU for a session: a share of one where it stands in a batch, several where it is cut in chunks."""
    is_short = 2 * n_computed <= WHOLE_SEQUENCE_TOKENS
    return n_computed / WHOLE_SEQUENCE_TOKENS if is_short else math.ceil(n_computed / WHOLE_SEQUENCE_TOKENS)


def estimate_memory(shape: ModelShape, work: Work, device: Device, dtype: str, quantization: str) -> Memory:
    """Estimate the memory of a process that holds a model, or part of one, of ``shape`` and scores the longest session.

    Activations: a chunk's hidden states (six at once) and widest layer (three), masks and, on a CPU, the scores of a
    block of queries (three of each), and the LM head's logits, with four float32 blocks of its statistics.
    """
    on_cpu = device.name == CPU
    window = min((layer.window for layer, _ in shape.layers if layer.window), default=CPU_CHUNK_TOKENS)
    chunk = min(min(CPU_CHUNK_TOKENS, window) if on_cpu else WHOLE_SEQUENCE_TOKENS, work.longest_tokens)
    size = _BYTES[dtype]
    matrices = shape.matrix_parameters * _QUANTISED_BYTES.get(quantization, size)
    hidden = chunk * (6 * shape.hidden_size + 3 * shape.widest) * size
    scores = _OUTGROWN * (size * QUERIES_PER_BLOCK * shape.n_heads + chunk) if on_cpu else chunk
    attention = 3 * scores * work.longest_tokens
    rows = HEAD_ROWS + chunk * work.most_response_tokens
    statistics = 4 * 4 * (CPU_BLOCK_ELEMENTS if on_cpu else GPU_BLOCK_ELEMENTS)
    return Memory(
        weights=matrices + (shape.n_parameters - shape.matrix_parameters) * size,
        cache=shape.cached_elements(math.ceil(work.longest_tokens)) * size,
        activations=hidden + attention + rows * shape.vocabulary * size + statistics,
        libraries=_LIBRARIES_BYTES,
        available=device.memory_bytes,
    )


def assumed_speed(device: Device, shape: ModelShape, utilisation: float | None = None) -> Speed:
    """The speed that the maker states times ``utilisation``, a share of it in all.

    None: times the share that large kernels reach, and besides what launching the kernels of all layers costs a pass.
    So a small model reaches less than a large one. ``UserError`` for a CPU, of which no maker states a peak.
    """
    if device.name == CPU:
        raise UserError(
            "how fast this CPU is only a run can tell: score a few sessions (centaurlab score … --max_participants 1) "
            "and give their folder as --calibrate"
        )
    peak, stated = device.flops_per_second, f"of the {device.flops_per_second / 1e12:,.0f} TFLOP/s of a {device.name}"
    if utilisation is not None:
        return Speed(utilisation * peak, f"assumed: {utilisation:g} {stated}")
    per_pass = LAUNCHES_PER_LAYER * LAUNCH_SECONDS * sum(n for _, n in shape.layers)
    source = f"assumed: {ASSUMED_SHARE:g} {stated}, and {1000 * per_pass:.0f} ms a pass to launch its kernels"
    return Speed(ASSUMED_SHARE * peak, source, per_pass)


def measured_speed(folder: Path, device: Device) -> Speed:
    """The speed that a finished run of scoring reached, carried over to ``device`` by the peaks of both devices.

    Raises ``UserError`` where the folder is no such run, or on devices that cannot be compared.
    """
    record = read_run(folder).record
    if record.speed and record.speed.flops is None:
        raise UserError(f"{folder} scored a model whose operations are not counted; give another run")
    if not record.speed or not record.speed.flops or not record.speed.scoring_seconds:
        raise UserError(
            f"{folder} does not say how fast it was; give its 'centaurlab score' command again, which computes nothing "
            "anew"
        )
    reached = record.speed.flops / record.speed.scoring_seconds
    gpus = record.gpus
    measured = next(
        (known.name for known in devices().values() if gpus[:1] == [known.torch_name]), None if gpus else CPU
    )
    if measured == device.name:
        return Speed(reached, f"measured in {folder}: {reached / 1e12:,.3f} TFLOP/s per process")
    if measured in (None, CPU) or device.name == CPU:
        raise UserError(f"{folder} ran on {gpus[0] if gpus else 'a CPU'}, which says nothing of {device.name}")
    utilisation = reached / devices()[str(measured)].flops_per_second
    return Speed(
        utilisation * device.flops_per_second,
        f"measured in {folder}: {utilisation:.3f} of the peak of a {measured}, taken to hold for a {device.name}",
    )


_HOUR = 3600


@dataclass(frozen=True)
class PlanArguments:
    """On which ``devices`` (as ``parse_devices`` reads them) and how the data are to be scored.

    ``utilisation``: share of the device's peak that is assumed; None: by the model's size and the sessions' lengths, as
    ``assumed_speed`` has it. ``calibrate``: folder of a finished run, whose speed counts instead. ``tokenizer``: a
    model whose tokens are counted. ``max_length`` is in tokens. ``tensor_parallel``: how many devices share a model.
    """

    devices: str
    protocol: str = "full"
    max_length: int | None = None
    utilisation: float | None = None
    calibrate: Path | None = None
    tokenizer: str | None = None
    tensor_parallel: int = 1


@dataclass(frozen=True)
class Plan:
    """What scoring takes: the work, the memory of a process, and how fast one is.

    ``n_copies``: processes, or groups of ``shards`` of them, each with a whole model, on the ``n_devices``; 0: it does
    not fit on them. ``is_divisible``: of a model spread over all devices, whether they can have it together instead.
    """

    shape: ModelShape
    work: Work
    memory: Memory
    speed: Speed
    n_devices: int
    device: Device
    n_copies: int
    shards: int = 1
    is_divisible: bool = False

    @property
    def bytes_exchanged(self) -> float:
        """What each device sends to the others of its group, for two sums of bfloat16 hidden states in each layer.

        A sum over N devices takes each 2 (N - 1) / N times the size of what is summed (Patarasuk and Yuan 2009,
        doi:10.1016/j.jpdc.2008.09.002).
        """
        hidden = 2 * self.work.n_computed * self.shape.hidden_size
        sums = 2 * sum(n for _, n in self.shape.layers)
        return sums * hidden * 2 * (self.shards - 1) / self.shards / max(self.n_copies, 1)

    @property
    def hours(self) -> float:
        """Hours until the slowest process ends; NaN where the model does not fit."""
        if not self.n_copies:
            return math.nan
        seconds = self.speed.seconds(self.work) / self.n_copies
        return seconds * (self.work.slowest_over_mean if self.n_copies > 1 else 1) / _HOUR


def make_plan(model_arguments: ModelArguments, data_arguments: DataArguments, arguments: PlanArguments) -> Plan:
    """Plan the scoring of data, before anything is scored.

    Parameters
    ----------
    model_arguments, data_arguments
        The model, of which configuration and tokenizer are needed and no weights, and the data.
    arguments
        On what and how they are to be scored.

    Returns
    -------
    Plan
        Tokens, operations, bytes and hours.

    Raises
    ------
    UserError
        For whatever a user can mend.
    """
    n_devices, device = parse_devices(arguments.devices)
    if arguments.utilisation is not None and not 0 < arguments.utilisation <= 1:
        raise UserError(f"--utilisation is {arguments.utilisation}; it is a share, above 0 and at most 1")
    if arguments.protocol not in ("full", "paper"):
        raise UserError(f"--protocol is {arguments.protocol!r}; choose full or paper")
    shards = arguments.tensor_parallel
    if n_devices % shards:
        raise UserError(f"--tensor_parallel {shards} needs {shards} devices, or a multiple of it, not {n_devices}")
    if shards > 1:
        check_divisible(model_arguments, shards)
    shape = countable_shape(model_arguments)
    part = countable_shape(model_arguments, shards) if shards > 1 else shape
    if isinstance(shape, str) or isinstance(part, str):
        raise UserError(f"scoring with {model_arguments.model_name_or_path} cannot be planned: {part}")
    if arguments.calibrate:
        speed = measured_speed(arguments.calibrate, device)
    else:
        speed = assumed_speed(device, shape, arguments.utilisation)
        if model_arguments.dtype == "float32":
            raise UserError("the peaks known are of bfloat16; for --dtype float32 give a measured run as --calibrate")
    max_tokens = usable_window(load_config(model_arguments), arguments.max_length)
    tokenizer = load_tokenizer(ModelArguments(arguments.tokenizer) if arguments.tokenizer else model_arguments)
    errors = Console(stderr=True)
    sessions = track(
        open_source(data_arguments), "reading", transient=True, console=errors, disable=not errors.is_terminal
    )
    work = estimate_work(sessions, tokenizer, shape, part, max_tokens, arguments.protocol, n_devices // shards)
    if not work.n_response_tokens:
        raise UserError(f"no response of {data_arguments.data} stands in the text that is scored; try --protocol full")
    memory = estimate_memory(part, work, device, model_arguments.dtype, quantization(model_arguments))
    spread = int(memory.n_devices <= n_devices and shards == 1)
    n_copies = n_devices // shards if memory.n_devices == 1 else spread
    is_divisible = n_copies > 0 and memory.n_devices > 1 and _is_divisible(model_arguments, n_devices)
    return Plan(shape, work, memory, speed, n_devices, device, n_copies, shards, is_divisible)


def _is_divisible(model_arguments: ModelArguments, shards: int) -> bool:
    try:
        check_divisible(model_arguments, shards)
    except UserError:
        return False
    return True
