"""A session's text as a model is to read it: as it was told, or with something around it that is not the session.

A ``Context`` puts a persona before the text or the text into a chat template; which session it is, and how its
responses are numbered, stays as in the data, so that two ways of reading are compared response by response.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from centaurlab.transcripts import SessionKey, Transcript, text_digest


@dataclass(frozen=True)
class PromptResponse:
    """The characters ``text[start:end]`` of a prompt that are response ``number`` of its session, from 0."""

    number: int
    start: int
    end: int


@dataclass(frozen=True)
class Prompt:
    """A text to score. Responses that are not in it count as ``n_empty`` and ``n_cut`` of ``n_responses``.

    ``scaffold`` holds the stretches (start, end) that a template wrote, in which special tokens are meant; None:
    there is no template, and the tokenizer puts its own special tokens in front.
    """

    text: str
    responses: tuple[PromptResponse, ...]
    n_responses: int
    n_empty: int = 0
    n_malformed: int = 0
    scaffold: tuple[tuple[int, int], ...] | None = None

    @property
    def digest(self) -> str:
        """SHA-256 over the text and what in it is a response: equal prompts are scored once."""
        spans = [[r.number, r.start, r.end] for r in self.responses]
        return text_digest(json.dumps([self.text, self.n_responses, spans], ensure_ascii=False))


class Context(Protocol):
    """What a run puts around its sessions. Prompts depend on ``identity`` and the session alone."""

    @property
    def identity(self) -> Mapping[str, Any]:
        """What tells the context from others, as JSON."""
        ...

    @property
    def sessions(self) -> frozenset[SessionKey] | None:
        """The sessions that it can be put around; None: all."""
        ...

    def prompt(self, transcript: Transcript, protocol: str) -> Prompt:
        """The session as the model is to read it; ``protocol`` as in ``encoding``."""
        ...
