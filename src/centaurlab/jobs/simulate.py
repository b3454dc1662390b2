"""The command that lets a model act: people's sessions answered anew."""

from pathlib import Path

from centaurlab.data.source import DataArguments
from centaurlab.display.tables import rows_of
from centaurlab.display.terminal import show
from centaurlab.jobs.command import Command
from centaurlab.models.arguments import ModelArguments
from centaurlab.runs.addresses import say_where
from centaurlab.runs.integrity import read_json
from centaurlab.runs.tracker import TrackingArguments
from centaurlab.runtime.errors import IncompleteError
from centaurlab.runtime.processes import keep_freed_memory
from centaurlab.simulation.arguments import SimulateArguments

DESCRIPTION = """Let a model act: every person's session answered anew, the model's own answers in the history.

examples:
  centaurlab simulate --model gemma-3-270m --data starter --max_participants 8 --replicates 4 \\
      --output_dir runs/sim-base
  accelerate launch -m centaurlab simulate --model Qwen/Qwen3-8B-Base --data marcelbinz/Psych-201-test \\
      --studies guenther2020TS,little2024 --output_dir runs/sim-qwen3
  centaurlab simulate --model gemma-3-270m --data my_sessions.jsonl --temperature 0.7 --output_dir runs/sim-mine
  centaurlab simulate --model gemma-3-270m --simulators kool_2016_when --allow_simulators --max_participants 20 \\
      --output_dir runs/sim-kool

Answers are drawn from the options offered; what probability the model gave to anything else is in the table. The same
command again simulates only what is missing. Output: simulated.jsonl.gz, which every command reads as --data,
simulated.parquet, run.json (see docs/simulating.md). Exit code 1: some sessions could not be simulated, the others are.
"""


def run(model: ModelArguments, data: DataArguments, asked: SimulateArguments, tracking: TrackingArguments) -> None:
    """Simulate, and print what of each study, also where sessions are missing."""
    # Here and not above: they import torch, and --help answers without it.
    from accelerate import PartialState

    from centaurlab.simulation.run import simulate

    keep_freed_memory()
    folder = Path(asked.output_dir)
    try:
        simulate(model, data, asked, tracking)
    except IncompleteError:
        if PartialState().is_main_process:
            _print(folder)
        raise
    if PartialState().is_main_process:
        _print(folder)
        say_where(folder, tracking)


def _print(folder: Path) -> None:
    about = read_json(folder / "run.json")
    counted = ("feedback", "people", "sessions", "answers", "cut", "incomplete", "failed", "off_option_nats")
    rows = [[study, *(known[name] for name in counted)] for study, known in about["studies"].items()]
    titles = ("study", *counted[:-1], "off-option (nats)")
    note = (
        "feedback: whether what is told answers what the model did; cut: beyond the context window; incomplete: words "
        "that did not end; off-option: −log of the probability of all options together, mean over choices"
    )
    title = f"{about['model']['name']} in the place of {about['data']['name']}"
    speed = about["speed"]
    lines = f"{speed['tokens_computed_now']:,} tokens computed now, {speed['wall_seconds']:,.0f} s"
    show(rows_of(title, titles, rows, note), lines, f"{about['verdict']}: {folder / 'simulated.jsonl.gz'}")


COMMAND = Command(DESCRIPTION, (ModelArguments, DataArguments, SimulateArguments, TrackingArguments), run)
