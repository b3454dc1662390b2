"""Hold models against each other by two qualities: predicting people, and being a good assistant.

example:
  python eval/frontier.py --base gemma-3-270m --data starter --participants test --max_participants 4 \\
      --models sft=runs/posttrain replay=runs/posttrain-replay kl=runs/posttrain-kl \\
      centaur=runs/centaur-after half=runs/interpolated/alpha-0.5 --output_dir runs/frontier

Each model is a name of its own and a model: NAME=MODEL. d is against the base model: below 0, people are predicted
better. Assistant accuracy: share of held-out starter-assistant items whose right answer is more probable than the
wrong one (guessing: 0.5). Given again, the same command computes only what is missing.
Output: frontier.csv, figures/, run.json, and the folders of scores.
"""

from dataclasses import asdict, replace
from pathlib import Path

from accelerate import PartialState

from centaurlab.analyses.frontier import Standing, frontier_table, verdict
from centaurlab.data.source import DataArguments
from centaurlab.display.figures.posttraining import frontier_figure
from centaurlab.display.figures.style import save_figure
from centaurlab.jobs.frontier import FrontierArguments, named_models
from centaurlab.jobs.job import check_scored, score_models
from centaurlab.models.arguments import ModelArguments
from centaurlab.results.run import scored_data
from centaurlab.runs.folder import RunFolder
from centaurlab.runs.provenance import provenance
from centaurlab.runs.tracker import Tracker, TrackingArguments
from centaurlab.runtime import terminal
from centaurlab.runtime.arguments import parse_arguments
from centaurlab.runtime.errors import exit_on_user_error
from centaurlab.runtime.processes import keep_freed_memory
from centaurlab.scoring.arguments import ScoreArguments
from centaurlab.scoring.assistant import assistant_quality, held_out_items
from centaurlab.stats.effects import compare, estimate_effects


def main() -> None:
    keep_freed_memory()
    args, data_args, tracking_args = parse_arguments([FrontierArguments, DataArguments, TrackingArguments], __doc__)
    folder = RunFolder(Path(args.output_dir), "frontier")
    folder.check_job()
    models = named_models([f"base={args.base}", *args.models])
    model_args = ModelArguments("", dtype=args.dtype, load_in_4bit=args.load_in_4bit)
    score_args = ScoreArguments(str(folder.path / "scores"), "full", args.max_length)
    tracking = tracking_args.grouped(args.output_dir, args.base)
    runs, _ = score_models(
        [known.model for known in models], model_args, data_args, score_args, tracking=tracking.part()
    )
    if not PartialState().is_main_process:
        return
    config = asdict(args) | asdict(data_args)
    with folder.lock():
        folder.write_json("config.json", config)
        (folder.path / "metrics.jsonl").unlink(missing_ok=True)  # those of an earlier call, computed anew
        with Tracker(folder, tracking, config):
            items = held_out_items(args.items)
            standings, about = [], []
            for number, known in enumerate(models):
                asked = replace(model_args, model_name_or_path=known.model)
                quality = assistant_quality(asked, items, runs[known.model].folder)
                pair = compare(runs[args.base], runs[known.model])
                overall = estimate_effects([pair], args.resamples, args.seed)[0] if number else None
                standings.append(Standing(known.name, known.model, overall, quality.overall))
                run = runs[known.model]
                identity = {"name": known.name, "folder": str(run.folder), "model": run.about["model"]}
                about.append(identity | {"assistant": asdict(quality), "overall": asdict(overall) if overall else None})
            table = frontier_table(standings)
            table.to_csv(folder.path / "frontier.csv", index=False)
            save_figure(frontier_figure(table), folder.path / "figures", "frontier")
            for row in table.itertuples():
                folder.log({f"d/{row.name}": row.d, f"assistant/{row.name}": row.accuracy, f"nll/{row.name}": row.nll})
            found = {"models": about, "verdict": verdict(table), "data": scored_data(runs.values())}
            folder.write_json("run.json", provenance() | {"job": folder.job} | found)
    terminal.console().print(table.drop(columns="model").to_string(index=False, float_format="{:.3f}".format))
    print("d below 0: predicts people better than the base; accuracy: right answers on held-out items (guessing: 0.5)")
    print(verdict(table))
    print(f"figure: {folder.path / 'figures' / 'frontier.png'}")
    check_scored(runs)


if __name__ == "__main__":
    exit_on_user_error(main)
