"""A session as a conversation in a model's chat template, and what the template does to it.

The markers go; what people are told is the user's, each response a turn of the assistant's. Where the responses
stand in what the template writes is found by writing the conversation a second time, with a placeholder for every
turn: what stands between the placeholders is the template's own, what stands between that in the first is the
session's. Anything that a template does to the session on the way (``template_audit.py``) is therefore seen.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING, Any, Literal

from centaurlab.data.transcripts import BLANK, CLOSE, OPEN, SessionKey, Transcript
from centaurlab.models.arguments import ModelArguments
from centaurlab.prompts.chat import own_chat_tokenizer
from centaurlab.prompts.prompt import Prompt, PromptResponse, session_prompt
from centaurlab.prompts.rendering import own_template, render
from centaurlab.runtime.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


TODAY = date(2024, 7, 26)
"""For templates that write the date: the same on every day, and what those of Llama 3 fall back on."""

_PLACEHOLDER = re.compile(r"qz(\d+)zq")
_EMPTY = re.compile(f"{OPEN}({BLANK}){CLOSE}")
_NOW = re.compile(r"strftime_now\(\s*['\"]([^'\"]*)['\"]\s*\)")
_FORMS = (str, str.strip, str.lstrip, str.rstrip)

Fate = Literal["kept", "trimmed", "rewritten", "dropped", "blank"]


@dataclass(frozen=True)
class Turn:
    """What one side says; ``number``: of the response that it is, None for the user's."""

    content: str
    number: int | None

    @property
    def message(self) -> dict[str, str]:
        """The turn as templates take it."""
        return {"role": "user" if self.number is None else "assistant", "content": self.content}


@dataclass(frozen=True)
class WrittenTurn:
    """A turn in the template's text: at ``text[start:end]``, unless its ``fate`` is another than kept or trimmed.

    ``blank``: of white space alone, and looked at no further.
    """

    turn: Turn
    fate: Fate
    start: int
    end: int


@dataclass(frozen=True)
class Written:
    """A session as the template writes it. ``n_merged``: empty responses, whose neighbours are one turn."""

    text: str
    turns: tuple[WrittenTurn, ...]
    n_responses: int
    n_merged: int
    n_malformed: int


