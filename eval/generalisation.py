"""Judge an adapter on people and on studies that it was not trained on.

example:
  python eval/generalisation.py --base gemma-3-270m --adapter runs/centaur --data starter \\
      --output_dir runs/generalisation

Scores base and adapter on the held-out participants of the trained studies and on the novel studies, both as the
adapter's split.json names them; --data is what it was trained on, and held-out participants are read from its eval_data
if it had one. d(base − centaur) > 0: the adapter predicts people better.
Output: studies.csv, run.json, a figure, and the folders of scores; 'centaurlab report' makes a page of it.
"""

from dataclasses import asdict, replace
from pathlib import Path

import pandas as pd
from accelerate import PartialState

from centaurlab.analyses.generalisation import print_gains, save_gain_figure, study_gains
from centaurlab.data.held_out import KINDS, read_split
from centaurlab.data.source import DataArguments, open_source
from centaurlab.data.splits import first_participants
from centaurlab.jobs.generalisation import GeneralisationArguments, check_base, check_people
from centaurlab.models.arguments import ModelArguments
from centaurlab.prompts.context import PlainContext
from centaurlab.results.run import read_run, scored_data, scored_models
from centaurlab.runs.folder import RunFolder
from centaurlab.runs.provenance import provenance
from centaurlab.runs.tracker import Tracker, TrackingArguments
from centaurlab.runtime.arguments import parse_arguments
from centaurlab.runtime.errors import IncompleteError, exit_on_user_error
from centaurlab.runtime.processes import keep_freed_memory
from centaurlab.runtime.quiet import import_bitsandbytes
from centaurlab.scoring.arguments import ScoreArguments
from centaurlab.scoring.run import measure


def main() -> None:
    keep_freed_memory()
    import_bitsandbytes()
    args, tracking_args = parse_arguments([GeneralisationArguments, TrackingArguments], __doc__)
    tracking = tracking_args.grouped(args.output_dir, args.adapter)
    split = read_split(Path(args.adapter))
    base = ModelArguments(args.base, dtype=args.dtype, load_in_4bit=args.load_in_4bit, load_in_8bit=args.load_in_8bit)
    check_base(split, base, Path(args.adapter))
    folder = RunFolder(Path(args.output_dir), "generalisation")
    folder.check_job()
    models = {"base": base, "centaur": replace(base, adapter_name_or_path=args.adapter)}
    trained = DataArguments(args.data, args.data_split, on_malformed=args.on_malformed, data_seed=split.split_seed)
    kinds: dict[str, tuple[DataArguments, PlainContext | None]] = {}
    if split.test:
        eval_data = args.eval_data or split.eval_data
        held_out = replace(trained, data=eval_data, data_split=None) if eval_data else trained
        check_people(split.train, trained, f"--data {split.data}")
        people = first_participants(split.test, args.max_participants, split.split_seed)
        check_people(people, held_out, f"--eval_data {split.eval_data}" if eval_data else f"--data {split.data}")
        kinds["held_out"] = held_out, PlainContext(people)
    if split.novel_studies:
        novel = replace(trained, studies=",".join(split.novel_studies), max_participants=args.max_participants)
        kinds["novel"] = novel, None
    scores, incomplete = {}, []
    for kind, (data, chosen) in kinds.items():
        for name, model in models.items():
            scored = scores[kind, name] = folder.path / f"{kind}-{name}"
            score_args = ScoreArguments(str(scored), "full", args.max_length)
            try:
                measure(model, data, score_args, tracking.part(KINDS[kind]), chosen)
            except IncompleteError as error:
                incomplete.append(str(error))
    if not PartialState().is_main_process:
        return
    gains, summaries = [], []
    for kind, (data, chosen) in kinds.items():
        sessions = open_source(data, chosen.sessions if chosen else None)
        fitted = open_source(trained, split.train) if kind == "held_out" else ()
        rows, summary = study_gains(kind, scores[kind, "base"], scores[kind, "centaur"], sessions, fitted)
        gains += rows
        summaries.append(summary)
    table = pd.DataFrame(map(asdict, gains))
    runs = {f"{kind} {name}": read_run(scored) for (kind, name), scored in scores.items()}
    result = {"job": "generalisation", "data": scored_data(runs.values()), "models": scored_models(runs)}
    result |= {"summaries": [asdict(s) for s in summaries], "studies": [*map(asdict, gains)]}
    with folder.lock():
        folder.write_json("config.json", asdict(args))
        with Tracker(folder, tracking, asdict(args)):
            table.to_csv(folder.path / "studies.csv", index=False)
            names = [Path(name).name for name in (args.adapter, args.base)]
            save_gain_figure([*map(asdict, gains)], [*map(asdict, summaries)], *names, folder.path)
            folder.log(
                {f"d/{gain.kind}/{gain.study}": gain.d for gain in gains}
                | {f"effect/d/{s.kind}": s.d for s in summaries}
                | {f"effect/d_low/{s.kind}": s.d_low for s in summaries}
                | {f"effect/d_high/{s.kind}": s.d_high for s in summaries}
            )
            folder.write_json("run.json", provenance() | result)
    print_gains(gains, summaries)
    print(f"studies: {folder.path / 'studies.csv'}")
    if incomplete:
        raise IncompleteError("judged on the sessions that could be scored: " + "; ".join(incomplete))


if __name__ == "__main__":
    exit_on_user_error(main)
