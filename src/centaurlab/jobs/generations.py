"""Pairs of whole families into scores."""

from dataclasses import dataclass, field
from typing import Literal


@dataclass
class GenerationArguments:
    """Which models are compared."""

    pairs: list[str] = field(metadata={"help": "families of the catalog, 'all', or CSV files of pairs"})
    output_dir: str = field(metadata={"help": "folder for generations.csv, effects.csv, run.json, figures and scores"})
    resamples: int = field(default=2000, metadata={"help": "bootstrap resamples of studies and participants"})
    seed: int = field(default=0, metadata={"help": "seed of the bootstrap"})
    protocol: Literal["full", "paper"] = field(default="full", metadata={"help": "for models that are scored first"})
    max_length: int | None = field(default=None, metadata={"help": "for models that are scored first, in tokens"})
