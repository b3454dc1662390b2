"""How names and counts are written: a name as it is, but its control characters written out."""

import re

_INVISIBLE = re.compile(
    r"[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u2064\u2066-\u2069\ud800-\udfff\ufeff]"
)
"""What moves the cursor, ends a line, turns the direction of writing round, cannot be encoded, or has no width.

Two names that differ by it would look alike. What joins letters (U+200C, U+200D) stays: words and emoji need it.
"""


def shown(name: str) -> str:
    """``name`` as it may be printed anywhere: its control characters are written out, all else is as it is.

    Examples
    --------
    >>> shown("[bold]\\x1b[31mred")
    '[bold]\\\\x1b[31mred'
    """
    return _INVISIBLE.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), name)


def counted(count: int, noun: str) -> str:
    """How many there are, in words.

    Examples
    --------
    >>> counted(1, "session"), counted(1200, "session")
    ('1 session', '1,200 sessions')
    """
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
