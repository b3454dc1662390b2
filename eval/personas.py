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

from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Literal

from accelerate import PartialState

from centaurlab.allocator import keep_freed_memory
from centaurlab.arguments import parse_arguments
from centaurlab.bootstrap import CONFIDENCE
from centaurlab.comparison import is_score_folder
from centaurlab.context_effects import (
    Comparison,
    Runs,
    compare_contexts,
    metrics_of,
    print_comparisons,
    print_each,
    write_comparisons,
)
from centaurlab.errors import UserError, exit_on_user_error
from centaurlab.figures.saved import save_persona_figures
from centaurlab.measure import ScoreArguments
from centaurlab.misalignment import LoadArguments, check_scored, score_models
from centaurlab.models import ModelArguments
from centaurlab.personas import (
    PersonaContext,
    Personas,
    PlainContext,
    field_context,
    own_context,
    persona_fields,
    read_personas,
    shuffled_context,
)
from centaurlab.runs import RunFolder, provenance
from centaurlab.sources import DataArguments, open_source
from centaurlab.tracking import Tracker, TrackingArguments
from centaurlab.unmatched import compare_unmatched

NONE, OWN, ANOTHERS, EVERYBODY = "no", "own", "another's", "everybody: no"
_CONDITIONS = {"without": "no persona", "with": "own persona", "shuffled": "another's persona"}


@dataclass
class PersonaArguments:
    """Which models read which personas."""

    model_name_or_path: list[str] = field(metadata={"help": "one model or several, base or post-trained"})
    output_dir: str = field(metadata={"help": "folder for personas.csv, run.json and scores"})
    persona_table: str | None = field(
        default=None, metadata={"help": "CSV file with the columns field, aliases, question, answer, not_missing"}
    )
    fields: str | None = field(
        default=None, metadata={"help": "also one field at a time: 'each', or names with commas between"}
    )
    unmatched: bool = field(
        default=False, metadata={"help": "also as published: all people without a persona, those who have one with it"}
    )
    resamples: int = field(default=2000, metadata={"help": "bootstrap resamples of studies and participants"})
    seed: int = field(
        default=0, metadata={"help": "seed of the bootstrap (--data_seed: of whose persona goes to whom)"}
    )
    protocol: Literal["full", "paper"] = field(default="full", metadata={"help": "as for eval/score.py"})
    max_length: int | None = field(default=None, metadata={"help": "context window in tokens"})

    def __post_init__(self) -> None:
        if self.resamples < 1 or self.seed < 0:
            raise UserError("--resamples must be at least 1, and --seed at least 0")
        for name in self.model_name_or_path:
            if is_score_folder(Path(name)):
                raise UserError(
                    f"{name} is a folder of scores; give models, which are scored with and without personas"
                )

    def asked_fields(self, personas: Personas) -> tuple[str, ...]:
        """The fields to be tried alone; ``UserError`` for one that nobody answers."""
        found = personas.found_fields
        if self.fields in (None, "each"):
            return found if self.fields else ()
        asked = tuple(name.strip() for name in str(self.fields).split(",") if name.strip())
        for name in asked:
            if name not in found:
                raise UserError(f"--fields {name!r}: nobody in the data answers it; there are {', '.join(found)}")
        return asked


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


def find_personas(args: PersonaArguments, data_args: DataArguments) -> Personas:
    """The personas in the data, whatever ``--max_participants``; ``UserError`` where there are none."""
    source = open_source(replace(data_args, max_participants=None))
    transcripts = (examined.transcript for examined in source.examine() if examined.transcript)
    personas = read_personas(transcripts, persona_fields(args.persona_table), data_args.on_malformed)
    if not personas.answers:
        named = ", ".join(one.name for one in personas.fields[:5])
        raise UserError(
            f"{data_args.data}: no participant has metadata of the persona table ({named}, …); 'centaurlab data stats' "
            "lists what there is, and --persona_table names it"
        )
    return personas


def unmatched(args: PersonaArguments, runs: dict[str, Runs]) -> list[Comparison]:
    """The published comparison, of each model."""
    second = runs["with-late-cut" if args.protocol == "paper" else "with"]
    return [
        compare_unmatched(
            f"unmatched {model}", (EVERYBODY, run), (OWN, second[model]), args.resamples, args.seed, noun="persona"
        )
        for model, run in runs["everybody"].items()
    ]


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
