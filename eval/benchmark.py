"""Time scoring against a plain loop over full logits, and against the machine's own ceiling; or training.

examples:
  python eval/benchmark.py --model_name_or_path gemma-3-270m --output_dir runs/benchmark
  python eval/benchmark.py --model_name_or_path Qwen/Qwen3-8B-Base --data marcelbinz/Psych-201-test \\
      --max_tokens 16384 --output_dir runs/benchmark-qwen3
  python eval/benchmark.py --train --model_name_or_path gemma-3-270m --min_tokens 600 --max_tokens 1024 \\
      --output_dir runs/benchmark-training

Each contestant runs in a process of its own, once a round. "plain" is batch 1 with logits at every position, started
as its user would; "plain, memory kept" has the allocator settings that our scripts give themselves. With --train, plain
is transformers' Trainer; both train LoRA adapters, one session a step. Output: timings.csv, run.json.
"""

import dataclasses
import json
from pathlib import Path

import pandas as pd

from centaurlab.data.source import DataArguments
from centaurlab.models.arguments import ModelArguments
from centaurlab.models.identity import identify
from centaurlab.runs.folder import RunFolder
from centaurlab.runs.provenance import provenance
from centaurlab.runs.tracker import Tracker, TrackingArguments
from centaurlab.runtime import terminal
from centaurlab.runtime.arguments import parse_arguments
from centaurlab.runtime.errors import exit_on_user_error
from centaurlab.runtime.processes import keep_freed_memory
from centaurlab.scoring.benchmark import (
    BenchmarkArguments,
    Timing,
    _largest_difference,
    _table,
    benchmark_sessions,
    time_contestant,
    time_in_turn,
    time_scoring,
)


def main() -> None:
    model_args, data_args, arguments, tracking = parse_arguments(
        [ModelArguments, DataArguments, BenchmarkArguments, TrackingArguments], __doc__
    )
    if arguments.contestant:
        timing = run_contestant(arguments.contestant, model_args, data_args, arguments)
        print(json.dumps(dataclasses.asdict(timing)))
        return
    folder = RunFolder(Path(arguments.output_dir), "benchmark")
    folder.check_job()
    contestants = ("plain", "plain_kept_memory", "ours", *([] if arguments.train else ["ceiling"]))
    timed = time_in_turn(contestants, arguments.rounds)
    plain, kept, ours = timed["plain"], timed["plain_kept_memory"], timed["ours"]
    timings = {"plain": plain, "plain, memory kept": kept, "centaurlab": ours}
    figures = {
        "tokens": ours.tokens,
        "speed_ratio": ours.tokens_per_second / plain.tokens_per_second,
        "speed_ratio_same_allocator": ours.tokens_per_second / kept.tokens_per_second,
        "memory_ratio": ours.peak_memory_bytes / plain.peak_memory_bytes,
    }
    lines = [f"against plain with the same allocator: {figures['speed_ratio_same_allocator']:.2f} times the speed"]
    if arguments.train:
        figures["largest_loss_difference"] = _largest_difference(plain, ours)
        lines.append(f"largest difference of a step's loss: {figures['largest_loss_difference']:.1e} nats")
    else:
        timings["ceiling"] = timed["ceiling"]
        figures["of_ceiling"] = timings["ceiling"].seconds / ours.seconds
        exact = [time_contestant(name, ("--dtype", "float32", "--sessions", "1")) for name in ("plain", "ours")]
        figures["largest_nll_difference_float32"] = _largest_difference(*exact)
        lines += [
            f"of the ceiling (our matrix products and attention calls alone): {figures['of_ceiling']:.2f}",
            f"largest difference of an NLL in float32: {figures['largest_nll_difference_float32']:.1e} nats",
        ]
    console = terminal.console()
    console.print(f"{model_args.model_name_or_path}, {model_args.dtype}, {ours.tokens:,} tokens", highlight=False)
    console.print(_table(timings))
    console.print("\n".join(lines))
    config = dataclasses.asdict(model_args) | dataclasses.asdict(data_args) | dataclasses.asdict(arguments)
    with folder.lock():
        folder.write_json("config.json", config)
        with Tracker(folder, tracking, config):  # not before: trackers would share the cores with what is timed
            rows = [{"contestant": name} | dataclasses.asdict(timing) for name, timing in timings.items()]
            pd.DataFrame(rows).drop(columns="nll").to_csv(folder.path / "timings.csv", index=False)
            speed = {"tokens_per_second": ours.tokens_per_second, "peak_memory_bytes": ours.peak_memory_bytes}
            folder.log(figures | speed)
            about = {"job": folder.job, "model": identify(model_args).as_dict()}
            folder.write_json("run.json", provenance() | about | {"figures": figures})
    print(f"timings: {folder.path / 'timings.csv'}")


def run_contestant(
    contestant: str, model_args: ModelArguments, data_args: DataArguments, arguments: BenchmarkArguments
) -> Timing:
    """Time one contestant in this process."""
    if contestant != "plain":
        keep_freed_memory()
    encodings = benchmark_sessions(model_args, data_args, arguments)
    if not arguments.train:
        return time_scoring(contestant, model_args, encodings)
    from centaurlab.training.benchmark import time_training

    return time_training(model_args, encodings, plain=contestant != "ours")


if __name__ == "__main__":
    exit_on_user_error(main)
