"""Models side by side: which are scored, and by what name each stands in the table."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from centaurlab.runtime.errors import UserError


@dataclass(frozen=True)
class NamedModel:
    """A model and what it is called in the table."""

    name: str
    model: str


def named_models(given: Sequence[str]) -> list[NamedModel]:
    """``NAME=MODEL`` or ``MODEL`` each; ``UserError`` where a name comes twice."""
    models = []
    for text in given:
        name, separator, model = text.partition("=")
        models.append(NamedModel(name.strip(), model.strip()) if separator else NamedModel(text, text))
    names = [model.name for model in models]
    for known in models:
        if not known.name or not known.model:
            raise UserError(
                f"--models: {known.name or known.model!r} is not NAME=MODEL; write for example sft=runs/sft"
            )
        if names.count(known.name) > 1:
            raise UserError(f"--models names {known.name!r} twice; give each model a name of its own: NAME=MODEL")
    return models


@dataclass
class FrontierArguments:
    """What is held against what."""

    base: str = field(metadata={"help": "base model: what d is against"})
    models: list[str] = field(metadata={"help": "NAME=MODEL, as many as wanted"})
    output_dir: str = field(metadata={"help": "folder for frontier.csv, the figure, run.json and scores"})
    items: int = field(default=200, metadata={"help": "held-out starter-assistant items"})
    dtype: str = field(default="bfloat16", metadata={"help": "of the weights"})
    load_in_4bit: bool = field(default=False, metadata={"help": "quantise to NF4"})
    max_length: int | None = field(default=None, metadata={"help": "context window in tokens"})
    resamples: int = field(default=2000, metadata={"help": "bootstrap resamples of studies and participants"})
    seed: int = field(default=0, metadata={"help": "seed of the bootstrap"})

    def __post_init__(self) -> None:
        if self.items < 1 or self.resamples < 1 or self.seed < 0:
            raise UserError("--items and --resamples must be at least 1, and --seed at least 0")
