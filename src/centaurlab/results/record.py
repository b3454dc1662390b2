"""What a run of scoring says of itself: which model read which data how, what became of every response, how fast.

``ScoreRecord`` is the typed content of a score run's ``run.json``. It is written from here and read back here, so that
a field has one name and one type. Records of older versions lack fields, which then have their defaults, and those of
newer ones hold fields unknown here, which are passed over.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Self, TypeVar

JOB = "score"
_PROVENANCE = ("centaurlab", "versions", "command", "git", "hardware", "time")

_Part = TypeVar("_Part")

_PLAIN: dict[str, tuple[type, ...]] = {
    str(str): (str,),
    str(str | None): (str, type(None)),
    str(float | None): (int, float, type(None)),
}
"""Of fields with these types, what a JSON file may hold."""


@dataclass(frozen=True)
class Coverage:
    """What became of the responses in a text: ``responses == scored + cut + empty + failed``.

    ``cut``: beyond the context window or the protocol's character limit. ``malformed``: ``<<`` that open no
    response. ``straddling``: responses (scored ones) at whose boundary a token had to be split. ``failed``: of sessions
    for which memory did not suffice, or the model gave a NaN or infinite number. Beside them, ``images``: pictures that
    the texts name, which people saw and no model was shown.
    """

    responses: int = 0
    scored: int = 0
    cut: int = 0
    empty: int = 0
    malformed: int = 0
    straddling: int = 0
    failed: int = 0
    images: int = 0

    @property
    def of_failed_session(self) -> "Coverage":
        """The same responses where none could be scored."""
        return replace(self, scored=0, straddling=0, failed=self.scored)

    def __add__(self, other: Self) -> "Coverage":
        return Coverage(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))


@dataclass(frozen=True)
class ModelIdentity:
    """What tells a model from every other: equal fingerprints give equal NLLs, up to the kernels' rounding.

    ``fingerprint``: SHA-256 over the contents of weights, config and adapter, the dtype and the quantisation.
    ``quantization``: 'none', 'nf4', 'int8', or the method that the checkpoint itself was quantised with.
    ``base``, ``adapter``: the two names where the model is an adapter on a base, else None.
    """

    name: str
    fingerprint: str = ""
    tokenizer_fingerprint: str = ""
    dtype: str = ""
    quantization: str = "none"
    base: str | None = None
    adapter: str | None = None

    @property
    def is_baseline(self) -> bool:
        """Whether no language model has computed it: what reads no tokens and is computed in double precision."""
        return not self.tokenizer_fingerprint and self.dtype == "float64"

    def as_dict(self) -> dict[str, str | None]:
        """The identity as it stands in ``run.json``."""
        return asdict(self)


@dataclass(frozen=True)
class ScoredProtocol:
    """The protocol by which sessions were read (``full`` or ``paper``), and the context window in tokens."""

    name: str
    max_tokens: int | None = None


@dataclass(frozen=True)
class ScoredStudy:
    """A study's part of a run.

    ``fingerprint``: SHA-256 over all of the study's sessions as told, scored or not. ``sessions``: of ``of_sessions``,
    those that were to be scored, of ``people``, with ``responses`` in all. ``nll``: mean over scored responses in nats.
    ``accuracy``: share of single-token responses that were the likeliest token. None: there was no response to take it
    over; of ``people``: an older version did not count them.
    ``option_rules``: of how many sessions it is known by which rule what could have been answered
    (``data.options``), with a fingerprint of it; ``options_problem``: why the study's module could not read one.
    ``sessions_without_options``: those in which no response has options with a probability.
    """

    fingerprint: str
    sessions: int = 0
    of_sessions: int = 0
    responses: int = 0
    nll: float | None = None
    accuracy: float | None = None
    people: int | None = None
    option_rules: Mapping[str, int] = field(default_factory=dict)
    options_fingerprint: str = ""
    options_problem: str | None = None
    sessions_without_options: int = 0


@dataclass(frozen=True)
class ScoredData:
    """The data of a run by study, with a fingerprint of them all.

    ``notes`` say which files were passed over, ``skipped_sessions`` which sessions as malformed, and why.
    """

    name: str = ""
    fingerprint: str = ""
    studies: Mapping[str, ScoredStudy] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    skipped_sessions: tuple[str, ...] = ()

    @classmethod
    def from_dict(cls, about: Mapping[str, Any]) -> "ScoredData":
        """The data as they stand in ``run.json``."""
        studies = {study: _part(ScoredStudy, known) for study, known in about["studies"].items()}
        lists = {name: tuple(about.get(name, ())) for name in ("notes", "skipped_sessions")}
        return _part(cls, {**about, "studies": studies, **lists})


@dataclass(frozen=True)
class ScoringSpeed:
    """How fast a run was, and what it took.

    Of all runs into the folder: ``tokens``, of which ``tokens_reused`` came from a shared prefix; ``scoring_seconds``
    and ``tokens_per_second`` of one process; ``flops``, the floating-point operations that were needed (None: not
    counted for this model). Of the last run
    alone: ``processes``, ``tokens_computed_now``, ``wall_seconds``, and the main process's peak memory in bytes,
    resident and on its GPU (None without one).
    """

    processes: int = 1
    tokens_computed_now: int = 0
    wall_seconds: float = 0.0
    peak_memory_bytes: int = 0
    peak_gpu_memory_bytes: int | None = None
    tokens: int = 0
    tokens_reused: int = 0
    scoring_seconds: float = 0.0
    flops: float | None = 0.0
    tokens_per_second: float = 0.0

    def known(self) -> dict[str, float]:
        """The figures that are known."""
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True)
class ScoreRecord:
    """Everything that a finished run of scoring says of itself.

    ``coverage`` is by study. ``context``: what stood around every session, as JSON; None: nothing.
    ``engine``: what computed it, if not our own scorer.
    ``sample``: why not all sessions were scored, and what is known by those that were; None: all were.
    ``failed_sessions``: why each session that could not be scored has no scores, in a line that names it.
    ``notes``: how this model had to be fed, and what could not be counted.
    ``provenance``: versions, command, commit, machine and time (``runs.provenance``).
    """

    model: ModelIdentity
    protocol: ScoredProtocol
    data: ScoredData
    coverage: Mapping[str, Coverage] = field(default_factory=dict)
    context: dict[str, Any] | None = None
    engine: str | None = None
    sample: dict[str, Any] | None = None
    failed_sessions: tuple[str, ...] = ()
    speed: ScoringSpeed | None = None
    notes: tuple[str, ...] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def nll_mean(self) -> float | None:
        """Mean over studies of their NLLs, in nats per response; None where no response was scored."""
        nlls = [study.nll for study in self.data.studies.values() if study.nll is not None]
        return sum(nlls) / len(nlls) if nlls else None

    @property
    def gpus(self) -> list[str]:
        """The GPUs of the main process's machine, by the names that PyTorch has for them."""
        return list((self.provenance.get("hardware") or {}).get("gpus") or [])

    def as_dict(self) -> dict[str, Any]:
        """The record as it stands in ``run.json``."""
        return dict(self.provenance) | {
            "job": JOB,
            "model": self.model.as_dict(),
            "protocol": asdict(self.protocol),
            "context": self.context,
            "engine": self.engine,
            "data": asdict(self.data),
            "sample": self.sample,
            "coverage": {study: asdict(coverage) for study, coverage in self.coverage.items()},
            "failed_sessions": list(self.failed_sessions),
            "nll_mean": self.nll_mean,
            "speed": asdict(self.speed) if self.speed else None,
            "notes": list(self.notes),
        }

    @classmethod
    def from_dict(cls, about: Mapping[str, Any]) -> "ScoreRecord":
        """The record in a ``run.json``.

        Raises ``KeyError``, ``TypeError``, ``AttributeError`` or ``ValueError`` where it lacks the model's name, the
        protocol or the data, or holds something else in their place.
        """
        return cls(
            model=_part(ModelIdentity, about["model"]),
            protocol=_part(ScoredProtocol, about["protocol"]),
            data=ScoredData.from_dict(about["data"]),
            coverage={study: _part(Coverage, known) for study, known in about.get("coverage", {}).items()},
            context=about.get("context"),
            engine=about.get("engine"),
            sample=about.get("sample"),
            failed_sessions=tuple(about.get("failed_sessions", ())),
            speed=_part(ScoringSpeed, about["speed"]) if about.get("speed") else None,
            notes=tuple(about.get("notes", ())),
            provenance={name: about[name] for name in _PROVENANCE if name in about},
        )


def _part(kind: type[_Part], about: Mapping[str, Any]) -> _Part:
    """``kind``, a dataclass, from those of its fields that ``about`` holds; TypeError for what is no text or number."""
    known = {f.name: about[f.name] for f in fields(kind) if f.name in about}  # type: ignore[arg-type]
    for f in fields(kind):  # type: ignore[arg-type]
        allowed = _PLAIN.get(str(f.type))
        if f.name in known and allowed and not isinstance(known[f.name], allowed):
            raise TypeError(f"its {f.name} is {known[f.name]!r}")
    return kind(**known)
