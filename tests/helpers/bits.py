"""What a failing disk does."""

import random
from collections.abc import Iterator


def flipped(content: bytes, choose: random.Random) -> bytes:
    """``content`` with one bit turned over, which ``choose`` draws."""
    return next(flips(content, 1, choose))


def flips(content: bytes, number: int, choose: random.Random) -> Iterator[bytes]:
    """``content`` with one bit turned over, so many times, never twice the same; of a small file, with each in turn."""
    bits = range(8 * len(content))
    for bit in bits if number >= len(bits) else choose.sample(bits, number):
        at = bit // 8
        yield content[:at] + bytes([content[at] ^ (1 << bit % 8)]) + content[at + 1 :]
