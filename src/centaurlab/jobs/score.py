"""The command that scores one model on human responses."""

from pathlib import Path

from centaurlab.data.source import DataArguments
from centaurlab.jobs.command import Command
from centaurlab.models.arguments import ModelArguments
from centaurlab.runs.addresses import say_where
from centaurlab.runs.tracker import TrackingArguments
from centaurlab.runtime.errors import IncompleteError
from centaurlab.runtime.processes import keep_freed_memory
from centaurlab.scoring.arguments import ScoreArguments

DESCRIPTION = """Score human responses with a language model: one negative log-likelihood per response.

examples:
  centaurlab score --model gemma-3-270m --data starter --output_dir runs/gemma
  accelerate launch -m centaurlab score --model Qwen/Qwen3-8B-Base --data marcelbinz/Psych-201-test \\
      --output_dir runs/qwen3-8b
  centaurlab score --model gemma-3-270m --data my_sessions.jsonl --protocol paper --dtype float32 \\
      --output_dir runs/mine
  centaurlab score --model gemma-3-270m --data my_sessions.jsonl --precision 0.1 --output_dir runs/quick

With --precision people are scored in random order until the mean NLL over the studies is known as well as asked.
The same command again computes only what is missing. Output: scores.parquet, run.json (see docs/files.md). Exit code 1:
some sessions could not be scored (run.json names them), the others are.
"""


def run(model: ModelArguments, data: DataArguments, scoring: ScoreArguments, tracking: TrackingArguments) -> None:
    """Score, and print the table of the run, also where it lacks sessions."""
    # Here and not above: they import torch, and --help answers without it.
    from accelerate import PartialState

    from centaurlab.analyses.scores import print_run
    from centaurlab.scoring.run import measure

    keep_freed_memory()
    folder = Path(scoring.output_dir)
    try:
        measure(model, data, scoring, tracking)
    except IncompleteError:
        if PartialState().is_main_process:
            print_run(folder)
        raise
    if PartialState().is_main_process:
        print_run(folder)
        say_where(folder, tracking)


COMMAND = Command(DESCRIPTION, (ModelArguments, DataArguments, ScoreArguments, TrackingArguments), run)
