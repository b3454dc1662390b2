"""Follow a training run: how well each checkpoint predicts people, and how good an assistant it is.

examples:
  python eval/trajectory.py --run runs/posttrain --data starter --participants test --max_participants 4 \\
      --output_dir runs/trajectory
  accelerate launch eval/trajectory.py --run runs/posttrain --data marcelbinz/Psych-201-test --every 5 \\
      --output_dir runs/trajectory-201

Scores the base model and every checkpoint once; given again, only what is missing. d > 0: the checkpoint predicts
people worse than the base model. Assistant accuracy: share of held-out starter-assistant items whose right answer is
more probable than the wrong one (guessing: 0.5). Also follows runs of recipes/centaur.py.
Output: trajectory.csv, figures/, run.json, and the folders of scores.
"""

from dataclasses import asdict, replace
from pathlib import Path

from accelerate import PartialState

from centaurlab.analyses.trajectory import Point, metrics_at, trajectory_table, verdict
from centaurlab.data.source import DataArguments
from centaurlab.display.figures.posttraining import trajectory_figure
from centaurlab.display.figures.style import save_figure
from centaurlab.jobs.job import check_scored, score_models
from centaurlab.jobs.trajectory import TrajectoryArguments, base_model, checkpoints
from centaurlab.models.arguments import ModelArguments
from centaurlab.results.run import scored_data, scored_models
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
    args, data_args, tracking_args = parse_arguments([TrajectoryArguments, DataArguments, TrackingArguments], __doc__)
    folder = RunFolder(Path(args.output_dir), "trajectory")
    folder.check_job()
    saved = checkpoints(Path(args.run))
    kept = [*saved[:-1][args.every - 1 :: args.every], saved[-1]]
    steps = {args.base or base_model(Path(args.run)): 0} | {str(path): step for step, path in kept}
    model_args = ModelArguments("", dtype=args.dtype, load_in_4bit=args.load_in_4bit)
    score_args = ScoreArguments(str(folder.path / "scores"), "full", args.max_length)
    tracking = tracking_args.grouped(args.output_dir, args.run)
    runs, _ = score_models(steps, model_args, data_args, score_args, tracking=tracking.part())
    if not PartialState().is_main_process:
        return
    config = asdict(args) | asdict(data_args)
    with folder.lock():
        folder.write_json("config.json", config)
        (folder.path / "metrics.jsonl").unlink(missing_ok=True)  # those of an earlier call, computed anew
        with Tracker(folder, tracking, config):
            items = held_out_items(args.items) if args.items else []
            template = Path(args.run) / "chat_template.jinja"
            base_run, *_ = runs.values()
            points, about = [], []
            for name, step in steps.items():
                asked = replace(model_args, model_name_or_path=name)
                quality = assistant_quality(asked, items, runs[name].folder, template) if items else None
                effects = estimate_effects([compare(base_run, runs[name])], args.resamples, args.seed) if step else []
                points.append(Point(step, name, effects, quality.overall if quality else None))
                about.append({"step": step, "model": runs[name].about["model"]})
                about[-1]["assistant"] = asdict(quality) if quality else None
            table = trajectory_table(points)
            table.to_csv(folder.path / "trajectory.csv", index=False)
            save_figure(trajectory_figure(table), folder.path / "figures", "trajectory")
            for point in points:
                folder.log(metrics_at(point, table), point.step)
            found = {"points": about, "verdict": verdict(points[0], points[-1])}
            found |= {"data": scored_data(runs.values()), "models": scored_models(runs)}
            folder.write_json("run.json", provenance() | {"job": folder.job, "run": args.run} | found)
    shown = table[table["level"] == "overall"].drop(columns=["model", "level", "name"])
    terminal.console().print(shown.to_string(index=False, float_format="{:.3f}".format))
    print(verdict(points[0], points[-1]))
    print(f"figure: {folder.path / 'figures' / 'trajectory.png'}")
    check_scored(runs)


if __name__ == "__main__":
    exit_on_user_error(main)
