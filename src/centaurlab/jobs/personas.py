"""Metadata into the contexts in which a model is scored: no persona, a person's own, another's."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from centaurlab.analyses.contexts import Comparison, Runs
from centaurlab.analyses.unmatched import compare_unmatched
from centaurlab.data.source import DataArguments, open_source
from centaurlab.prompts.personas import Personas, persona_fields, read_personas
from centaurlab.results.run import is_score_folder
from centaurlab.runtime.errors import UserError

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
