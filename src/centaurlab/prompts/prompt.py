"""A session's text as a model is to read it: as it was told, or with something around it that is not the session.

A ``Context`` puts a persona before the text or the text into a chat template; which session it is, and how its
responses are numbered, stays as in the data, so that two ways of reading are compared response by response.
"""

import json
import re
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

from centaurlab.data.transcripts import CLOSE, OPEN, find_responses, is_blank, text_digest


@dataclass(frozen=True, slots=True)  # a window holds a million
class PromptResponse:
    """The characters ``text[start:end]`` of a prompt that are response ``number`` of its session, from 0."""

    number: int
    start: int
    end: int


@dataclass(frozen=True)
class Prompt:
    """A text to score. Responses that are not in it count as ``n_empty`` and ``n_cut`` of ``n_responses``.

    ``scaffold`` holds the stretches (start, end) that a template wrote, in which special tokens are meant; None:
    there is no template, and the tokenizer puts its own special tokens in front. ``starts``: the characters at which
    the model begins anew, with nothing before; none where the text is one.
    """

    text: str
    responses: tuple[PromptResponse, ...]
    n_responses: int
    n_empty: int = 0
    n_malformed: int = 0
    scaffold: tuple[tuple[int, int], ...] | None = None
    starts: tuple[int, ...] = ()

    @property
    def digest(self) -> str:
        """SHA-256 over the text and what in it is a response: equal prompts are scored once."""
        spans = [[r.number, r.start, r.end] for r in self.responses]
        told = [self.text, self.n_responses, spans, *([self.starts] if self.starts else [])]
        return text_digest(json.dumps(told, ensure_ascii=False))

    def pieces(self) -> "list[Prompt]":
        """The texts that the model reads one by one, each with its responses; itself where there is one."""
        if not self.starts:
            return [self]
        found, position = [], 0
        for start, end in pairwise([0, *self.starts, len(self.text)]):
            first = position
            while position < len(self.responses) and self.responses[position].end <= end:
                position += 1
            own = self.responses[first:position]
            moved = tuple(PromptResponse(r.number, r.start - start, r.end - start) for r in own)
            found.append(Prompt(self.text[start:end], moved, len(moved)))
        return found


def beginning(prompt: Prompt, n_characters: int) -> Prompt:
    """The first ``n_characters`` of a prompt, with the responses that end there; itself where it has no more."""
    if n_characters >= len(prompt.text):
        return prompt
    scaffold = prompt.scaffold and tuple((a, min(b, n_characters)) for a, b in prompt.scaffold if a < n_characters)
    responses = tuple(response for response in prompt.responses if response.end <= n_characters)
    return replace(prompt, text=prompt.text[:n_characters], responses=responses, scaffold=scaffold)


Protocol = Literal["full", "paper"]
PAPER_MAX_CHARACTERS = 32_768


def protocol_text(text: str, protocol: str) -> str:
    """The text that ``protocol`` scores: the whole session, or what the paper's published code makes of it.

    Source of ``paper``: the evaluation code of "Post-training makes large language models less human-like".
    """
    if protocol == "full":
        return text
    text = text[:PAPER_MAX_CHARACTERS]
    if text.rfind(OPEN) > text.rfind(CLOSE):
        text = text[: text.rfind(OPEN)]
    text = text.replace("<<skip>>", "<<skip>>.").replace("<<-", "<< -").replace("<<think>>", "<< think>>")
    text = text.replace("More Details >>", "More Details ->")
    return re.sub(r"\s+>>", CLOSE, text)


def session_prompt(text: str, protocol: str = "full", before: str = "") -> Prompt:
    """The session as ``protocol`` scores it, after ``before``, which holds no response."""
    n_in_text = len(find_responses(text))
    text = before + protocol_text(text, protocol)
    responses = find_responses(text)
    seen = [(i, r) for i, r in enumerate(responses) if not is_blank(text[r.start : r.end])]
    answered = [PromptResponse(i, r.start, r.end) for i, r in seen]
    n_empty, n_malformed = len(responses) - len(answered), text.count(OPEN) - len(responses)
    return Prompt(text, tuple(answered), n_in_text, n_empty, n_malformed)