@dataclass(frozen=True)
class TemplateContext:
    """The chat template around every session; thinking is off where the template knows ``enable_thinking``."""

    tokenizer: "PreTrainedTokenizerBase" = field(repr=False)
    template: str = field(repr=False)
    today: date = TODAY
    sessions: frozenset[SessionKey] | None = None

    @property
    def knows_thinking(self) -> bool:
        """Whether thinking can be turned off."""
        return "enable_thinking" in self.template

    @property
    def identity(self) -> Mapping[str, Any]:
        """The template, by its digest, and what it was given."""
        return {
            "chat_template": hashlib.sha256(self.template.encode()).hexdigest(),
            "thinking": "off" if self.knows_thinking else "not known to the template",
            "date": self.today.isoformat(),
        }

    def prompt(self, transcript: Transcript, protocol: str) -> Prompt:
        """The session as the template writes it. ``UserError`` where it refuses, or cannot be followed."""
        written = self.write(transcript, protocol)
        found = [one for one in written.turns if one.fate in ("kept", "trimmed")]
        edges = [0, *(edge for one in written.turns if one.end > one.start for edge in (one.start, one.end))]
        return Prompt(
            written.text,
            tuple(PromptResponse(one.turn.number, one.start, one.end) for one in found if one.turn.number is not None),
            n_responses=written.n_responses,
            n_empty=written.n_merged,
            n_malformed=written.n_malformed,
            scaffold=tuple(zip(edges[::2], [*edges[1::2], len(written.text)], strict=True)),
        )

    def write(self, transcript: Transcript, protocol: str = "full") -> Written:
        """The session as the template writes it, turn by turn."""
        plain = session_prompt(transcript.text, protocol)
        turns = conversation(plain)
        try:
            text = self.render([turn.message for turn in turns])
            spans = self._find(text, turns)
        except UserError as error:
            raise UserError(f"{transcript.origin}: {transcript.key}: {error}") from error
        return Written(text, spans, plain.n_responses, plain.n_empty, plain.n_malformed)

    def render(
        self, messages: Sequence[Mapping[str, str]], reply_follows: bool = False, thinking: bool | None = False
    ) -> str:
        """What the template makes of ``messages``; ``thinking=None`` leaves the matter to it."""
        options: dict[str, Any] = {"date_string": self.today.strftime("%d %b %Y")}
        if self.knows_thinking and thinking is not None:
            options["enable_thinking"] = thinking
        dated = _NOW.sub(lambda found: json.dumps(self.today.strftime(found[1] or "")), self.template)
        return render(self.tokenizer, messages, dated, reply_follows, **options)

    def frame(self, turns: Sequence[Turn]) -> tuple[list[str], list[int]]:
        """What the template writes around turns: the pieces between them, and which turns stand between these."""
        messages = [
            turn.message | ({"content": f"qz{i}zq"} if turn.content.strip() else {}) for i, turn in enumerate(turns)
        ]
        parts = _PLACEHOLDER.split(self.render(messages))
        numbers = [int(number) for number in parts[1::2]]
        if sorted(set(numbers)) != numbers:
            raise UserError(
                f"the chat template of {self.tokenizer.name_or_path} writes turns twice or in another order, so "
                "responses cannot be found in its text"
            )
        return parts[::2], numbers

    def _find(self, text: str, turns: Sequence[Turn]) -> tuple[WrittenTurn, ...]:
        pieces, numbers = self.frame(turns)
        found: dict[int, WrittenTurn] = {}
        if not text.startswith(pieces[0]):
            raise self._lost(0)
        position = len(pieces[0])
        for i, after in zip(numbers, pieces[1:], strict=True):
            found[i] = one = _find_turn(text, turns[i], position, after)
            is_last = i == numbers[-1]
            if (one.fate == "rewritten" and not after) or (is_last and one.end + len(after) != len(text)):
                raise self._lost(i)
            if not text.startswith(after, one.end):
                raise self._lost(i)
            position = one.end + len(after)
        written = []
        position = 0
        for i, turn in enumerate(turns):
            absent: Fate = "dropped" if turn.content.strip() else "blank"
            written.append(found.get(i) or WrittenTurn(turn, absent, position, position))
            position = written[-1].end
        return tuple(written)

    def _lost(self, i: int) -> UserError:
        return UserError(
            f"the chat template of {self.tokenizer.name_or_path} writes something else around this session than around "
            f"others (at turn {i + 1}), so its responses cannot be found"
        )


def template_context(args: ModelArguments) -> TemplateContext:
    """The model's own chat template; ``UserError`` where it has none, or one whose date cannot be fixed."""
    tokenizer = own_chat_tokenizer(args)
    name = tokenizer.name_or_path
    if not tokenizer.chat_template:
        raise UserError(f"{name} has no chat template; name a model that has one (base models often do not)")
    template = own_template(tokenizer)
    if "strftime_now(" in _NOW.sub("", template):
        raise UserError(f"the chat template of {name} works the date out, which would make scores differ by the day")
    return TemplateContext(tokenizer, template)


def conversation(session: Prompt) -> list[Turn]:
    """The session's turns, the user's and the assistant's by turns, from the user's to the user's.

    Between responses without text the user's turn is empty. An empty response makes no turn: the text around it is
    one. A session that ends with a response is ended by the user with a full stop, as in the published evaluation;
    how a template writes the last reply is no history.
    """
    turns: list[Turn] = []
    position = 0
    for response in session.responses:
        turns.append(Turn(_without_markers(session.text[position : response.start - len(OPEN)]), None))
        turns.append(Turn(session.text[response.start : response.end], response.number))
        position = response.end + len(CLOSE)
    rest = _without_markers(session.text[position:])
    return [*turns, Turn(rest if rest.strip() else f"{rest}.", None)]


def _without_markers(text: str) -> str:
    return _EMPTY.sub(r"\1", text)


def _find_turn(text: str, turn: Turn, start: int, after: str) -> WrittenTurn:
    for form in _FORMS:
        content = form(turn.content)
        if text.startswith(content + after, start):
            return WrittenTurn(turn, "kept" if content == turn.content else "trimmed", start, start + len(content))
    end = text.find(after, start)
    fate: Fate = "dropped" if end == start else "rewritten"
    return WrittenTurn(turn, fate, start, max(start, end))
