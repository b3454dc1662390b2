"""Conversations into text and tokens by a model's chat template, or by a plain one where it has none.

A reply's tokens are those that overlap its characters in the rendered text, as with human responses; everything
that the template puts between two turns counts to the reply before it, so that a model learns to stop.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from centaurlab.models.arguments import ModelArguments
from centaurlab.models.checkpoints import find_checkpoint
from centaurlab.models.loading import load_tokenizer
from centaurlab.prompts.encoding import Ints
from centaurlab.prompts.rendering import render
from centaurlab.runtime.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast


Message = Mapping[str, str]
"""``{"role": "user", "content": "…"}``"""

PLAIN_TEMPLATE = (
    "{{ bos_token or '' }}"
    "{% for message in messages %}{{ message['role'] | capitalize }}:\n{{ message['content'] }}"
    "{% if message['role'] == 'assistant' %}{{ eos_token }}{% endif %}{{ '\n\n' }}{% endfor %}"
    "{% if add_generation_prompt %}Assistant:\n{% endif %}"
)
"""For models without a template of their own: words that every tokenizer knows, and no new tokens."""


@dataclass(frozen=True)
class EncodedReplies:
    """T tokens of a conversation; ``is_reply_T``: those of the assistant's turns."""

    input_ids_T: Ints
    is_reply_T: npt.NDArray[np.bool_]


def chat_tokenizer(args: ModelArguments) -> "PreTrainedTokenizerFast":
    """The model's tokenizer with a chat template: its own, that of its base, or ``PLAIN_TEMPLATE``."""
    tokenizer = own_chat_tokenizer(args)
    tokenizer.chat_template = tokenizer.chat_template or PLAIN_TEMPLATE
    return tokenizer


def own_chat_tokenizer(args: ModelArguments) -> "PreTrainedTokenizerFast":
    """The model's tokenizer with the chat template of its own folder or of its base, if there is one."""
    tokenizer = load_tokenizer(args)
    for name in filter(None, (args.adapter_name_or_path, args.model_name_or_path)):
        own = find_checkpoint(name, None, False, False).folder / "chat_template.jinja"
        if own.is_file():
            tokenizer.chat_template = read_template(own)
            break
    return tokenizer


def read_template(path: Path) -> str:
    """The chat template in a file; ``UserError`` where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read the chat template {path}: {error}") from error


def encode_conversation(messages: Sequence[Message], tokenizer: "PreTrainedTokenizerBase") -> EncodedReplies:
    """Token ids of ``messages`` up to its last assistant turn.

    Raises ``UserError`` without such a turn, and where the template writes earlier turns differently once later
    ones follow: the model would be trained on contexts that it never sees.
    """
    turns = [i for i, message in enumerate(messages) if message["role"] == "assistant"]
    if not turns:
        raise UserError("a conversation has no turn of the role 'assistant'; there is nothing to learn from it")
    text = render(tokenizer, messages[: turns[-1] + 1])
    spans = []
    for i in turns:
        before, upto = render(tokenizer, messages[:i], reply_follows=True), render(tokenizer, messages[: i + 1])
        if not (upto.startswith(before) and text.startswith(upto)):
            raise _rewritten(tokenizer)
        spans.append((len(before), len(upto)))
    return _encode(text, spans, tokenizer)


def encode_completion(
    prompt: Sequence[Message], completion: Sequence[Message], tokenizer: "PreTrainedTokenizerBase"
) -> EncodedReplies:
    """Token ids of ``prompt`` and ``completion``, all of which counts as the reply.

    Raises ``UserError`` where the template writes the prompt differently once the completion follows.
    """
    before = render(tokenizer, prompt, reply_follows=True)
    text = render(tokenizer, [*prompt, *completion])
    if not text.startswith(before):
        raise _rewritten(tokenizer)
    return _encode(text, [(len(before), len(text))], tokenizer)


def encode_reply(question: str, reply: str, tokenizer: "PreTrainedTokenizerBase") -> EncodedReplies:
    """Token ids of a question and the beginning of a reply to it, which need not be whole."""
    before = render(tokenizer, [{"role": "user", "content": question}], reply_follows=True)
    return _encode(before + reply, [(len(before), len(before) + len(reply))], tokenizer)


def _rewritten(tokenizer: "PreTrainedTokenizerBase") -> UserError:
    return UserError(
        f"the chat template of {tokenizer.name_or_path} changes earlier turns when later ones are added; use "
        "conversations of one reply, or another chat template (chat_template_path)"
    )


def _encode(text: str, spans: Sequence[tuple[int, int]], tokenizer: "PreTrainedTokenizerBase") -> EncodedReplies:
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    starts_T, ends_T = np.array(encoded["offset_mapping"], np.int64).reshape(-1, 2).T
    is_reply_T = np.zeros(len(starts_T), np.bool_)
    for start, end in spans:
        is_reply_T |= (ends_T > start) & (starts_T < end)
    return EncodedReplies(np.array(encoded["input_ids"], np.int32), is_reply_T)
