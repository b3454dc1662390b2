"""The command that times scoring or training against a plain loop."""

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from centaurlab.data.source import DataArguments
from centaurlab.display.terminal import show
from centaurlab.jobs.command import Command
from centaurlab.models.arguments import ModelArguments
from centaurlab.models.identity import identify
from centaurlab.runs.addresses import say_where
from centaurlab.runs.folder import WRITTEN, RunFolder
from centaurlab.runs.provenance import provenance
from centaurlab.runs.tracker import Tracker, TrackingArguments
from centaurlab.runtime.arguments import as_typed
from centaurlab.runtime.processes import keep_freed_memory
from centaurlab.runtime.terminal import say
from centaurlab.scoring.arguments import BenchmarkArguments

if TYPE_CHECKING:
    from centaurlab.scoring.benchmark import Timing

DESCRIPTION = """Time scoring against a plain loop over full logits, and against the machine's own ceiling; or training.

examples:
  centaurlab benchmark --model gemma-3-270m --output_dir runs/benchmark
  centaurlab benchmark --model Qwen/Qwen3-8B-Base --data marcelbinz/Psych-201-test --max_tokens 16384 \\
      --output_dir runs/benchmark-qwen3
  centaurlab benchmark --model gemma-3-270m --peers lm-eval minicons --requests 10 --output_dir runs/benchmark-peers
  centaurlab benchmark --simulate --model gemma-3-270m --sessions 2 --output_dir runs/benchmark-simulation
  centaurlab benchmark --train --model gemma-3-270m --min_tokens 600 --max_tokens 1024 \\
      --output_dir runs/benchmark-training

Each contestant runs in a process of its own, once a round. "plain" is batch 1 with logits at every position, started
as its user would; "plain, memory kept" has the allocator settings that our commands give themselves. A peer computes
the whole history for every response and is asked for --requests of them. With --train, plain is transformers' Trainer;
both train LoRA adapters, one session a step. With --simulate, free runs of sessions of --answers choices stand against
scoring as many, and against a call of generate for every answer. Output: timings.csv, run.json.
"""


def run(model: ModelArguments, data: DataArguments, asked: BenchmarkArguments, tracking: TrackingArguments) -> None:
    """Time the contestants in turn, or be one of them."""
    # Here and not above: it imports torch, and --help answers without it.
    from centaurlab.scoring.benchmark import largest_difference, time_contestant, time_in_turn, timing_table
    from centaurlab.scoring.peers import spread

    if asked.contestant:
        print(json.dumps(_contestant(asked.contestant, model, data, asked)))
        return
    if asked.simulate:
        _time_simulation(model, data, asked, tracking)
        return
    folder = RunFolder(Path(asked.output_dir), "benchmark")
    folder.check_job()
    options = as_typed(model, data, asked)
    contestants = ("plain", "plain_kept_memory", "ours", *([] if asked.train else ["ceiling"]), *asked.peers)
    timed = time_in_turn(contestants, asked.rounds, options)
    plain, kept, ours = timed["plain"], timed["plain_kept_memory"], timed["ours"]
    timings = {"plain": plain, "plain, memory kept": kept, "centaurlab": ours}
    figures = {
        "tokens": ours.tokens,
        "speed_ratio": ours.tokens_per_second / plain.tokens_per_second,
        "speed_ratio_same_allocator": ours.tokens_per_second / kept.tokens_per_second,
        "memory_ratio": ours.peak_memory_bytes / plain.peak_memory_bytes,
    }
    lines = [f"against plain with the same allocator: {figures['speed_ratio_same_allocator']:.2f} times the speed"]
    if asked.train:
        figures["largest_loss_difference"] = largest_difference(plain, ours)
        lines.append(f"largest difference of a step's loss: {figures['largest_loss_difference']:.1e} nats")
    else:
        timings |= {name: timed[name] for name in ("ceiling", *asked.peers)}
        figures["of_ceiling"] = timings["ceiling"].seconds / ours.seconds
        exactly = [*options, "--dtype", "float32", "--sessions", "1"]
        exact = {name: time_contestant(name, exactly) for name in ("plain", "ours", *asked.peers)}
        figures["largest_nll_difference_float32"] = largest_difference(exact["plain"], exact["ours"])
        lines += [
            f"of the ceiling (our matrix products and attention calls alone): {figures['of_ceiling']:.2f}",
            f"largest difference of an NLL in float32: {figures['largest_nll_difference_float32']:.1e} nats",
        ]
        for name in asked.peers:
            chosen = spread(len(exact["ours"].nll), asked.requests)
            nll = [exact["ours"].nll[i] for i in chosen]
            difference = largest_difference(exact[name], replace(exact["ours"], nll=nll))
            ratio = ours.responses_per_second / timed[name].responses_per_second
            figures |= {f"responses_ratio_{name}": ratio, f"largest_nll_difference_float32_{name}": difference}
            lines.append(
                f"{name}, asked for {len(timed[name].nll)} of {len(ours.nll)} responses, evenly spread: ours has "
                f"{ratio:,.0f} times its responses per second; largest difference of an NLL in float32: "
                f"{difference:.1e} nats"
            )
    show(f"{model.model_name_or_path}, {model.dtype}, {ours.tokens:,} tokens", timing_table(timings), *lines)
    speed = {"tokens_per_second": ours.tokens_per_second, "peak_memory_bytes": ours.peak_memory_bytes}
    _write(folder, (model, data, asked), tracking, timings, figures, speed)


