"""Chat templates as real models have them: where the responses stand in their text, and what they do to a session."""

from dataclasses import replace
from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from centaurlab.data.transcripts import Transcript
from centaurlab.prompts.encoding import encode_prompt
from centaurlab.prompts.prompt import session_prompt
from centaurlab.prompts.template_audit import audit
from centaurlab.prompts.templates import TemplateContext, conversation
from centaurlab.runtime.errors import UserError
from helpers.tiny_models import byte_level_bpe

SPECIAL = ["<pad>", "<|eot_id|>", "<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|im_start|>"]
SPECIAL += ["<|im_end|>", "<start_of_turn>", "<end_of_turn>", "<bos>"]

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
CHATML_SYSTEM = (
    "{% for message in messages %}{% if loop.first and message['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are a helpful AI assistant.<|im_end|>\n' }}{% endif %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
LLAMA_3 = (
    "{{- bos_token }}{%- if not date_string is defined %}{%- if strftime_now is defined %}"
    "{%- set date_string = strftime_now('%d %b %Y') %}{%- else %}{%- set date_string = '26 Jul 2024' %}{%- endif %}"
    "{%- endif %}{{- '<|start_header_id|>system<|end_header_id|>\n\n' }}"
    "{{- 'Cutting Knowledge Date: December 2023\nToday Date: ' + date_string + '\n\n<|eot_id|>' }}"
    "{%- for message in messages %}"
    "{{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' }}"
    "{{- message['content'] | trim + '<|eot_id|>' }}"
    "{%- endfor %}{%- if add_generation_prompt %}{{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{%- endif %}"
)
GEMMA = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}"
    "{% endif %}"
    "{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
    "{% set role = 'model' if message['role'] == 'assistant' else message['role'] %}"
    "{{ '<start_of_turn>' + role + '\n' + message['content'] | trim + '<end_of_turn>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{'<start_of_turn>model\n'}}{% endif %}"
)
QWEN_3 = (
    "{%- set ns = namespace(last=-1) %}"
    "{%- for message in messages %}{%- if message.role == 'user' %}{%- set ns.last = loop.index0 %}{%- endif %}"
    "{%- endfor %}{%- for message in messages %}{%- set content = message.content %}"
    "{%- if message.role == 'user' %}{{- '<|im_start|>user\n' + content + '<|im_end|>\n' }}{%- else %}"
    "{%- set reasoning = '' %}{%- if '</think>' in content %}"
    "{%- set reasoning = content.split('</think>')[0].split('<think>')[-1].strip('\n') %}"
    "{%- set content = content.split('</think>')[-1].lstrip('\n') %}{%- endif %}"
    "{%- if loop.index0 > ns.last %}"
    "{{- '<|im_start|>assistant\n<think>\n' + reasoning + '\n</think>\n\n' + content + '<|im_end|>\n' }}"
    "{%- else %}{{- '<|im_start|>assistant\n' + content + '<|im_end|>\n' }}{%- endif %}{%- endif %}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}"
    "{%- if enable_thinking is defined and enable_thinking is false %}{{- '<think>\n\n</think>\n\n' }}{%- endif %}"
    "{%- endif %}"
)
TEMPLATES = {"ChatML": CHATML, "SmolLM2": CHATML_SYSTEM, "Llama 3": LLAMA_3, "Gemma": GEMMA, "Qwen 3": QWEN_3}
HEADERS = {
    "Llama 3": "<|start_header_id|>assistant<|end_header_id|>\n\n",
    "Gemma": "<start_of_turn>model\n",
}
SESSION = "You see J and F.\nYou press <<J>> and win 3.\nYou press <<F>>, then <<J>>. Bye."


def context(template: str) -> TemplateContext:
    tokenizer = byte_level_bpe(SPECIAL, bos="<|begin_of_text|>")
    tokenizer.chat_template = template
    return TemplateContext(tokenizer, template)


CONTEXTS = {name: context(template) for name, template in TEMPLATES.items()}
each_template = pytest.mark.parametrize("template", TEMPLATES)


def told(text: str = SESSION, study: str = "alpha") -> Transcript:
    return Transcript(text, study, f"{study}/exp.csv", "7", origin="people.jsonl:3")


def kinds(template: str, *texts: str) -> dict[str, tuple[int, int]]:
    return {one.kind: (one.n, one.of) for one in audit(CONTEXTS[template], map(told, texts or (SESSION,)))}


def example(template: str, kind: str, text: str = SESSION) -> str:
    (found,) = (one.example for one in audit(CONTEXTS[template], [told(text)]) if one.kind == kind)
    return found


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


@each_template
def test_trimmed_text_is_counted(template: str) -> None:
    found = kinds(template, "You press << J>> then <<F>>.", "You press <<J>> then <<F>>.")
    trims = template in ("Llama 3", "Gemma")
    assert found.get("response trimmed") == ((1, 4) if trims else None)
    assert found.get("user trimmed") == ((4, 6) if trims else None)
    if trims:
        assert example(template, "response trimmed", "You press << J>>.") == "' J' became 'J'"


