"""What stands around a session when it is scored: nothing, a persona, a chat template."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from centaurlab.data.transcripts import SessionKey, Transcript
from centaurlab.prompts.prompt import Prompt, session_prompt


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


@dataclass(frozen=True)
class Reading:
    """How sessions are read: by which protocol, in which context (None: as they were told)."""

    protocol: str
    context: Context | None = None

    def prompt(self, transcript: Transcript) -> Prompt:
        """What the model reads. Built once for each session (``scoring.plan``): a chat template takes its time."""
        if self.context:
            return self.context.prompt(transcript, self.protocol)
        return session_prompt(transcript.text, self.protocol)

    def digest(self, prompt: Prompt, text_digest: str) -> str:
        """The key of a session's result in the store, from its prompt and the digest of its text."""
        return prompt.digest if self.context else text_digest

    def beginning(self, prompt: Prompt) -> str:
        """The part of a prompt by which sessions are ordered."""
        return prompt.text[: prompt.responses[0].start] if self.context and prompt.responses else prompt.text


@dataclass(frozen=True)
class PlainContext:
    """Nothing around the sessions named."""

    sessions: frozenset[SessionKey] = field(repr=False)
    identity: Mapping[str, Any] = field(default_factory=dict)

    def prompt(self, transcript: Transcript, protocol: str) -> Prompt:
        """The session as it was told."""
        return session_prompt(transcript.text, protocol)
