"""How uncertainty is estimated, as options of a command."""

from dataclasses import dataclass, field

from centaurlab.runtime.errors import UserError


@dataclass
class EstimateArguments:
    """How intervals are estimated."""

    _argument_group_name = "estimates"

    resamples: int = field(default=2000, metadata={"help": "bootstrap resamples of studies and participants"})
    seed: int = field(default=0, metadata={"help": "seed of the bootstrap"})

    def __post_init__(self) -> None:
        if self.resamples < 1 or self.seed < 0:
            raise UserError("--resamples must be at least 1, and --seed at least 0")
