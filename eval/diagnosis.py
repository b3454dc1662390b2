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

from dataclasses import asdict
from pathlib import Path

import pandas as pd
from accelerate import PartialState

from centaurlab.analyses.diagnosis import PARTS, _print, diagnose, diagnosis_table, save_diagnosis_figure, verdict
from centaurlab.data.source import DataArguments
from centaurlab.jobs.diagnosis import DiagnosisArguments
from centaurlab.jobs.job import asked_of, check_scored, score_models
from centaurlab.models.arguments import ModelArguments
from centaurlab.results.run import scored_data, scored_models
from centaurlab.runs.folder import RunFolder
from centaurlab.runs.provenance import provenance
from centaurlab.runs.tracker import Tracker, TrackingArguments
from centaurlab.runtime.arguments import parse_arguments
from centaurlab.runtime.errors import exit_on_user_error
from centaurlab.runtime.processes import keep_freed_memory
from centaurlab.scoring.arguments import ScoreArguments
from centaurlab.stats.estimate import CONFIDENCE


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


if __name__ == "__main__":
    exit_on_user_error(main)
