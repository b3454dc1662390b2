"""Whether a run is still as fast as it began: other programs, heat or want of memory slow one in silence."""

from collections.abc import Hashable

STRETCH_SECONDS = 30.0
"""Of computing sessions of one kind: shorter stretches differ by themselves."""

FAR_BELOW = 1 / 4
"""Of the first stretch's speed."""


class Pace:
    """Tokens in a time, by kind of session; the first stretch of a kind is what its others are held against."""

    def __init__(self) -> None:
        self._first: dict[Hashable, float] = {}
        self._since: dict[Hashable, tuple[int, float]] = {}
        self._is_slow: dict[Hashable, bool] = {}
        self._is_said = False

    def add(self, kind: Hashable, n_tokens: int, seconds: float) -> str | None:
        """Count a session; once, where two stretches on end are far slower than the first of their kind, a sentence.

        One alone may be a machine that slept.
        """
        n_before, seconds_before = self._since.pop(kind, (0, 0.0))
        n_tokens, seconds = n_before + n_tokens, seconds_before + seconds
        if seconds < STRETCH_SECONDS:
            self._since[kind] = n_tokens, seconds
            return None
        speed = n_tokens / seconds
        first = self._first.setdefault(kind, speed)
        was_slow = self._is_slow.get(kind, False)
        self._is_slow[kind] = is_slow = speed < FAR_BELOW * first
        if self._is_said or not (was_slow and is_slow):
            return None
        self._is_said = True
        return (
            f"sessions as at the start take {first / speed:.0f} times as long as then ({first:,.0f} tokens/s, now "
            f"{speed:,.0f}): do other programs use the processors, or is memory short?"
        )
