"""The one source of chance in what is told of people: hashes of study, participant and purpose.

No random number generator is involved, so that letters and orders cannot change with a library's version.
"""

import hashlib
import json
import string
from collections.abc import Sequence


def shuffled(items: Sequence[str], *seed: str) -> list[str]:
    """``items`` in an order that only they and ``seed`` (study, participant, purpose) determine."""
    return sorted(items, key=lambda item: hashlib.sha256(json.dumps([*seed, item]).encode("ascii")).digest())


def assign_letters(options: Sequence[str], study: str, participant: str, taken: int = 0) -> dict[str, str]:
    """A capital letter for each option, drawn per participant; the result is ordered by chance as well.

    ``taken``: how many of the participant's letters are in use already. Raises ``ValueError`` where too few are left.
    """
    letters = shuffled(string.ascii_uppercase, study, participant, "letters")[taken:]
    if len(letters) < len(options):
        raise ValueError(f"{len(options)} letters are asked for, and {len(letters)} of 26 are left")
    return dict(zip(shuffled(options, study, participant, "options"), letters, strict=False))
