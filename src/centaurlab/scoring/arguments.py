"""How responses are scored, as options of a command."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from centaurlab.runtime.errors import UserError


@dataclass
class ScoreArguments:
    """How responses are scored, and where the scores go."""

    _argument_group_name = "scoring"

    output_dir: str = field(metadata={"help": "folder for scores.parquet, run.json and the resumable store"})
    protocol: Literal["full", "paper"] = field(
        default="full",
        metadata={"help": "full: the whole session up to the context window; paper: as the published evaluation code"},
    )
    max_length: int | None = field(
        default=None, metadata={"help": "context window in tokens, where shorter than the model's own"}
    )
    chunk_tokens: int | None = field(
        default=None, metadata={"help": "tokens computed at once (default: by architecture and device)"}
    )
    batch_tokens: int | None = field(
        default=None,
        metadata={
            "help": "short sessions of together at most so many tokens go through the model at once, where its "
            "self-check finds that exact (default: 4096 on a GPU, 0 on a CPU: one session after another)"
        },
    )
    deterministic: bool = field(
        default=False,
        metadata={"help": "--batch_tokens 0: the same bytes, however a run is cut short or divided among processes"},
    )
    long_options: bool = field(
        default=True,
        metadata={"help": "probability of options of several tokens as well (--no_long_options: of one-token ones)"},
    )
    tensor_parallel: int = field(
        default=1, metadata={"help": "so many processes, each on its GPU, have one model together (accelerate launch)"}
    )
    engine: Literal["centaurlab", "vllm"] = field(
        default="centaurlab",
        metadata={
            "help": "what computes; vllm (docs/engines.md, not tried by us but against a stand-in of its interface) "
            "says NLLs, greedy accuracy and the probability of options of one token"
        },
    )
    precision: float | None = field(
        default=None,
        metadata={
            "help": "stop as soon as the mean NLL over the studies is known to ± this many nats (95 %% interval)"
        },
    )

    def __post_init__(self) -> None:
        if self.protocol not in ("full", "paper"):
            raise UserError(f"--protocol is {self.protocol!r}; choose full or paper")
        if self.engine not in ("centaurlab", "vllm"):
            raise UserError(f"--engine is {self.engine!r}; choose centaurlab or vllm")
        counts = {name: getattr(self, name) for name in ("max_length", "chunk_tokens", "tensor_parallel")}
        for name, count in counts.items():
            if count is not None and count < 1:
                raise UserError(f"--{name} is {count}; it must be at least 1")
        if self.deterministic and self.batch_tokens:
            raise UserError(f"--deterministic and --batch_tokens {self.batch_tokens} exclude each other; give one")
        if self.batch_tokens is not None and self.batch_tokens < 0:
            raise UserError(f"--batch_tokens is {self.batch_tokens}; give 0 for one session after another")
        if self.deterministic:
            self.batch_tokens = 0


@dataclass
class ScoringArguments(ScoreArguments):
    """How models that a command scores first are scored, all in the same way."""

    _argument_group_name = "scoring of models that are named and not folders of scores"

    output_dir: str = field(default="", init=False)
    precision: float | None = field(default=None, init=False)

    def into(self, folder: Path) -> ScoreArguments:
        """The same, with the scores in ``folder``."""
        return ScoreArguments(**asdict(self) | {"output_dir": str(folder)})


PEERS = ("lm-eval", "minicons")
"""Tools that the benchmark knows to call."""


@dataclass
class BenchmarkArguments:
    """Which sessions are timed, and where the figures go."""

    output_dir: str = field(metadata={"help": "folder for timings.csv and run.json"})
    sessions: int = field(default=4, metadata={"help": "how many sessions to time"})
    min_tokens: int = field(default=2000, metadata={"help": "shortest session; shorter ones are joined up to it"})
    max_tokens: int = field(default=4096, metadata={"help": "longest session"})
    rounds: int = field(default=3, metadata={"help": "how often each is timed, in turn; its fastest round counts"})
    train: bool = field(default=False, metadata={"help": "time training steps instead of scoring"})
    simulate: bool = field(default=False, metadata={"help": "time free runs against scoring, and against generate"})
    answers: int = field(default=100, metadata={"help": "answers of each session, with --simulate"})
    peers: list[str] = field(
        default_factory=list, metadata={"help": "tools to time besides, where they are installed: lm-eval, minicons"}
    )
    requests: int = field(
        default=20, metadata={"help": "how many responses, evenly spread, a peer is asked for: it reads each's history"}
    )
    contestant: str | None = field(default=None, metadata={"help": "(internal) run one contestant, print JSON"})

    def __post_init__(self) -> None:
        for name in ("sessions", "rounds", "answers", "requests"):
            if getattr(self, name) < 1:
                raise UserError(f"--{name} is {getattr(self, name)}; it must be at least 1")
        if unknown := set(self.peers) - set(PEERS):
            raise UserError(f"--peers is {min(unknown)!r}; choose of {', '.join(PEERS)}")
        if self.peers and (self.train or self.simulate):
            raise UserError("--peers score alone; leave it out of --train and --simulate")
