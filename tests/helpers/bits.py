"""What a failing disk does."""

import random


def flipped(content: bytes, choose: random.Random) -> bytes:
    """``content`` with one bit turned over, which ``choose`` draws."""
    at, bit = choose.randrange(len(content)), choose.randrange(8)
    return content[:at] + bytes([content[at] ^ (1 << bit)]) + content[at + 1 :]
