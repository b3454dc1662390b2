"""The model that a job scored with last, for its next condition: loaded once, and tried once how it may be fed."""

from collections.abc import Callable, Hashable

from centaurlab.scoring.engine_vllm import VllmScorer
from centaurlab.scoring.scorer import SessionScorer

Scorer = SessionScorer | VllmScorer


class KeptScorer:
    """Holds one scorer at a time; that of another model is let go before a new one is made."""

    def __init__(self) -> None:
        self._key: Hashable = None
        self._scorer: Scorer | None = None

    def of(self, key: Hashable, make: Callable[[], Scorer]) -> Scorer:
        """The scorer made for ``key``, which holds nothing of the sessions that it has scored."""
        if self._scorer is None or key != self._key:
            self._scorer = None
            self._key, self._scorer = key, make()
        self._scorer.forget()
        return self._scorer
