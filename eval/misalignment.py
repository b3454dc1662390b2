"""Compare how well models predict people: effect sizes per study, domain and overall, with 95 % intervals.

examples:
  python eval/misalignment.py --base runs/gemma --post runs/other --output_dir runs/effect
  accelerate launch eval/misalignment.py --base Qwen/Qwen3-8B-Base --post Qwen/Qwen3-8B --data starter \\
      --output_dir runs/qwen3-8b
  python eval/misalignment.py --base Qwen/Qwen3-8B-Base --post Qwen/Qwen3-8B --data starter --precision 0.05 \\
      --output_dir runs/qwen3-8b
  python eval/misalignment.py --pairs qwen3 --data starter --output_dir runs/qwen3

Models are named, or given as folders of scores (eval/score.py). Named ones are first scored into
<output_dir>/scores, each once, and only what is missing. --pairs compares many: those of a family of the catalog
('centaurlab models' lists them), all of it, or those of a CSV file with the columns post_trained and base and, to
average by, post_training and family. Of many, a model that cannot be scored is left out and named at the end (with
several processes, the run stops). Positive effects: the post-trained model predicts people worse.
With --precision both models are scored on people in random order until d is known as well as asked.
Output: effects.parquet, effects.csv, run.json, figures (see README.md); 'centaurlab report' makes a page of it.
Exit code 1: some sessions could not be scored, and the effects are over the others.
"""

from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from accelerate import PartialState

from centaurlab.analyses.misalignment import compare_pairs, print_effects, sample_notes, save_effect_figures
from centaurlab.data.source import DataArguments
from centaurlab.jobs.job import asked_of, check_scored, score_models, scores_so_far
from centaurlab.jobs.misalignment import MisalignmentArguments, score_until_precise
from centaurlab.models.arguments import LoadArguments, ModelArguments
from centaurlab.runs.folder import RunFolder
from centaurlab.runs.tracker import Tracker, TrackingArguments
from centaurlab.runtime.arguments import parse_arguments
from centaurlab.runtime.errors import IncompleteError, UserError, exit_on_user_error
from centaurlab.runtime.processes import keep_freed_memory
from centaurlab.scoring.arguments import ScoreArguments


def main() -> None:
    keep_freed_memory()
    args, load_args, data_args, tracking_args = parse_arguments(
        [MisalignmentArguments, LoadArguments, DataArguments, TrackingArguments], __doc__
    )
    pairs = args.asked_pairs()
    names = [name for pair in pairs for name in (pair.base, pair.post_trained)]
    config = asked_of(names, args, load_args, data_args)
    folder = RunFolder(Path(args.output_dir), "misalignment")
    folder.check_job()
    score_args = ScoreArguments(str(Path(args.output_dir) / "scores"), args.protocol, args.max_length)
    model_args = ModelArguments(**asdict(load_args))
    tracking = tracking_args.grouped(args.output_dir, args.base)
    failures: dict[str, str] = {}
    if args.precision is None:
        runs, failures = score_models(names, model_args, data_args, score_args, len(pairs) > 1, tracking.part())
    else:
        with suppress(IncompleteError):  # of what is there first the effects, then the error again
            score_until_precise(pairs[0], model_args, data_args, score_args, args.precision, tracking.part())
        runs = scores_so_far(names, score_args) if PartialState().is_main_process else {}
    if not PartialState().is_main_process:
        return
    missing = "; ".join(f"{name}: {reason}" for name, reason in failures.items())
    comparable = [pair for pair in pairs if {pair.base, pair.post_trained} <= runs.keys()]
    if not comparable:
        raise UserError(f"no pair is left to compare; {missing}")
    with folder.lock():
        folder.write_json("config.json", config)
        with Tracker(folder, tracking, config):
            effects = compare_pairs(folder, comparable, runs, args.resamples, args.seed)
            save_effect_figures(effects, folder.path)
    print_effects(effects)
    for pair in comparable:
        if runs[pair.base].fingerprint == runs[pair.post_trained].fingerprint:
            print(f"note: {pair.base} and {pair.post_trained} are the same model, by the fingerprint")
    for note in sample_notes(runs.values()):
        print(f"note: {note}")
    print(f"effects: {folder.path / 'effects.csv'}")
    if failures:
        raise UserError(
            f"{len(pairs) - len(comparable)} of {len(pairs)} pairs are missing, as models could not be scored (the "
            f"same command tries them again); {missing}"
        )
    check_scored(runs)


if __name__ == "__main__":
    exit_on_user_error(main)
