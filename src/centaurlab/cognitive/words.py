"""Open answers into probabilities: what training people said, and a spelling for what nobody of them did.

    p(answer) = (1 − e) · count / n + e · spelling(answer),   e = (answers said once + 1) / (n + 1),

where e is the Good–Turing estimate of how much of what will be said is new (Good 1953, doi:10.1093/biomet/40.3-4.237),
kept above 0 and below 1, and ``spelling`` is a distribution over all strings: UTF-8 bytes, each given the byte before
it, and an end.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable

import numpy as np

_END = 256
_SYMBOLS = 257
_TRUST = 8.0  # how many times a byte must be seen after another before the pair counts as much as the byte alone
_NOTHING: Counter[int] = Counter()


class Words:
    """What people said to one kind of question."""

    def __init__(self, answers: Iterable[str]) -> None:
        self._counts = Counter(answers)
        self._n = self._counts.total()
        once = sum(count == 1 for count in self._counts.values())
        self._share_new = min((once + 1) / (self._n + 1), 1 - 1 / (self._n + 2)) if self._n else 1.0
        self._bytes: Counter[int] = Counter()
        self._pairs: dict[int, Counter[int]] = defaultdict(Counter)
        for answer, count in self._counts.items():
            before = _END
            for symbol in (*answer.encode("utf-8", "surrogatepass"), _END):
                self._bytes[symbol] += count
                self._pairs[before][symbol] += count
                before = symbol
        self._n_bytes = self._bytes.total()
        self._spelled: dict[str, float] = {}

    def log_p(self, answer: str) -> float:
        """Log-probability in nats of an answer, as often as it was given."""
        return self._mixed(self._counts[answer] / self._n if self._n else 0.0, answer)

    def log_chance(self, answer: str) -> float:
        """The same where every different answer counts once: a guess among all that was ever said."""
        return self._mixed(1 / len(self._counts) if answer in self._counts else 0.0, answer)

    def _mixed(self, share: float, answer: str) -> float:
        new = math.log(self._share_new) + self._spelling(answer)
        if share == 0:
            return new
        return float(np.logaddexp(math.log1p(-self._share_new) + math.log(share), new))

    def _spelling(self, answer: str) -> float:
        if answer not in self._spelled:
            log_p, before = 0.0, _END
            for symbol in (*answer.encode("utf-8", "surrogatepass"), _END):
                alone = (self._bytes[symbol] + 0.5) / (self._n_bytes + 0.5 * _SYMBOLS)
                after = self._pairs.get(before, _NOTHING)
                log_p += math.log((after[symbol] + _TRUST * alone) / (after.total() + _TRUST))
                before = symbol
            self._spelled[answer] = log_p
        return self._spelled[answer]
