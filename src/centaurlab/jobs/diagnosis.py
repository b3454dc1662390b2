"""Two models or folders of scores into the scores that a diagnosis needs."""

from dataclasses import dataclass, field
from typing import Literal

from centaurlab.runtime.errors import UserError


@dataclass
class DiagnosisArguments:
    """What is held against what."""

    base: str = field(metadata={"help": "folder of scores, or a model: what --post is held against"})
    post: str = field(metadata={"help": "the same; positive parts mean that it is worse"})
    output_dir: str = field(metadata={"help": "folder for diagnosis.csv, excluded.csv and run.json"})
    dtype: str = field(default="bfloat16", metadata={"help": "for models that are scored first"})
    protocol: Literal["full", "paper"] = field(default="full", metadata={"help": "for models that are scored first"})
    max_length: int | None = field(default=None, metadata={"help": "for models that are scored first, in tokens"})
    resamples: int = field(default=2000, metadata={"help": "bootstrap resamples of studies and participants"})
    seed: int = field(default=0, metadata={"help": "seed of the bootstrap"})

    def __post_init__(self) -> None:
        if self.resamples < 1 or self.seed < 0:
            raise UserError("--resamples must be at least 1, and --seed at least 0")
