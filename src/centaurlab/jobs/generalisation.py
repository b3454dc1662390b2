"""An adapter and its base into scores on the people and the studies that it was not trained on."""

from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path

from centaurlab.data.held_out import Split
from centaurlab.data.source import DataArguments, open_source
from centaurlab.data.transcripts import SessionKey
from centaurlab.models.arguments import DTYPES, ModelArguments
from centaurlab.models.identity import identify, quantization
from centaurlab.runtime.errors import UserError


def check_people(people: frozenset[SessionKey], data: DataArguments, remedy: str) -> None:
    """Raise ``UserError`` when some of the people whom an adapter was trained on, or held out, are not in the data."""
    if missing := people.difference(open_source(data).ranked_keys()):
        raise UserError(
            f"{data.data} lacks {len(missing)} of {len(people)} people whom the adapter's split.json names, such as "
            f"{min(missing, key=str)}; give {remedy}, as in training"
        )


def check_base(split: Split, base: ModelArguments, adapter: Path) -> None:
    """Raise ``UserError`` when the adapter was trained on other weights than ``base``, or on these loaded otherwise."""
    if identify(base).fingerprint == split.base_fingerprint:
        return
    name = base.model_name_or_path
    plain = replace(base, load_in_4bit=False, load_in_8bit=False)
    ways = {"and no quantisation": plain}
    if quantization(plain) == "none":
        ways["--load_in_4bit"] = replace(plain, load_in_4bit=True)
        ways["--load_in_8bit"] = replace(plain, load_in_8bit=True)
    for (option, way), dtype in product(ways.items(), DTYPES):
        if identify(replace(way, dtype=dtype)).fingerprint == split.base_fingerprint:
            raise UserError(
                f"{adapter} was trained on {name} loaded with --dtype {dtype} {option}; load it here in the same way"
            )
    raise UserError(f"{adapter} was trained on another base than {name}; give the one that its run.json names")


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
