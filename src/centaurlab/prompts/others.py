"""A session after the sessions of other people of its study: what in-context learning makes of n of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from centaurlab.data.transcripts import SessionKey, Transcript, text_digest
from centaurlab.prompts.prompt import Prompt, PromptResponse, protocol_text, session_prompt

BETWEEN = "\n\n"
"""What stands between two sessions."""


@dataclass(frozen=True)
class OthersContext:
    """Before each of ``sessions`` stand whole sessions of ``others``, by study, in this order.

    Only the session's own responses are scored.
    """

    sessions: frozenset[SessionKey] = field(repr=False)
    others: Mapping[str, Sequence[str]] = field(repr=False)

    @property
    def identity(self) -> Mapping[str, Any]:
        """The number and the digest of the sessions before those of each study."""
        told = {study: [len(texts), text_digest(BETWEEN.join(texts))] for study, texts in sorted(self.others.items())}
        return {"kind": "others", "before": told}

    def prompt(self, transcript: Transcript, protocol: str) -> Prompt:
        """The session after the others."""
        before = "".join(protocol_text(text, protocol) + BETWEEN for text in self.others[transcript.study])
        own = session_prompt(transcript.text, protocol)
        responses = tuple(PromptResponse(r.number, r.start + len(before), r.end + len(before)) for r in own.responses)
        return Prompt(before + own.text, responses, own.n_responses, own.n_empty, own.n_malformed)
