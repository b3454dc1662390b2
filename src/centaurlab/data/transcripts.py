"""One participant's session as text, and where in it the human responses stand.

A response is what stands between ``<<`` and ``>>``. Everything downstream (tokens, NLLs, training labels) refers
to the character spans found here, so this is the only place that knows the markers.
"""

import hashlib
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from centaurlab.runtime.errors import UserError

OPEN, CLOSE = "<<", ">>"
HUMAN_RESPONSE = ("[HUMAN_RESPONSE]", "[/HUMAN_RESPONSE]")
"""Other markers of responses, which Psych-301 has; they are read where they are asked for."""
_HUMAN_RESPONSE = re.compile(r"\[HUMAN_RESPONSE\](.*?)\[/HUMAN_RESPONSE\]", re.DOTALL)
_IMAGE_KIND = r"\.(?:png|jpe?g|gif|bmp|svg|webp)\b"
_IMAGE_FILE = rf"[\w./-]*\w{_IMAGE_KIND}"
_IMAGE = re.compile(rf"<image\b[^<>\n]{{0,200}}>(?:[ :]?{_IMAGE_FILE})?|{_IMAGE_FILE}", re.IGNORECASE)
_IMAGE_SIGN = re.compile(rf"<image|{_IMAGE_KIND}", re.IGNORECASE)  # without one of these a text has none, soon known
_RESPONSE = re.compile(r"<<(.*?)>>", re.DOTALL)
_MISSING = {"", "n/a", "na", "nan", "none", "null", "nat", "<na>", "inf", "-inf"}
# Spaces, control characters, the blank of Braille, and what Unicode calls Default_Ignorable_Code_Point.
_UNSEEN = (
    r"\s\x00-\x1f\x7f-\x9f\u2800"
    r"\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff"
    r"\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
BLANK = f"[{_UNSEEN}]*"
"""What a blank response is made of, as a regular expression: spaces, and characters of which nothing is seen."""
_BLANK = re.compile(BLANK)
_STUDY_NAME = re.compile(r"[^/\\\x00-\x1f\x7f]+")


@dataclass(frozen=True)
class Response:
    """The characters ``text[start:end]`` of one human response, markers excluded; ``start == end``: empty."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class SessionKey:
    """What identifies a session. ``participant`` alone does not: names are reused across experiments."""

    study: str
    experiment: str
    participant: str
    DIGEST_BYTES: ClassVar[int] = 16

    def digest(self) -> bytes:
        """Bytes that stand for the key where all of it would take too much memory."""
        named = repr((self.study, self.experiment, self.participant))
        return hashlib.sha256(named.encode("utf-8")).digest()[: self.DIGEST_BYTES]

    def __str__(self) -> str:
        return f"participant {self.participant!r} of {self.study!r} (experiment {self.experiment!r})"


@dataclass(frozen=True)
class Transcript:
    """One session. ``metadata`` holds every further field as contributed; ``origin`` says where it was read."""

    text: str
    study: str
    experiment: str
    participant: str
    metadata: Mapping[str, Any] = field(default_factory=dict)
    origin: str = ""

    @property
    def key(self) -> SessionKey:
        """The session's identity."""
        return SessionKey(self.study, self.experiment, self.participant)


def is_missing(value: object) -> bool:
    """Whether a metadata value says nothing: absent, not finite, or a text that stands for that, such as "NA"."""
    if isinstance(value, float):
        return not math.isfinite(value)
    return value is None or (isinstance(value, str) and value.strip().casefold() in _MISSING)


def text_digest(text: str) -> str:
    """SHA-256 of a text, hex: equal texts are scored once."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def is_blank(response: str) -> bool:
    """Whether nothing of a response would be seen: it is empty, spaces, or characters without width or ink."""
    return _BLANK.fullmatch(response) is not None


def find_responses(text: str) -> list[Response]:
    """Character spans of all responses in ``text``, in order, disjoint, empty ones included."""
    return [Response(*match.span(1)) for match in _RESPONSE.finditer(text)]


def marker_problem(text: str) -> str | None:
    """What is wrong with the response markers of ``text``, in words, or None.

    Reported are: an unclosed ``<<``, a ``<<`` inside a response, an empty response and a text without any
    response. A ``>>`` outside a response is ordinary text (``x >> y``).
    """
    position, found = 0, 0
    while (start := text.find(OPEN, position)) >= 0:
        end = text.find(CLOSE, start + 2)
        if end < 0:
            return f"unclosed '<<' {_place(text, start)}"
        if OPEN in text[start + 2 : end]:
            return f"nested '<<' {_place(text, start)}"
        if is_blank(text[start + 2 : end]):
            return f"empty response {_place(text, start)}"
        position, found = end + 2, found + 1
    if HUMAN_RESPONSE[0] in text:
        others = f"the text has '{HUMAN_RESPONSE[0]}'"
        return f"{others} beside '<<…>>'" if found else f"no '<<…>>', but {others}; read it by --markers human_response"
    return None if found else "no response: the text holds no '<<…>>'"


def in_angles(text: str) -> tuple[str, str | None]:
    """A text whose responses stand between ``HUMAN_RESPONSE``, with ``<<`` and ``>>`` instead; and what is wrong."""
    outside = _HUMAN_RESPONSE.sub("", text)
    for sign, where in ((OPEN, text), *((sign, outside) for sign in HUMAN_RESPONSE)):
        if sign in where:
            return text, f"'{sign}' that belongs to no '{'…'.join(HUMAN_RESPONSE)}' {_place(where, where.index(sign))}"
    responses = _HUMAN_RESPONSE.findall(text)
    told = _HUMAN_RESPONSE.sub(lambda found: f"{OPEN}{found[1]}{CLOSE}", text)
    if [told[one.start : one.end] for one in find_responses(told)] != responses:
        return text, f"a '<' or '>' stands beside a '{HUMAN_RESPONSE[0]}', or '>>' within; write it otherwise"
    return told, None


def count_images(text: str) -> int:
    """Pictures that a text names, by ``<image>`` or by the name of a file; people saw them, and no model does."""
    return len(_IMAGE.findall(text)) if _IMAGE_SIGN.search(text) else 0


def check_study_name(study: str, origin: str) -> str:
    """Return ``study`` if it can name a study; a path (``/``, ``\\``, ``..``) or control characters cannot."""
    if study in {".", ".."} or not _STUDY_NAME.fullmatch(study):
        remedy = "use a name without '/', '\\', '..' or control characters"
        raise UserError(f"{origin}: {study!r} cannot name a study; {remedy}")
    return study


def told(key: SessionKey, text_digest: str) -> bytes:
    """A session as it counts for its study's fingerprint."""
    return f"{key.experiment}\0{key.participant}\0{text_digest}".encode("utf-8", "backslashreplace")


def study_fingerprint(sessions: Iterable[bytes]) -> str:
    """SHA-256 over the sessions of a study as ``told``, in the order of their bytes, each once."""
    digest = hashlib.sha256()
    for number, session in enumerate(sessions):
        digest.update(b"\n" * bool(number) + session)
    return digest.hexdigest()


def data_fingerprint(studies: Mapping[str, str]) -> str:
    """SHA-256 over the fingerprints of ``studies``, in the order of their names."""
    return hashlib.sha256("".join(studies[study] for study in sorted(studies)).encode()).hexdigest()


def _place(text: str, start: int, width: int = 40) -> str:
    line = text.count("\n", 0, start) + 1
    return f"on line {line} of the text: {text[start : start + width]!r}"
