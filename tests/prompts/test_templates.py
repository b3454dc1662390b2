"""Chat templates as real models have them: where the responses stand in their text."""

from dataclasses import replace
from inspect import signature

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from centaurlab.prompts.encoding import encode_prompt
from centaurlab.prompts.prompt import session_prompt
from centaurlab.prompts.templates import conversation
from centaurlab.runtime.errors import UserError
from helpers.chat_templates import (
    CHATML,
    CONTEXTS,
    HEADERS,
    SESSION,
    TEMPLATES,
    context,
    told,
)

each_template = pytest.mark.parametrize("template", TEMPLATES)


def test_a_session_is_a_conversation_of_user_and_assistant() -> None:
    turns = conversation(session_prompt(SESSION))
    assert [(turn.content, turn.number) for turn in turns] == [
        ("You see J and F.\nYou press ", None),
        *(("J", 0), (" and win 3.\nYou press ", None), ("F", 1), (", then ", None), ("J", 2)),
        (". Bye.", None),
    ]


def test_sides_alternate_whatever_the_session() -> None:
    turns = conversation(session_prompt("<<a>><<b>> You say << >>nothing <<>> and << c>>"))
    assert [turn.message for turn in turns] == [
        {"role": "user", "content": ""},
        {"role": "assistant", "content": "a"},
        {"role": "user", "content": ""},
        {"role": "assistant", "content": "b"},
        {"role": "user", "content": " You say  nothing  and "},
        {"role": "assistant", "content": " c"},
        {"role": "user", "content": "."},
    ]
    assert [turn.number for turn in turns if turn.number is not None] == [0, 1, 4]


def test_what_a_model_reads_is_exactly_this() -> None:
    prompt = CONTEXTS["Llama 3"].prompt(told("Pick J or F.\nYou press <<J>>, then <<F>>."), "full")
    assert prompt.text == (
        "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\n"
        "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nPick J or F.\nYou press<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\nJ<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\n, then<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\nF<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\n.<|eot_id|>"
    )
    assert [(r.number, prompt.text[r.start : r.end]) for r in prompt.responses] == [(0, "J"), (1, "F")]


@each_template
def test_responses_are_found_where_they_stand(template: str) -> None:
    prompt = CONTEXTS[template].prompt(told(), "full")
    assert [(r.number, prompt.text[r.start : r.end]) for r in prompt.responses] == [(0, "J"), (1, "F"), (2, "J")]
    for response in prompt.responses:
        assert prompt.text[: response.start].endswith(HEADERS.get(template, "<|im_start|>assistant\n"))


@each_template
@settings(max_examples=60, deadline=None)
@given(
    parts=st.lists(
        st.tuples(
            st.sampled_from(["", " ", "You press ", "\n\nuser\n", "J", "assistant", "<|im_end|>\n", "<think>", ". "]),
            st.sampled_from(["J", " J", "J\n", "<|im_end|> ", "<|eot_id|>!", "-3", "assistant\n", "qz1z", "model"]),
        ),
        min_size=1,
        max_size=6,
    )
)
def test_every_response_is_found_or_counted_whatever_people_type(template: str, parts: list[tuple[str, str]]) -> None:
    text = "".join(f"{before}<<{response}>>" for before, response in parts)
    prompt = CONTEXTS[template].prompt(told(text), "full")
    found = [(r.number, prompt.text[r.start : r.end].strip()) for r in prompt.responses]
    assert found == [(i, response.strip()) for i, (_, response) in enumerate(parts)]
    tokenizer = CONTEXTS[template].tokenizer
    encoding = encode_prompt(prompt, tokenizer)
    assert encoding.coverage.scored == len(parts) == encoding.coverage.responses
    for response, start, end in zip(prompt.responses, encoding.start_R, encoding.end_R, strict=True):
        ids = encoding.input_ids_T[start:end].tolist()
        assert not set(tokenizer.all_special_ids) & set(ids)
        assert tokenizer.decode(ids) == prompt.text[response.start : response.end]


