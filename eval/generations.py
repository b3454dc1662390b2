"""How base models and post-training do by size and generation: NLLs and effects of whole families of models.

examples:
  python eval/generations.py --pairs qwen2 qwen2.5 qwen3 --data starter --output_dir runs/qwen-generations
  accelerate launch eval/generations.py --pairs all --data marcelbinz/Psych-201-test --output_dir runs/generations
  python eval/generations.py --pairs mine.csv --output_dir runs/mine

Pairs are those of families of the catalog ('centaurlab models' lists them), all of it, or those of CSV files with the
columns post_trained, base, family (the generation) and size_b; a model may be named or be a folder of scores. Models
are scored as by eval/misalignment.py, each once, and only what is missing; one that cannot be scored is left out.
Output: generations.csv, effects.csv, effects.parquet, run.json, figures; 'centaurlab report' makes a page of it.
"""

from dataclasses import asdict
from pathlib import Path

from accelerate import PartialState

from centaurlab.analyses.generations import generation_table, in_words, measure_generations, save_generation_figures
from centaurlab.analyses.misalignment import compare_pairs, print_effects
from centaurlab.catalog.pairs import named_pairs
from centaurlab.data.source import DataArguments
from centaurlab.jobs.generations import GenerationArguments
from centaurlab.jobs.job import asked_of, check_scored, score_models
from centaurlab.models.arguments import LoadArguments, ModelArguments
from centaurlab.runs.folder import RunFolder
from centaurlab.runs.tracker import Tracker, TrackingArguments
from centaurlab.runtime.arguments import parse_arguments
from centaurlab.runtime.errors import UserError, exit_on_user_error
from centaurlab.runtime.processes import keep_freed_memory
from centaurlab.scoring.arguments import ScoreArguments


def main() -> None:
    keep_freed_memory()
    args, load_args, data_args, tracking_args = parse_arguments(
        [GenerationArguments, LoadArguments, DataArguments, TrackingArguments], __doc__
    )
    if args.resamples < 1 or args.seed < 0:
        raise UserError("--resamples must be at least 1, and --seed at least 0")
    pairs = list({(p.base, p.post_trained): p for named in args.pairs for p in named_pairs(named)}.values())
    names = [name for pair in pairs for name in (pair.base, pair.post_trained)]
    config = asked_of(names, args, load_args, data_args)
    folder = RunFolder(Path(args.output_dir), "generations")
    folder.check_job()
    score_args = ScoreArguments(str(Path(args.output_dir) / "scores"), args.protocol, args.max_length)
    tracking = tracking_args.grouped(args.output_dir)
    runs, failures = score_models(
        names, ModelArguments(**asdict(load_args)), data_args, score_args, len(pairs) > 1, tracking.part()
    )
    if not PartialState().is_main_process:
        return
    missing = "; ".join(f"{name}: {reason}" for name, reason in failures.items())
    scored = [pair for pair in pairs if {pair.base, pair.post_trained} <= runs.keys()]
    if not scored:
        raise UserError(f"no pair is left to compare; {missing}")
    with folder.lock():
        folder.write_json("config.json", config)
        with Tracker(folder, tracking, config):
            effects = compare_pairs(folder, scored, runs, args.resamples, args.seed)
            measured = measure_generations(scored, runs, effects, args.resamples, args.seed)
            generation_table(measured).to_csv(folder.path / "generations.csv", index=False)
            save_generation_figures(measured, effects, folder.path)
            verdict = in_words(measured, effects)
            folder.write_json("run.json", folder.read_json("run.json") | {"verdict": verdict})
    print_effects(effects)
    print(f"{verdict}\ngenerations: {folder.path / 'generations.csv'}")
    if failures:
        raise UserError(
            f"{len(pairs) - len(scored)} of {len(pairs)} pairs are missing, as models could not be scored (the same "
            f"command tries them again); {missing}"
        )
    check_scored(runs)


if __name__ == "__main__":
    exit_on_user_error(main)
