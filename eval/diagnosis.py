"""Why one model predicts people's choices worse than another: format, calibration or preference, in nats.

examples:
  python eval/diagnosis.py --base runs/gemma --post runs/other --output_dir runs/diagnosis
  python eval/diagnosis.py --base Qwen/Qwen3-8B-Base --post Qwen/Qwen3-8B --data starter --output_dir runs/diagnosis

The difference of the two models' NLLs is the sum of three parts. Calibration: what one temperature per model, fitted on
other participants, makes good. Format: at that temperature, probability outside the options that the session uses.
Preference: the rest, which option is thought likely. Defined where a session's answers are two to ten single tokens for
both models; other responses are left out and counted. Positive: the second model (--post) is worse.
Output: diagnosis.csv, excluded.csv, run.json, a figure. Models that are named and not folders are scored first.
"""

import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

import pandas as pd
from accelerate import PartialState
from rich import box
from rich.table import Table

from centaurlab import terminal
from centaurlab.allocator import keep_freed_memory
from centaurlab.arguments import parse_arguments
from centaurlab.bootstrap import CONFIDENCE
from centaurlab.comparison import scored_data, scored_models
from centaurlab.diagnosis import PARTS, Split, diagnose, diagnosis_table, verdict
from centaurlab.effects import Estimate
from centaurlab.errors import UserError, exit_on_user_error
from centaurlab.figures.saved import save_diagnosis_figure
from centaurlab.measure import ScoreArguments
from centaurlab.misalignment import asked_of, check_scored, score_models
from centaurlab.models import ModelArguments
from centaurlab.runs import RunFolder, provenance
from centaurlab.sources import DataArguments
from centaurlab.tracking import Tracker, TrackingArguments


@dataclass
class DiagnosisArguments:
    """What is held against what."""

    base: str = field(metadata={"help": "folder of scores, or a model: what --post is held against"})
    post: str = field(metadata={"help": "the same; positive parts mean that it is worse"})
    output_dir: str = field(metadata={"help": "folder for diagnosis.csv, excluded.csv and run.json"})
    dtype: str = field(default="bfloat16", metadata={"help": "for models that are scored first"})
    protocol: Literal["full", "paper"] = field(default="full", metadata={"help": "for models that are scored first"})
    max_length: int | None = field(default=None, metadata={"help": "for models that are scored first, in tokens"})
    resamples: int = field(default=2000, metadata={"help": "bootstrap resamples of studies and participants"})
    seed: int = field(default=0, metadata={"help": "seed of the bootstrap"})

    def __post_init__(self) -> None:
        if self.resamples < 1 or self.seed < 0:
            raise UserError("--resamples must be at least 1, and --seed at least 0")


def main() -> None:
    keep_freed_memory()
    args, data_args, tracking_args = parse_arguments([DiagnosisArguments, DataArguments, TrackingArguments], __doc__)
    config = asked_of([args.base, args.post], args, data_args)
    folder = RunFolder(Path(args.output_dir), "diagnosis")
    folder.check_job()
    tracking = tracking_args.grouped(args.output_dir, args.base)
    score_args = ScoreArguments(str(Path(args.output_dir) / "scores"), args.protocol, args.max_length)
    model_args = ModelArguments("", dtype=args.dtype)
    runs, _ = score_models([args.base, args.post], model_args, data_args, score_args, tracking=tracking.part())
    if not PartialState().is_main_process:
        return
    with folder.lock():
        folder.write_json("config.json", config)
        with Tracker(folder, tracking, config):
            split = diagnose(runs[args.base], runs[args.post], args.resamples, args.seed)
            diagnosis_table(split.rows).to_csv(folder.path / "diagnosis.csv", index=False)
            columns = ["study", "excluded", "responses"]
            pd.DataFrame(map(asdict, split.excluded), columns=columns).to_csv(folder.path / "excluded.csv", index=False)
            for part in ("difference", *PARTS):
                estimate = getattr(split.rows[0], part)
                values = {"": estimate.value, "_low": estimate.low, "_high": estimate.high}
                folder.log({f"effect/{part}{end}": value for end, value in values.items()})
            names = {"base": runs[args.base].model, "post": runs[args.post].model}
            said = verdict(names["base"], names["post"], split.rows[0])
            save_diagnosis_figure(split.rows, names["base"], names["post"], folder.path)
            bootstrap = {"resamples": args.resamples, "seed": args.seed, "confidence": CONFIDENCE}
            about = {"job": folder.job, "verdict": said, "bootstrap": bootstrap}
            about |= {"data": scored_data(runs.values()), "models": scored_models(runs)}
            folder.write_json("run.json", provenance() | about | names | asdict(split))
    _print(split)
    print(said)
    print(f"diagnosis: {folder.path / 'diagnosis.csv'}")
    check_scored(runs)


def _print(split: Split) -> None:
    table = Table("study", title="NLL(post) − NLL(base) in nats per choice, with 95 % intervals", box=box.SIMPLE_HEAD)
    for name in ("choices", "difference", *PARTS, "right, base", "right, post"):
        table.add_column(name, justify="right")
    for row in split.rows:
        estimates = (getattr(row, name) for name in ("difference", *PARTS))
        cells = [_cell(estimate) for estimate in estimates]
        table.add_row(row.study, f"{row.responses:,}", *cells, f"{row.accuracy_base:.2f}", f"{row.accuracy_post:.2f}")
    terminal.console().print(table)
    temperatures = ((split.temperatures_base, "base"), (split.temperatures_post, "post"))
    print("temperatures: " + "; ".join(f"{name} {', '.join(f'{t:.2f}' for t in ts)}" for ts, name in temperatures))
    if split.at_bound:
        print("note: a temperature lies at the end of the scored range; calibration is understated")
    for left_out in split.excluded:
        print(
            f"left out: {left_out.excluded:,} of {left_out.responses:,} responses of {left_out.study}: no choice among "
            "two to ten single tokens for both models"
        )


def _cell(estimate: Estimate) -> str:
    interval = f" [{estimate.low:+.2f}, {estimate.high:+.2f}]" if math.isfinite(estimate.low) else ""
    return f"{estimate.value:+.2f}{interval}"


if __name__ == "__main__":
    exit_on_user_error(main)