def test_the_first_white_space_only_turns_are_not_called_trimmed() -> None:
    assert kinds("Gemma", "You press <<J>> <<F>>.")["user blank"] == (1, 3)


def test_thoughts_that_a_template_takes_out_are_rewritten_and_not_scored() -> None:
    text = "You say <<hm</think>yes>>, then <<no>>, then <<a</think>\n>>."
    prompt = CONTEXTS["Qwen 3"].prompt(told(text), "full")
    assert [r.number for r in prompt.responses] == [1]
    coverage = encode_prompt(prompt, CONTEXTS["Qwen 3"].tokenizer).coverage
    assert (coverage.responses, coverage.scored, coverage.cut, coverage.empty) == (3, 1, 2, 0)
    found = kinds("Qwen 3", text)
    assert found["response rewritten"] == (1, 3)
    assert found["response dropped"] == (1, 3)
    assert example("Qwen 3", "response rewritten", text) == "'hm</think>yes' became 'yes'"
    assert "response rewritten" not in kinds("ChatML", text)


def test_empty_responses_are_left_out_and_counted() -> None:
    text = "You say <<>>, then << >> and <<yes>>."
    assert kinds("Gemma", text)["empty response left out"] == (2, 3)
    coverage = encode_prompt(CONTEXTS["Gemma"].prompt(told(text), "full"), CONTEXTS["Gemma"].tokenizer).coverage
    assert (coverage.responses, coverage.scored, coverage.cut, coverage.empty) == (3, 1, 0, 2)


def test_a_system_prompt_is_found_with_its_words() -> None:
    assert "You are a helpful AI assistant." in example("SmolLM2", "system prompt inserted")
    assert "Cutting Knowledge Date" in example("Llama 3", "system prompt inserted")
    for template in ("ChatML", "Gemma", "Qwen 3"):
        assert "system prompt inserted" not in kinds(template)


def test_a_date_is_found_and_the_same_every_day() -> None:
    assert [name for name in TEMPLATES if "date inserted" in kinds(name)] == ["Llama 3"]
    by_clock = context(LLAMA_3.replace("not date_string is defined", "true"))
    assert "Today Date: 26 Jul 2024\n" in by_clock.prompt(told(), "full").text
    assert "date inserted" in {one.kind for one in audit(by_clock, [told()])}
    another = replace(by_clock, today=date(2026, 1, 2))
    assert "Today Date: 02 Jan 2026\n" in another.prompt(told(), "full").text
    assert another.identity != by_clock.identity


def test_thinking_turned_off_is_found_not_to_change_the_history_of_qwen_3() -> None:
    assert "does not change" in example("Qwen 3", "thinking turned off")
    unlike = example("Qwen 3", "responses begin unlike replies")
    assert unlike.startswith(
        r"asked for a reply it writes '<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n'"
    )
    for template in ("ChatML", "SmolLM2", "Llama 3", "Gemma"):
        assert not {"thinking turned off", "responses begin unlike replies"} & kinds(template).keys()
    in_history = context(
        QWEN_3.replace(
            "'<|im_start|>assistant\n' + content",
            "'<|im_start|>assistant\n' + ('' if enable_thinking is false else '<think>') + content",
        )
    )
    found = {one.kind: one.example for one in audit(in_history, [told()])}
    assert "=False changes" in found["thinking turned off"]


def test_plain_text_that_begins_with_a_token_the_template_lacks_is_reported() -> None:
    assert "no beginning of sequence" in kinds("ChatML")
    assert "no beginning of sequence" not in kinds("Llama 3")


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


def test_what_a_template_adds_to_some_responses_makes_them_others() -> None:
    fickle = context(CHATML.replace("'<|im_end|>\n'", "('!' if 'J' in message['content'] else '') + '<|im_end|>\n'"))
    assert [r.number for r in fickle.prompt(told("You press <<J>>, <<F>>, <<J>>."), "full").responses] == [1]
    findings = audit(fickle, [told()])
    assert "'J' became 'J!'" in {one.example for one in findings}


def test_a_template_that_begins_otherwise_for_some_sessions_is_refused() -> None:
    fickle = context("{{ 'Now J: ' if 'J' in messages[0]['content'] else '' }}" + CHATML)
    with pytest.raises(UserError, match="something else around this session"):
        fickle.prompt(told(), "full")


def test_turns_that_a_template_leaves_out_are_dropped() -> None:
    only_users = CHATML.replace("in messages", "in messages if message['role'] == 'user'")
    prompt = context(only_users).prompt(told(), "full")
    assert prompt.responses == ()
    found = {one.kind: (one.n, one.of) for one in audit(context(only_users), [told()])}
    assert found["response dropped"] == (3, 3)
    assert "turns left out" in found


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
