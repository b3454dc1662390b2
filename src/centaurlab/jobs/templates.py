"""Models into scores in their own chat template and in plain text."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from centaurlab.results.run import is_score_folder
from centaurlab.runtime.errors import UserError


@dataclass
class TemplateArguments:
    """Whose templates are tried."""

    model_name_or_path: list[str] = field(metadata={"help": "one model or several, each with a chat template"})
    output_dir: str = field(metadata={"help": "folder for templates.csv, audit.csv, run.json and scores"})
    resamples: int = field(default=2000, metadata={"help": "bootstrap resamples of studies and participants"})
    seed: int = field(default=0, metadata={"help": "seed of the bootstrap"})
    protocol: Literal["full", "paper"] = field(default="full", metadata={"help": "as for eval/score.py"})
    max_length: int | None = field(default=None, metadata={"help": "context window in tokens"})

    def __post_init__(self) -> None:
        if self.resamples < 1 or self.seed < 0:
            raise UserError("--resamples must be at least 1, and --seed at least 0")
        for name in self.model_name_or_path:
            if is_score_folder(Path(name)):
                raise UserError(f"{name} is a folder of scores; name the model, to score it with its template")
