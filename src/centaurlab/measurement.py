"""A run in progress: which sessions are scored so far, and what came of them.

The scripts that decide by the results whether to go on (``precision``) get a ``Measurement`` from ``measure``.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, TypeVar

from accelerate import PartialState
from accelerate.utils import broadcast_object_list

from centaurlab.encoding import session_prompt
from centaurlab.failures import Failure, wait_for_all
from centaurlab.precision import Look, Sample, StudyEstimate, nll_estimates
from centaurlab.prompts import Context, Prompt
from centaurlab.runs import RunFolder
from centaurlab.scoring import ResponseScores
from centaurlab.sources import TranscriptSource
from centaurlab.splits import participant_order
from centaurlab.store import ScoreStore
from centaurlab.transcripts import SessionKey, Transcript, text_digest

T = TypeVar("T")

ScoreResults = Iterable[tuple[SessionKey, ResponseScores]]
"""Sessions with their scores."""


@dataclass(frozen=True)
class Reading:
    """How sessions are read: by which protocol, in which context."""

    protocol: str
    context: Context | None

    def prompt(self, transcript: Transcript) -> Prompt:
        """What the model reads."""
        if self.context:
            return self.context.prompt(transcript, self.protocol)
        return session_prompt(transcript.text, self.protocol)

    def digest(self, transcript: Transcript) -> str:
        """The key of the session's result in the store."""
        return self.prompt(transcript).digest if self.context else text_digest(transcript.text)

    def beginning(self, transcript: Transcript) -> str:
        """Of what the model reads, the part by which sessions are planned."""
        prompt = self.prompt(transcript)
        return prompt.text[: prompt.responses[0].start] if self.context and prompt.responses else prompt.text


class Worker(Protocol):
    """One process's part of the scoring."""

    def score(
        self, source: TranscriptSource, n_characters: int, sessions: frozenset[SessionKey] | None, title: str
    ) -> None:
        """Score this process's share of ``sessions`` (None: all)."""
        ...

    def release(self) -> None:
        """Let go of the model until the next session."""
        ...


class Measurement:
    """A run in progress, the same on every process: score some sessions, look at their results, score more.

    ``sessions`` are those scored, which the folder's table will hold; None: all. ``sample`` says why not all.
    ``failures`` are, when the run has ended, the sessions of all processes that could not be scored.
    """

    def __init__(
        self,
        folder: RunFolder,
        source: TranscriptSource,
        n_characters: int,
        seed: int,
        reading: Reading,
        worker: Worker,
        identity: dict[str, Any],
        state: PartialState,
    ) -> None:
        self.folder = folder
        self.seed = seed
        self.sessions: frozenset[SessionKey] | None = frozenset()
        self.sample: Sample | None = None
        self.failures: dict[str, Failure] = {}
        self._source = source
        self._n_characters = n_characters
        self._reading = reading
        self._worker = worker
        self._identity = identity
        self._state = state

    def score(self, sessions: frozenset[SessionKey] | None = None, title: str = "scoring") -> None:
        """Score ``sessions`` (None: all) besides those that are scored already; ends when every process has."""
        new = sessions - self.sessions if sessions is not None and self.sessions is not None else None
        n_characters = self._n_characters if new is None else sum(self._index[key][1] for key in new)
        self._worker.score(self._source, n_characters, new, title)
        self.sessions = sessions
        wait_for_all(self._state)

    def results(self) -> Iterator[tuple[SessionKey, ResponseScores]]:
        """Of ``sessions`` those that could be scored, in the order of the data, by any process; for the main one."""
        with closing(ScoreStore(self.folder.path / "store", self._identity)) as store:
            for key, (digest, _) in self._index.items():
                if (self.sessions is None or key in self.sessions) and digest in store:
                    yield key, store.get(digest).scores

    def score_nll(self, sessions: frozenset[SessionKey], title: str) -> list[StudyEstimate]:
        """Score ``sessions``; each study's NLL over them."""
        self.score(sessions, title)
        return self.from_main(lambda: nll_estimates(self.results()))

    def report(self, words: str, number: int, look: Look) -> None:
        """Say what is known after a round, and log it."""
        if self._state.is_main_process:
            print(words, flush=True)
            known = {"value": look.value, "half_width": look.half_width, "sessions": float(look.sessions)}
            self.folder.log({f"precision/{name}": value for name, value in known.items()}, step=number)

    def from_main(self, compute: Callable[[], T]) -> T:
        """What ``compute`` gives on the main process, on every process."""
        found: T = broadcast_object_list([compute() if self._state.is_main_process else None])[0]
        return found

    def release(self) -> None:
        """Free the model's memory; the next session loads it again."""
        self._worker.release()

    @cached_property
    def order(self) -> dict[str, list[SessionKey]]:
        """The sessions of each study in the seeded order."""
        return participant_order(self._index, self.seed)

    @cached_property
    def _index(self) -> dict[SessionKey, tuple[str, int]]:
        """Of every session, the digest of its result in the store, and its characters."""
        return {t.key: (self._reading.digest(t), len(t.text)) for t in self._source}
