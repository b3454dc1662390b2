"""Time scoring against a plain loop over full logits, and against the machine's own ceiling.

examples:
  python eval/benchmark.py --model_name_or_path gemma-3-270m
  python eval/benchmark.py --model_name_or_path Qwen/Qwen3-8B-Base --data marcelbinz/Psych-201-test --max_tokens 16384

Each contestant runs in a process of its own. "plain" is batch 1 with logits at every position, started as its
user would; "plain, memory kept" has the allocator settings that our scripts give themselves.
"""

import dataclasses
import json
from pathlib import Path

import numpy as np
from rich.table import Table

from centaurlab import terminal
from centaurlab.arguments import parse_arguments
from centaurlab.benchmark import BenchmarkArguments, run_contestant, time_contestant
from centaurlab.errors import exit_on_user_error
from centaurlab.models import ModelArguments
from centaurlab.sources import DataArguments


def main() -> None:
    model_args, data_args, arguments = parse_arguments([ModelArguments, DataArguments, BenchmarkArguments], __doc__)
    if arguments.contestant:
        run_contestant(arguments.contestant, model_args, data_args, arguments)
        return
    plain, kept, ours = (time_contestant(name) for name in ("plain", "plain_kept_memory", "ours"))
    ceiling = time_contestant("ceiling")
    exact = [time_contestant(name, ("--dtype", "float32", "--sessions", "1")) for name in ("plain", "ours")]
    figures = {
        "tokens": ours.tokens,
        "responses": len(ours.nll),
        "speed_ratio": ours.tokens_per_second / plain.tokens_per_second,
        "speed_ratio_same_allocator": ours.tokens_per_second / kept.tokens_per_second,
        "memory_ratio": ours.peak_memory_bytes / plain.peak_memory_bytes,
        "of_ceiling": ceiling.seconds / ours.seconds,
        "largest_nll_difference_float32": float(np.abs(np.subtract(exact[0].nll, exact[1].nll)).max()),
        "mean_nll_difference": float(np.mean(np.subtract(ours.nll, plain.nll))),
    }
    table = Table(title=f"{model_args.model_name_or_path}, {model_args.dtype}, {ours.tokens:,} tokens")
    for column in ("contestant", "tokens/s", "peak memory", "speed ×", "memory ×"):
        table.add_column(column, justify="left" if column == "contestant" else "right")
    for name, timing in {"plain": plain, "plain, memory kept": kept, "centaurlab": ours}.items():
        table.add_row(
            name,
            f"{timing.tokens_per_second:,.0f}",
            f"{timing.peak_memory_bytes / 2**30:.2f} GiB",
            f"{timing.tokens_per_second / plain.tokens_per_second:.2f}",
            f"{timing.peak_memory_bytes / plain.peak_memory_bytes:.2f}",
        )
    console = terminal.console()
    console.print(table)
    console.print(
        f"against the plain loop with the same allocator: {figures['speed_ratio_same_allocator']:.2f} times the speed\n"
        f"of the machine's ceiling (its matrix products and attention alone): {figures['of_ceiling']:.2f}\n"
        f"largest difference of an NLL in float32: {figures['largest_nll_difference_float32']:.1e} nats"
    )
    if arguments.output_json:
        contestants = {"plain": plain, "plain_kept_memory": kept, "ours": ours, "ceiling": ceiling}
        timings = {name: dataclasses.asdict(t) | {"nll": None} for name, t in contestants.items()}
        Path(arguments.output_json).write_text(json.dumps(figures | {"timings": timings}, indent=2) + "\n")


if __name__ == "__main__":
    exit_on_user_error(main)
