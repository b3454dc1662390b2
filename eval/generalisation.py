"""Judge an adapter on people and on studies that it was not trained on.

example:
  python eval/generalisation.py --base gemma-3-270m --adapter runs/centaur --data starter \\
      --output_dir runs/generalisation

Scores base and adapter on the held-out participants of the trained studies and on the novel studies, both as the
adapter's split.json names them; --data is what it was trained on, and held-out participants are read from its eval_data
if it had one. d(base − centaur) > 0: the adapter predicts people better.
Output: studies.csv, run.json, a figure, and the folders of scores; 'centaurlab report' makes a page of it.
"""

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import pandas as pd
from accelerate import PartialState

from centaurlab.allocator import keep_freed_memory
from centaurlab.arguments import parse_arguments
from centaurlab.comparison import read_run, scored_data, scored_models
from centaurlab.errors import IncompleteError, exit_on_user_error
from centaurlab.figures.saved import save_gain_figure
from centaurlab.generalisation import KINDS, check_base, check_people, print_gains, read_split, study_gains
from centaurlab.measure import ScoreArguments, measure
from centaurlab.models import ModelArguments
from centaurlab.personas import PlainContext
from centaurlab.quiet import import_bitsandbytes
from centaurlab.runs import RunFolder, provenance
from centaurlab.sources import DataArguments, open_source
from centaurlab.splits import first_participants
from centaurlab.tracking import Tracker, TrackingArguments


@dataclass
class GeneralisationArguments:
    """What is judged, on what."""

    base: str = field(metadata={"help": "base model"})
    adapter: str = field(metadata={"help": "adapter folder that recipes/centaur.py wrote"})
    output_dir: str = field(metadata={"help": "folder for studies.csv, run.json and scores"})
    data: str = field(default="starter", metadata={"help": "the data that the adapter was trained on"})
    data_split: str | None = field(default=None, metadata={"help": "split of --data, as in training"})
    eval_data: str | None = field(
        default=None,
        metadata={"help": "held-out participants as a source of their own (default: the eval_data of the training)"},
    )
    max_participants: int | None = field(default=None, metadata={"help": "at most so many people per study"})
    on_malformed: str = field(
        default="error",
        metadata={"help": "error: stop at the first malformed session; skip: leave it out and say so"},
    )
    max_length: int | None = field(default=None, metadata={"help": "context window in tokens"})
    dtype: str = field(default="bfloat16", metadata={"help": "of the weights"})
    load_in_4bit: bool = field(default=False, metadata={"help": "quantise the base to NF4, as in training"})
    load_in_8bit: bool = field(default=False, metadata={"help": "quantise the base to int8, as in training"})


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
