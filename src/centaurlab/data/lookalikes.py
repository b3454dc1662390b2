"""Responses that are none, though the markers say so: code, typing errors, and words that stand for no answer.

Nothing here is a mistake for certain (``<`` can be an answer, and so can "none"), so nothing is refused.
``lookalikes`` finds them in one text; ``Lookalikes`` counts them over a source and says it with the first places.
"""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from centaurlab.data.transcripts import Transcript, find_responses
from centaurlab.runtime.names import counted

ANGLES, CODE, MISSED = "third angle", "code between markers", "no answer"
KINDS: Mapping[str, str] = {
    ANGLES: "a third '<' or '>' stands beside a marker; write '<<' and '>>' around the response alone",
    CODE: "what stands between the markers reads like shifts or streams of code; write those otherwise ('< <')",
    MISSED: "the answer is a word that programs write for none; write missed trials without markers, or it is scored "
    "as the person's",
}
"""What each kind means, and what to do, in a sentence."""

_MISSED = {
    *("null", "na", "n/a", "n.a.", "#n/a", "<na>", "nan", "nat", "none", "nil", "undefined", "missing", "missed"),
    *("timeout", "time out", "timed out", "no response", "no_response", "noresponse", "no answer"),
    *("-", "--", "\N{EN DASH}", "\N{EM DASH}", ".", "-99", "-999", "-9999"),
}
_OF_CODE = re.compile(r"[;={}()]")
_WORD = re.compile(r"[A-Za-z0-9_)\]]")
_PLACES_SHOWN = 3
_EXCERPT = 30


def lookalikes(text: str) -> dict[str, list[str]]:
    """The doubtful responses of ``text``, as they stand there, by kind."""
    found: dict[str, list[str]] = {}
    for response in find_responses(text):
        if kind := _kind(text, response.start, response.end):
            found.setdefault(kind, []).append(text[response.start : response.end])
    return found


def excerpt(response: str) -> str:
    """A response, quoted, and cut where it is long."""
    return repr(response if len(response) <= _EXCERPT else f"{response[:_EXCERPT]}…")


@dataclass
class Lookalikes:
    """Doubtful responses of many sessions; ``add`` them one by one."""

    _responses: Counter[str] = field(default_factory=Counter)
    _sessions: Counter[str] = field(default_factory=Counter)
    _places: dict[str, list[str]] = field(default_factory=dict)

    def add(self, transcript: Transcript) -> None:
        """Look at every response of one session."""
        for kind, responses in lookalikes(transcript.text).items():
            self._responses[kind] += len(responses)
            self._sessions[kind] += 1
            places = self._places.setdefault(kind, [])
            if len(places) < _PLACES_SHOWN:
                places.append(f"{transcript.origin} ({excerpt(responses[0])})")

    @property
    def notes(self) -> tuple[str, ...]:
        """A sentence for each kind that was met."""
        return tuple(
            f"doubtful: {kind} in {counted(self._responses[kind], 'response')} of {counted(n, 'session')}, "
            f"{', '.join(self._places[kind])}{', …' if n > _PLACES_SHOWN else ''}: {KINDS[kind]}"
            for kind, n in sorted(self._sessions.items())
        )


def _kind(text: str, start: int, end: int) -> str | None:
    """What is doubtful in the response ``text[start:end]``, or None."""
    response, before, after = text[start:end], text[max(start - 3, 0) : start - 2], text[end + 2 : end + 3]
    inner = response.strip()
    if after == ">" or ((inner[:1] in ("<", ">") or inner[-1:] == "<") and any(map(str.isalnum, inner))):
        return ANGLES
    is_padded = response[:1].isspace() and response[-1:].isspace() and not response.isspace()
    is_within_words = _WORD.match(before) and _WORD.match(after) and _OF_CODE.search(response)
    if is_padded or is_within_words or (response.startswith("=") and after == "="):
        return CODE
    return MISSED if response.strip().casefold() in _MISSED else None