def _time_simulation(
    model: ModelArguments, data: DataArguments, asked: BenchmarkArguments, tracking: TrackingArguments
) -> None:
    """Time free runs, scoring as many sessions, and a call of ``generate`` for every answer."""
    # Here and not above: it imports torch, and --help answers without it.
    from centaurlab.scoring.benchmark import time_in_turn
    from centaurlab.simulation.benchmark import CONTESTANTS, seconds_per_session, simulation_table

    folder = RunFolder(Path(asked.output_dir), "benchmark")
    folder.check_job()
    timed = time_in_turn(CONTESTANTS, asked.rounds, as_typed(model, data, asked))
    seconds = seconds_per_session(timed, asked.sessions)
    figures = {
        "simulate_over_score": seconds["simulate"] / seconds["score"],
        "generate_over_simulate": seconds["generate"] / seconds["simulate"],
    }
    show(
        f"{model.model_name_or_path}, {model.dtype}, sessions of {asked.answers} answers",
        simulation_table(timed, asked.sessions),
        f"a free run costs {figures['simulate_over_score']:.2f} times the scoring of as many sessions",
        f"a call of generate for every answer takes {figures['generate_over_simulate']:.1f} times as long",
    )
    _write(folder, (model, data, asked), tracking, timed, figures, {})


def _write(
    folder: RunFolder,
    arguments: tuple[ModelArguments, DataArguments, BenchmarkArguments],
    tracking: TrackingArguments,
    timings: Mapping[str, "Timing"],
    figures: dict[str, float],
    speed: dict[str, float],
) -> None:
    config = asdict(arguments[0]) | asdict(arguments[1]) | asdict(arguments[2])
    with folder.lock():
        folder.write_json("config.json", config)
        with Tracker(folder, tracking, config):  # not before: trackers would share the cores with what is timed
            rows = [{"contestant": name} | asdict(timing) for name, timing in timings.items()]
            folder.write_table("timings.csv", pd.DataFrame(rows).drop(columns="nll"))
            folder.log(figures | speed)
            about = {"job": folder.job, "model": identify(arguments[0]).as_dict()}
            folder.finish(provenance() | about | {"figures": figures, WRITTEN: ["timings.csv"]})
    say(f"timings: {folder.path / 'timings.csv'}")
    say_where(folder.path, tracking)


def _contestant(name: str, model: ModelArguments, data: DataArguments, asked: BenchmarkArguments) -> dict[str, object]:
    """Time one contestant in this process."""
    # Here and not above: they import torch, and --help answers without it.
    from centaurlab.scoring.benchmark import benchmark_prompts, benchmark_sessions, time_peer, time_scoring
    from centaurlab.simulation.benchmark import sessions_of_answers, time_contestant
    from centaurlab.training.benchmark import time_training

    if name not in ("plain", "generate"):
        keep_freed_memory()
    if name in asked.peers:
        return asdict(time_peer(name, model, benchmark_prompts(model, data, asked), asked.requests))
    if asked.simulate:
        return asdict(time_contestant(name, model, sessions_of_answers(data, asked.sessions, asked.answers)))
    encodings = benchmark_sessions(model, data, asked)
    timing = (
        time_training(model, encodings, plain=name != "ours") if asked.train else time_scoring(name, model, encodings)
    )
    return asdict(timing)


COMMAND = Command(DESCRIPTION, (ModelArguments, DataArguments, BenchmarkArguments, TrackingArguments), run)
