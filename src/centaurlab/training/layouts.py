"""A row of a data set of conversations, in any of the usual layouts, into lists of messages.

Supervised: ``messages``, ``conversations`` (ShareGPT's) or ``prompt`` and ``completion``. Preferences: ``prompt``,
``chosen`` and ``rejected``, or the last two with the prompt in them. Texts stand for a message each, of the user's or
the assistant's; https://huggingface.co/docs/trl/dataset_formats describes the rest.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from centaurlab.chat import Message
from centaurlab.errors import UserError

SUPERVISED = (("messages",), ("conversations",), ("prompt", "completion"))
PREFERENCES = (("chosen", "rejected"),)
"""The columns of which a data set needs one group."""

_SHAREGPT_ROLES = {"human": "user", "gpt": "assistant"}


class Preference(NamedTuple):
    """What is asked, and the two replies to it."""

    prompt: list[Message]
    chosen: list[Message]
    rejected: list[Message]


def conversation_of(row: Mapping[str, Any]) -> tuple[list[Message], list[Message]]:
    """The prompt of a supervised row and what is to be learned after it; without a prompt, every reply is.

    Raises ``UserError`` where they are no messages.
    """
    for name in ("messages", "conversations"):
        if name in row:
            return [], _messages(row[name], name, "user")
    return _messages(row["prompt"], "prompt", "user"), _messages(row["completion"], "completion", "assistant")


def preference_of(row: Mapping[str, Any]) -> Preference:
    """The messages of a pair. Replies that begin with a turn of the user's hold the prompt, whatever is beside them."""
    chosen, rejected = (_messages(row[name], name, "assistant") for name in ("chosen", "rejected"))
    if chosen[0]["role"] != "assistant":
        shared = 0
        while shared < min(len(chosen), len(rejected)) - 1 and chosen[shared] == rejected[shared]:
            shared += 1
        if not shared:
            raise UserError("'chosen' and 'rejected' begin with different messages; they must answer the same prompt")
        return Preference(chosen[:shared], chosen[shared:], rejected[shared:])
    if row.get("prompt") is None:
        raise UserError("'chosen' and 'rejected' are replies without a prompt; give it as 'prompt', or in both")
    return Preference(_messages(row["prompt"], "prompt", "user"), chosen, rejected)


def _messages(value: Any, column: str, role: str) -> list[Message]:
    if isinstance(value, str):
        return [{"role": role, "content": value}]
    if not (isinstance(value, Sequence) and value and all(isinstance(turn, Mapping) for turn in value)):
        raise UserError(f"{column!r} is neither text nor a list of messages with 'role' and 'content'")
    return [_message(turn, column) for turn in value]


def _message(turn: Mapping[str, Any], column: str) -> Message:
    role, content = (turn["role"], turn.get("content")) if "role" in turn else (turn.get("from"), turn.get("value"))
    if not (isinstance(role, str) and isinstance(content, str)):
        raise UserError(f"a message of {column!r} has no 'role' and 'content' that are text, but {', '.join(turn)}")
    return {"role": _SHAREGPT_ROLES.get(role, role), "content": content}
