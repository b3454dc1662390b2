"""A training run into its checkpoints, which are scored one by one."""

from dataclasses import dataclass, field
from pathlib import Path

from centaurlab.runs.folder import checkpoint_steps, read_config
from centaurlab.runtime.errors import UserError


def checkpoints(run: Path) -> list[tuple[int, Path]]:
    """The steps and folders of a run's checkpoints, in order; ``UserError`` where there are none."""
    found = [(step, path) for step, path in checkpoint_steps(run) if (path / "trainer_state.json").exists()]
    if not found:
        raise UserError(f"{run} holds no checkpoints; train with save_strategy: steps and a large save_total_limit")
    return found


def base_model(run: Path) -> str:
    """The model that a run started from, as it was named; ``UserError`` where the folder does not say it."""
    asked = read_config(run).get("model") or {}
    name, revision = asked.get("model_name_or_path"), asked.get("model_revision") or "main"
    if not name:
        raise UserError(f"{run} is not the folder of recipes/posttrain.py or recipes/centaur.py; or name --base")
    if revision != "main":
        raise UserError(
            f"{run} was trained on revision {revision} of {name}; download that, and name its folder as --base"
        )
    return str(name)


@dataclass
class TrajectoryArguments:
    """Which run is followed, and how closely."""

    run: str = field(metadata={"help": "folder of recipes/posttrain.py or recipes/centaur.py, with its checkpoints"})
    output_dir: str = field(metadata={"help": "folder for trajectory.csv, the figure, run.json and scores"})
    base: str | None = field(default=None, metadata={"help": "base model (default: the one that the run names)"})
    every: int = field(default=1, metadata={"help": "only every so manieth checkpoint, and the last"})
    items: int = field(default=200, metadata={"help": "held-out starter-assistant items; 0: do not ask the assistant"})
    dtype: str = field(default="bfloat16", metadata={"help": "of the weights"})
    load_in_4bit: bool = field(default=False, metadata={"help": "quantise to NF4, as in training"})
    max_length: int | None = field(default=None, metadata={"help": "context window in tokens"})
    resamples: int = field(default=2000, metadata={"help": "bootstrap resamples of studies and participants"})
    seed: int = field(default=0, metadata={"help": "seed of the bootstrap"})

    def __post_init__(self) -> None:
        if self.every < 1 or self.items < 0 or self.resamples < 1 or self.seed < 0:
            raise UserError("--every and --resamples must be at least 1, --items and --seed at least 0")
