"""Many sessions in 16 to 20 bytes each: as Python objects their keys and digests take hundreds."""

from bisect import bisect_left
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from centaurlab.data.transcripts import SessionKey

_NEWEST = 1_000

# N: sessions.
Digests = npt.NDArray[np.bytes_]


def digests_of(keys: Iterable[SessionKey]) -> Digests:
    """(N,) the digests of keys, in their order."""
    return unpacked(b"".join(key.digest() for key in keys))


def unpacked(digests: bytes | bytearray) -> Digests:
    """(N,) digests that stand one after the other."""
    return np.frombuffer(digests, f"S{SessionKey.DIGEST_BYTES}")


class SessionNumbers:
    """A number for each of some sessions (None: 0), given by the digests of their keys.

    Of those that come twice the last counts.
    Two are equal where they give the same sessions the same numbers.
    """

    def __init__(self, digest_N: Digests, number_N: npt.NDArray[np.int32] | None = None) -> None:
        order_N = np.argsort(digest_N, kind="stable")
        sorted_N = digest_N[order_N]
        kept = order_N[np.append(sorted_N[1:] != sorted_N[:-1], np.ones(len(digest_N[:1]), bool))]
        self._digests: bytes = digest_N[kept].tobytes()
        self._numbers = np.zeros(len(kept), np.int32) if number_N is None else number_N[kept]

    def find(self, key: SessionKey) -> int | None:
        """The number of a session; None where it has none."""
        place = _find(self._digests, key.digest())
        return None if place is None else int(self._numbers[place])

    def __contains__(self, key: SessionKey) -> bool:
        return self.find(key) is not None

    def __len__(self) -> int:
        return len(self._numbers)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SessionNumbers):
            return NotImplemented
        return self._digests == other._digests and np.array_equal(self._numbers, other._numbers)

    __hash__ = None  # type: ignore[assignment]


NO_SESSIONS = SessionNumbers(unpacked(b""))


class DigestSet:
    """A set that grows, of digests of so many bytes as those of keys.

    The newest are a set; the others lie in sorted blocks, each longer than the next, which are merged as they come.
    """

    def __init__(self) -> None:
        self._new: set[bytes] = set()
        self._blocks: list[bytes] = []

    def add(self, digest: bytes) -> None:
        """Put a digest in the set."""
        if digest in self:
            return
        self._new.add(digest)
        if len(self._new) < _NEWEST:
            return
        block = b"".join(sorted(self._new))
        self._new.clear()
        while self._blocks and len(self._blocks[-1]) <= len(block):
            block = np.sort(unpacked(self._blocks.pop() + block)).tobytes()
        self._blocks.append(block)

    def __contains__(self, digest: bytes) -> bool:
        return digest in self._new or any(_find(block, digest) is not None for block in self._blocks)

    def __len__(self) -> int:
        return len(self._new) + sum(map(len, self._blocks)) // SessionKey.DIGEST_BYTES


def _find(block: bytes, digest: bytes) -> int | None:
    """The place of a digest among sorted ones that stand one after the other."""
    size = SessionKey.DIGEST_BYTES
    n = len(block) // size
    place = bisect_left(range(n), digest, key=lambda i: block[i * size : (i + 1) * size])
    return place if place < n and block[place * size : (place + 1) * size] == digest else None
