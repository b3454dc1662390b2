"""A conversation's labels are those of the assistant's turns, and a template that moves earlier turns is refused."""

from pathlib import Path

import pytest

from centaurlab.models.loading import load_tokenizer
from centaurlab.prompts.chat import PLAIN_TEMPLATE, chat_tokenizer, encode_conversation
from centaurlab.runtime.errors import UserError
from helpers.tiny_models import named


def test_labels_are_those_of_the_assistants_turns_alone(tiny_llama_dir: Path) -> None:
    tokenizer = chat_tokenizer(named(tiny_llama_dir))
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Is 2 < 3?"},
        {"role": "assistant", "content": "Yes."},
        {"role": "user", "content": "Sure?"},
        {"role": "assistant", "content": "Sure."},
        {"role": "user", "content": "Thanks"},
    ]
    encoded = encode_conversation(messages, tokenizer)
    ids = encoded.input_ids_T
    assert tokenizer.decode(ids[encoded.is_reply_T]) == "Yes.<|end|>\n\nSure.<|end|>\n\n"
    assert tokenizer.decode(ids) == (
        "System:\nBe brief.\n\n"
        "User:\nIs 2 < 3?\n\nAssistant:\nYes.<|end|>\n\nUser:\nSure?\n\nAssistant:\nSure.<|end|>\n\n"
    )
    with pytest.raises(UserError, match="no turn of the role 'assistant'"):
        encode_conversation(messages[:2], tokenizer)


def test_a_template_that_rewrites_history_is_refused(tiny_llama_dir: Path) -> None:
    tokenizer = load_tokenizer(named(tiny_llama_dir))
    tokenizer.chat_template = "{{ messages | length }}" + PLAIN_TEMPLATE
    with pytest.raises(UserError, match="changes earlier turns"):
        encode_conversation([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}] * 2, tokenizer)
