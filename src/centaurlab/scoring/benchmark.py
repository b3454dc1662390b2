"""How fast scoring is: against the plain loop of published evaluation code, and against the machine itself.

Each contestant runs in a process of its own on the same sessions. The ceiling is what the machine needs for the
matrix products and attention calls of our run alone: they are recorded once and replayed without the rest.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from tqdm.auto import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from centaurlab.data.source import DataArguments, open_source
from centaurlab.display.tables import Table, rows_of
from centaurlab.models.arguments import ModelArguments
from centaurlab.models.loading import load_model, load_tokenizer
from centaurlab.models.passes import check_known
from centaurlab.prompts.encoding import Encoding, encode_prompt
from centaurlab.prompts.prompt import Prompt, session_prompt
from centaurlab.runs.provenance import peak_memory
from centaurlab.runtime.errors import UserError
from centaurlab.runtime.names import shown
from centaurlab.scoring.arguments import BenchmarkArguments
from centaurlab.scoring.peers import SCORERS, requests_of
from centaurlab.scoring.scorer import SessionScorer


@dataclass(frozen=True)
class Timing:
    """What one contestant took and found.

    ``seconds`` for so many ``tokens``, the peak of its memory in bytes, and each response's NLL in nats or, where
    training is timed, each step's loss.
    """

    seconds: float
    tokens: int
    peak_memory_bytes: int
    nll: list[float]

    @property
    def tokens_per_second(self) -> float:
        """Tokens per second, without loading the model and tokenizing."""
        return self.tokens / self.seconds

    @property
    def responses_per_second(self) -> float:
        """Responses per second; 0 of a contestant that has none."""
        return len(self.nll) / self.seconds


def benchmark_sessions(
    model_args: ModelArguments, data_args: DataArguments, arguments: BenchmarkArguments
) -> list[Encoding]:
    """The sessions of ``benchmark_prompts`` as tokens."""
    tokenizer = load_tokenizer(model_args)
    return [encode_prompt(prompt, tokenizer) for prompt in benchmark_prompts(model_args, data_args, arguments)]


def benchmark_prompts(
    model_args: ModelArguments, data_args: DataArguments, arguments: BenchmarkArguments
) -> list[Prompt]:
    """Choose the sessions to time, of different studies first.

    Raises ``UserError`` where no session has the wanted length.
    """
    prompts = list(islice(_sessions(load_tokenizer(model_args), data_args, arguments), arguments.sessions))
    if not prompts:
        raise UserError(
            f"{data_args.data} has no session of {arguments.min_tokens} to {arguments.max_tokens} tokens; "
            "change --min_tokens or --max_tokens"
        )
    return prompts


def time_scoring(contestant: str, model_args: ModelArguments, encodings: list[Encoding]) -> Timing:
    """Time one contestant in this process.

    It is warm: the shortest session has been scored before, or all, where they had to be recorded for the ceiling.

    Parameters
    ----------
    contestant
        ``ours``, ``plain`` (batch 1, logits at every position), or ``ceiling`` (the matrix products of ours alone).
    model_args
        The model that all contestants score with.
    encodings
        The sessions.

    Returns
    -------
    Timing
        Seconds and tokens without loading, peak memory in bytes, NLLs in nats (none of the ceiling).
    """
    device = torch.accelerator.current_accelerator() or torch.device("cpu")
    model = load_model(model_args, device)
    check_known(model, *(encoding.input_ids_T for encoding in encodings))
    nll: list[float] = []
    if contestant == "ceiling":
        run = _matrix_products(model, encodings)
    else:
        # A scorer changes the model's attention: the plain loop must not have one.
        ours = SessionScorer(model) if contestant == "ours" else None
        score: Callable[[Encoding], Any] = ours.score if ours else lambda e: _plain_nll(model, e)
        score(min(encodings, key=lambda e: len(e.input_ids_T)))

        def run() -> None:
            scores = [score(encoding) for encoding in encodings]
            nll[:] = [float(x) for s in scores for x in (s.scores.nll_R if ours else s)]

    return Timing(
        seconds=_seconds(run),
        tokens=sum(len(e.input_ids_T) for e in encodings),
        peak_memory_bytes=peak_memory_bytes(),
        nll=nll,
    )


def time_peer(peer: str, model_args: ModelArguments, prompts: list[Prompt], n_requests: int) -> Timing:
    """Time ``peer`` in this process on ``n_requests`` of the responses; ``tokens`` are those that it computes."""
    device = torch.accelerator.current_accelerator() or torch.device("cpu")
    tokenizer = load_tokenizer(model_args)
    score = SCORERS[peer](load_model(model_args, device), tokenizer)
    requests = requests_of(prompts, n_requests)
    score(requests[:1])
    nll: list[float] = []
    seconds = _seconds(lambda: nll.extend(-log_p for log_p in score(requests)))
    n_tokens = sum(len(tokenizer(context + answer).input_ids) for context, answer in requests)
    return Timing(seconds, n_tokens, peak_memory_bytes(), nll)


def peak_memory_bytes() -> int:
    """The largest memory that this process has taken so far: on its GPU, where there is one, or else resident."""
    peak = peak_memory()
    return peak.get("peak_gpu_memory_bytes", peak["peak_memory_bytes"])


def time_in_turn(contestants: Sequence[str], rounds: int, options: Sequence[str]) -> dict[str, Timing]:
    """Time every contestant ``rounds`` times, each in a process of its own; the fastest round of each counts.

    In every round all have a turn, as a shared machine's speed changes. ``options`` are those of the command.
    """
    turns = tqdm([name for _ in range(rounds) for name in contestants], unit="run", leave=False)
    fastest: dict[str, Timing] = {}
    for name in turns:
        turns.set_description(shown(f"timing {name}"))
        timing = time_contestant(name, options)
        fastest[name] = min(timing, fastest.get(name, timing), key=lambda t: t.seconds)
    return fastest


def time_contestant(contestant: str, options: Sequence[str]) -> Timing:
    """Run the benchmark for one contestant in a fresh process, as its user would start it."""
    command = [sys.executable, "-m", "centaurlab", "benchmark", *options, "--contestant", contestant]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise UserError(f"the {contestant} run failed with exit code {done.returncode}; its message stands above")
    return Timing(**json.loads(done.stdout.splitlines()[-1]))


def _sessions(
    tokenizer: PreTrainedTokenizerBase, data_args: DataArguments, arguments: BenchmarkArguments
) -> Iterator[Prompt]:
    """Sessions of the wanted length, of different studies first; short ones of a study are joined."""
    by_study: dict[str, list[Prompt]] = {}
    texts: dict[str, str] = {}
    for transcript in open_source(data_args):
        if len(by_study.get(transcript.study, ())) == arguments.sessions:
            continue
        text = texts.pop(transcript.study, "") + transcript.text + "\n\n"
        prompt = session_prompt(text)
        n_tokens = len(encode_prompt(prompt, tokenizer).input_ids_T)
        if n_tokens < arguments.min_tokens:
            texts[transcript.study] = text
        elif n_tokens <= arguments.max_tokens:
            by_study.setdefault(transcript.study, []).append(prompt)
    for rank in range(max(map(len, by_study.values()), default=0)):
        for prompts in by_study.values():
            yield from prompts[rank : rank + 1]


@torch.no_grad()
def _plain_nll(model: PreTrainedModel, encoding: Encoding) -> list[float]:
    """Batch 1, logits at every position: what published evaluation code does."""
    ids_T = torch.from_numpy(encoding.input_ids_T.astype(np.int64)).to(model.device)
    logits_TV = model(input_ids=ids_T[None]).logits[0, :-1]
    nll_T = torch.nn.functional.cross_entropy(logits_TV.float(), ids_T[1:], reduction="none").cpu()
    return [float(nll_T[s - 1 : e - 1].sum()) for s, e in zip(encoding.start_R, encoding.end_R, strict=True)]


def _matrix_products(model: PreTrainedModel, encodings: list[Encoding]) -> Callable[[], None]:
    """The matrix products and attention calls of our run on ``encodings``, alone."""
    scorer = SessionScorer(model)
    recorder = _Recorder({parameter.untyped_storage().data_ptr() for parameter in model.parameters()})
    for encoding in encodings:
        with recorder:
            scorer.score(encoding)
    recorder.replay(recorder.calls[:50])
    return lambda: recorder.replay(recorder.calls)


def _seconds(run: Callable[[], None]) -> float:
    _synchronize()
    started = time.perf_counter()
    run()
    _synchronize()
    return time.perf_counter() - started


class _Recorder(TorchDispatchMode):
    """Records matrix products and attention calls: the weights themselves, of activations only the shape."""

    def __init__(self, weights: set[int]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._weights = weights
        self._stand_ins: dict[tuple[Any, ...], torch.Tensor] = {}
        self.calls: list[tuple[Any, tuple[Any, ...], dict[str, Any]]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = func.overloadpacket.__name__
        if name in ("linear", "matmul", "mm", "addmm", "bmm", "baddbmm") or "scaled_dot_product" in name:
            self.calls.append((func, tuple(self._keep(arg) for arg in args), kwargs))
        return func(*args, **kwargs)

    @torch.inference_mode()
    def replay(self, calls: list[tuple[Any, tuple[Any, ...], dict[str, Any]]]) -> None:
        for func, args, kwargs in calls:
            func(*args, **kwargs)

    def _keep(self, arg: Any) -> Any:
        if not isinstance(arg, torch.Tensor) or not arg.is_floating_point():
            return arg
        if arg.untyped_storage().data_ptr() in self._weights:
            return arg
        key = (arg.shape, arg.stride(), arg.dtype)
        if key not in self._stand_ins:
            n_elements = 1 + sum((size - 1) * stride for size, stride in zip(*key[:2], strict=True))
            flat = torch.randn(n_elements, dtype=arg.dtype, device=arg.device)
            self._stand_ins[key] = flat.as_strided(*key[:2])
        return self._stand_ins[key]


def _synchronize() -> None:
    if torch.accelerator.is_available():
        torch.accelerator.synchronize()


def largest_difference(a: Timing, b: Timing) -> float:
    """The largest difference of two contestants in any NLL, or in any step's loss, in nats."""
    return float(np.abs(np.subtract(a.nll, b.nll)).max())


def timing_table(timings: dict[str, Timing]) -> Table:
    """Speed and memory of each contestant, and their ratios to those of the plain loop."""
    plain = timings["plain"]
    rows = (
        (
            name,
            round(timing.tokens_per_second),
            timing.responses_per_second or None,
            f"{timing.peak_memory_bytes / 2**30:.2f} GiB",
            timing.tokens_per_second / plain.tokens_per_second,
            timing.peak_memory_bytes / plain.peak_memory_bytes,
        )
        for name, timing in timings.items()
    )
    return rows_of("", ("contestant", "tokens/s", "responses/s", "peak memory", "speed ×", "memory ×"), rows)
