"""Does it help a model to know who the participant is? A persona before the session, against none.

examples:
  python eval/personas.py --model_name_or_path gemma-3-270m --data starter --output_dir runs/personas
  python eval/personas.py --model_name_or_path Qwen/Qwen3-8B-Base Qwen/Qwen3-8B --data marcelbinz/Psych-201-test \\
      --fields each --output_dir runs/personas-qwen3

The persona is an interview ("Interviewer: What is your age?", "Interviewee: 35."), one question per field of the
metadata that --persona_table lists (default: the published ones). Everybody who has any is scored without it, with
it, and with that of another participant of the study; d(without − with) > 0: the persona helps, and
d(another's − own) > 0: it does so by what it says of this person. --fields each adds one run per field alone, of
those who have it. --unmatched adds the published comparison, which holds people with a persona against all people.
Output: personas.csv, run.json, figures (the paper's Fig. 5 among them), and the folders of scores.
"""

from dataclasses import asdict
from functools import partial
from pathlib import Path

from accelerate import PartialState

from centaurlab.analyses.contexts import (
    Comparison,
    Runs,
    compare_contexts,
    metrics_of,
    print_comparisons,
    print_each,
    write_comparisons,
)
from centaurlab.analyses.personas import save_persona_figures
from centaurlab.data.source import DataArguments
from centaurlab.jobs.job import check_scored, score_models
from centaurlab.jobs.personas import _CONDITIONS, ANOTHERS, NONE, OWN, PersonaArguments, find_personas, unmatched
from centaurlab.models.arguments import LoadArguments, ModelArguments
from centaurlab.prompts.context import PlainContext
from centaurlab.prompts.personas import PersonaContext, field_context, own_context, shuffled_context
from centaurlab.runs.folder import RunFolder
from centaurlab.runs.provenance import provenance
from centaurlab.runs.tracker import Tracker, TrackingArguments
from centaurlab.runtime.arguments import parse_arguments
from centaurlab.runtime.errors import UserError, exit_on_user_error
from centaurlab.runtime.processes import keep_freed_memory
from centaurlab.scoring.arguments import ScoreArguments
from centaurlab.stats.estimate import CONFIDENCE


def main() -> None:
    keep_freed_memory()
    args, load_args, data_args, tracking_args = parse_arguments(
        [PersonaArguments, LoadArguments, DataArguments, TrackingArguments], __doc__
    )
    personas = find_personas(args, data_args)
    chosen = personas.chosen(data_args.max_participants, data_args.data_seed)
    shuffled, kept = shuffled_context(personas, chosen, data_args.data_seed)
    contexts: dict[str, PlainContext | PersonaContext] = {
        "without": PlainContext(chosen),
        "with": own_context(personas, chosen),
        "shuffled": shuffled,
    }
    singles = {name: field_context(personas, chosen, name) for name in args.asked_fields(personas)}
    contexts |= {f"field-{name}": context for name, context in singles.items() if context.texts}
    if args.unmatched:
        contexts["everybody"] = PlainContext(personas.of_their_studies(data_args.max_participants, data_args.data_seed))
        if args.protocol == "paper":
            contexts["with-late-cut"] = own_context(personas, chosen, late_cut=True)

    folder = RunFolder(Path(args.output_dir), "personas")
    folder.check_job()
    tracking = tracking_args.grouped(args.output_dir)
    names, runs = args.model_name_or_path, dict[str, Runs]()
    failures: dict[str, str] = {}
    for name, context in contexts.items():
        score_args = ScoreArguments(str(Path(args.output_dir) / "scores" / name), args.protocol, args.max_length)
        runs[name], failed = score_models(
            [model for model in names if model not in failures],
            ModelArguments(**asdict(load_args)),
            data_args,
            score_args,
            len(names) > 1,
            tracking.part(_CONDITIONS.get(name, name)),
            lambda _, context=context: context,
        )
        failures |= failed
    if not PartialState().is_main_process:
        return
    missing = "; ".join(f"{name}: {reason}" for name, reason in failures.items())
    runs = {name: {model: run for model, run in of.items() if model not in failures} for name, of in runs.items()}
    if not runs["with"]:
        raise UserError(f"no model is left to compare; {missing}")

    compare = partial(compare_contexts, n_resamples=args.resamples, seed=args.seed, noun="persona")
    without, own, anothers = (NONE, runs["without"]), (OWN, runs["with"]), (ANOTHERS, runs["shuffled"])
    comparisons = [
        compare("persona", without, own),
        compare("shuffled", without, anothers),
        compare("own_or_anothers", anothers, own),
    ]
    alone = [
        compare(f"field {name}", without, (f"{name}-only", runs[f"field-{name}"]), same_sessions=False)
        for name in singles
        if f"field-{name}" in runs
    ]
    published = unmatched(args, runs) if args.unmatched else []
    config = asdict(args) | asdict(load_args) | asdict(data_args)
    config["model_name_or_path"] = args.model_name_or_path
    with folder.lock():
        folder.write_json("config.json", config)
        with Tracker(folder, tracking, config):
            everything = [*comparisons, *alone, *published]
            write_comparisons(folder.path / "personas.csv", everything)
            save_persona_figures(comparisons, [*alone, *published], folder.path)
            about = {
                "participants": len(chosen),
                "fields": {
                    name: sum(name in personas.answers[key] for key in chosen) for name in personas.found_fields
                },
                "kept_their_own": sorted(map(str, kept)),
                "refused": personas.refused,
                "table": [asdict(one) for one in personas.fields],
            }
            folder.write_json("run.json", run_json(args, runs, everything, about))
            folder.log(metrics_of(everything))
    print_comparisons(comparisons, f"personas on {data_args.data}")
    for table, title in (
        (alone, "one field alone, of those who have it"),
        (published, "as published: everybody without, those who have one with it"),
    ):
        if table:
            print_each(table, title)
    if kept:
        print(f"note: {len(kept)} of {len(chosen)} people found no other persona in their study and kept their own")
    for reason in personas.refused:
        print(f"left out {reason}")
    print(f"personas: {folder.path / 'personas.csv'}")
    if failures:
        raise UserError(f"{len(failures)} of {len(names)} models could not be scored; {missing}")
    check_scored(*runs.values())


def run_json(
    args: PersonaArguments, runs: dict[str, Runs], comparisons: list[Comparison], about: dict[str, object]
) -> dict[str, object]:
    """Where the table comes from, and what it says overall."""
    first = next(iter(runs["without"].values()))
    return provenance() | {
        "job": "personas",
        "overall": {one.name: asdict(one.overall) | {"verdict": one.verdict()} for one in comparisons},
        "personas": about,
        "bootstrap": {"resamples": args.resamples, "seed": args.seed, "confidence": CONFIDENCE},
        "data": {key: first.about["data"][key] for key in ("name", "fingerprint", "studies")},
        "models": [run.about["model"] | {"protocol": run.about["protocol"]} for run in runs["without"].values()],
        "scores": {name: {model: str(run.folder) for model, run in of.items()} for name, of in runs.items()},
    }


if __name__ == "__main__":
    exit_on_user_error(main)
