"""How a model is let act, as options of a command."""

from dataclasses import dataclass, field

from centaurlab.runtime.errors import UserError

MAX_NEW_TOKENS = 256
USUAL_NEW_TOKENS = 16
"""As many as a word takes. Where people said more, a command asks for a number."""


@dataclass
class SimulateArguments:
    """How often and how each session is answered anew, and where the sessions go."""

    _argument_group_name = "simulation"

    output_dir: str = field(metadata={"help": "folder for simulated.jsonl.gz, simulated.parquet and run.json"})
    replicates: int = field(default=1, metadata={"help": "how often each person's session is answered anew"})
    seed: int = field(default=0, metadata={"help": "seed of the answers"})
    temperature: float = field(
        default=1.0, metadata={"help": "what log-probabilities are divided by; anything but 1 is another model"}
    )
    yoked: bool = field(
        default=False,
        metadata={"help": "where feedback answers what was done, tell the model the person's; labelled as such"},
    )
    environment: str | None = field(
        default=None,
        metadata={"help": "a Python file of your own with ENVIRONMENTS, what follows from answers (it is run)"},
    )
    simulators: list[str] | None = field(
        default=None,
        metadata={"help": "published simulators in the place of --data: files simulate<i>.py, or folders with such"},
    )
    allow_simulators: bool = field(default=False, metadata={"help": "run --simulators, which are programs of others"})
    max_new_tokens: int | None = field(
        default=None,
        metadata={"help": f"of an answer of free words (default: {USUAL_NEW_TOKENS}); at most {MAX_NEW_TOKENS}"},
    )
    max_length: int | None = field(
        default=None, metadata={"help": "context window in tokens, where shorter than the model's own"}
    )
    sessions_at_once: int | None = field(
        default=None, metadata={"help": "how many sessions share a pass (default: 32 on a CPU, 128 on a GPU)"}
    )

    @property
    def n_new_tokens(self) -> int:
        """``max_new_tokens``, or the usual number."""
        return USUAL_NEW_TOKENS if self.max_new_tokens is None else self.max_new_tokens

    def __post_init__(self) -> None:
        if self.simulators and not self.allow_simulators:
            raise UserError(
                "--simulators are programs of others, which would be run; read them, and give --allow_simulators"
            )
        if self.simulators and (self.yoked or self.environment):
            raise UserError("--simulators tell what follows from answers; leave --yoked and --environment away")
        counts = {"replicates": self.replicates, "sessions_at_once": self.sessions_at_once or 1}
        for name, count in (counts | {"max_new_tokens": self.n_new_tokens}).items():
            if count < 1:
                raise UserError(f"--{name} is {count}; it must be at least 1")
        if self.n_new_tokens > MAX_NEW_TOKENS:
            raise UserError(f"--max_new_tokens is {self.max_new_tokens}; it must be at most {MAX_NEW_TOKENS}")
        if not 0 < self.temperature < float("inf"):
            raise UserError(f"--temperature is {self.temperature}; it must be above 0")