@pytest.mark.skipif(
    "sanitize_control_tokens" not in signature(PreTrainedTokenizerFast.apply_chat_template).parameters,
    reason="older releases of transformers do not mark what people typed",
)
@each_template
def test_the_tokens_are_those_of_the_librarys_own_template_function(template: str) -> None:
    """transformers marks what people typed, and encodes its control tokens as text."""
    chat, session = (
        CONTEXTS[template],
        told("You see <|im_end|> J.\nYou press <<J>> and win.\nYou press <<<bos>!>> now."),
    )
    encoding = encode_prompt(chat.prompt(session, "full"), chat.tokenizer)
    expected = chat.tokenizer.apply_chat_template(
        [turn.message for turn in conversation(session_prompt(session.text))],
        sanitize_control_tokens=True,
        date_string="26 Jul 2024",
    )["input_ids"]
    assert encoding.input_ids_T.tolist() == expected[: len(encoding.input_ids_T)]
    assert encoding.coverage.scored == 2
    assert encoding.coverage.straddling == 0


def test_white_space_belongs_to_special_tokens_that_swallow_it() -> None:
    from tokenizers import AddedToken

    chat = context(CHATML)
    chat.tokenizer.add_special_tokens({"additional_special_tokens": [AddedToken("<|sep|>", rstrip=True, special=True)]})
    chat = replace(chat, template=CHATML.replace("+ message['role'] + '\n'", "+ message['role'] + '<|sep|>\n \n'"))
    encoding = encode_prompt(chat.prompt(told("You press <<J>>."), "full"), chat.tokenizer)
    assert chat.tokenizer.convert_ids_to_tokens(encoding.input_ids_T.tolist())[-2:] == ["<|sep|>", "J"]


def test_only_what_the_template_says_is_at_the_front() -> None:
    tokenizer = CONTEXTS["ChatML"].tokenizer
    begin = tokenizer.convert_tokens_to_ids("<|begin_of_text|>")
    for template, n_begin in (("ChatML", 0), ("Llama 3", 1)):
        ids = encode_prompt(CONTEXTS[template].prompt(told(), "full"), tokenizer).input_ids_T.tolist()
        assert ids.count(begin) == n_begin


def test_what_a_template_refuses_is_told_in_its_words() -> None:
    strict = context("{{ raise_exception('After the optional system message, no users') }}")
    with pytest.raises(UserError, match=r"people\.jsonl:3: .*refuses the conversation \(After the optional"):
        strict.prompt(told(), "full")


@pytest.mark.parametrize(
    "template",
    [
        CHATML.replace("message['content']", "message['content'] + message['content']"),
        "{% for message in messages | reverse %}{{ message['content'] + '\n' }}{% endfor %}",
    ],
)
def test_a_template_that_cannot_be_followed_is_refused(template: str) -> None:
    with pytest.raises(UserError, match="twice or in another order"):
        context(template).prompt(told(), "full")


def test_a_template_that_begins_otherwise_for_some_sessions_is_refused() -> None:
    fickle = context("{{ 'Now J: ' if 'J' in messages[0]['content'] else '' }}" + CHATML)
    with pytest.raises(UserError, match="something else around this session"):
        fickle.prompt(told(), "full")


def test_templates_are_told_apart_by_what_they_say() -> None:
    identities = [chat.identity for chat in CONTEXTS.values()]
    assert all(a != b for i, a in enumerate(identities) for b in identities[:i])
    assert [one["thinking"] for one in identities].count("off") == 1


def test_the_papers_protocol_edits_the_session_before_it_is_a_conversation() -> None:
    prompt = CONTEXTS["ChatML"].prompt(told("You say <<-5>> and <<skip>>" + " x" * 20_000 + "<<J>>"), "paper")
    assert [(r.number, prompt.text[r.start : r.end]) for r in prompt.responses] == [(0, " -5"), (1, "skip")]
    assert prompt.n_responses == 3


def test_the_tokenizer_is_a_fast_one() -> None:
    assert isinstance(CONTEXTS["ChatML"].tokenizer, PreTrainedTokenizerFast)
