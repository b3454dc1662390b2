"""The command that says beforehand what scoring will take."""

from dataclasses import dataclass, field, replace
from pathlib import Path

from centaurlab.data.source import DataArguments
from centaurlab.jobs.command import Command
from centaurlab.models.arguments import ModelArguments
from centaurlab.runtime.arguments import as_typed
from centaurlab.runtime.terminal import say
from centaurlab.scoring.arguments import ScoringArguments

DESCRIPTION = """Say what scoring will take: tokens, operations, memory, hours, and what that assumes.

examples:
  centaurlab plan --model Qwen/Qwen3-32B-Base --data marcelbinz/Psych-201-test --devices 4xH100
  centaurlab plan --model gemma-3-270m --data starter --devices cpu --calibrate runs/gemma
  centaurlab plan --model Qwen/Qwen3-32B-Base --data my-studies/ --devices RTX4090 --load_in_4bit
  centaurlab plan --model Qwen/Qwen3-32B-Base --data my-studies/ --devices 8xRTX4090 --tensor_parallel 4

Of the model it needs configuration and tokenizer alone. Malformed sessions are left out.
"""


_ESTIMATED = ("protocol", "max_length", "tensor_parallel")


@dataclass
class PlanOptions:
    """On what, and how fast that is."""

    devices: str = field(metadata={"help": "such as 4xH100, RTX4090, or cpu (with --calibrate)"})
    calibrate: str | None = field(
        default=None, metadata={"help": "finished run of 'centaurlab score', whose speed replaces the assumption"}
    )
    utilisation: float | None = field(
        default=None, metadata={"help": "share of the device's peak that is assumed (default: by size and length)"}
    )
    tokenizer: str | None = field(
        default=None, metadata={"help": "model whose tokens are counted (default: the model's own)"}
    )


def run(asked: PlanOptions, model: ModelArguments, data: DataArguments, scoring: ScoringArguments) -> None:
    """Plan, and print."""
    # Here and not above: they import torch, and --help answers without it.
    from centaurlab.cli.plan_table import print_plan
    from centaurlab.models.loading import load_config
    from centaurlab.models.shape import window_notes
    from centaurlab.scoring.cost import PlanArguments, make_plan

    arguments = PlanArguments(
        asked.devices,
        scoring.protocol,
        scoring.max_length,
        asked.utilisation,
        Path(asked.calibrate) if asked.calibrate else None,
        asked.tokenizer,
        scoring.tensor_parallel,
    )
    plan = make_plan(model, replace(data, on_malformed="skip"), arguments)
    for note in window_notes(load_config(model), scoring.max_length):
        say(f"note: {note}")
    if ignored := [word for word in as_typed(scoring, but=_ESTIMATED) if word.startswith("--")]:
        say(f"note: the estimate is the same with and without {', '.join(ignored)}")
    print_plan(plan, model, data, scoring)


COMMAND = Command(DESCRIPTION, (PlanOptions, ModelArguments, DataArguments, ScoringArguments), run)
