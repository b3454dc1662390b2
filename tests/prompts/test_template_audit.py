"""What a template does to a session is counted by kind, with an example, and what it rewrites is not scored."""

from dataclasses import replace
from datetime import date

import pytest

from centaurlab.prompts.encoding import encode_prompt
from centaurlab.prompts.template_audit import audit
from helpers.chat_templates import (
    CHATML,
    CONTEXTS,
    LLAMA_3,
    QWEN_3,
    SESSION,
    TEMPLATES,
    context,
    told,
)

each_template = pytest.mark.parametrize("template", TEMPLATES)


def kinds(template: str, *texts: str) -> dict[str, tuple[int, int]]:
    return {one.kind: (one.n, one.of) for one in audit(CONTEXTS[template], map(told, texts or (SESSION,)))}


def example(template: str, kind: str, text: str = SESSION) -> str:
    (found,) = (one.example for one in audit(CONTEXTS[template], [told(text)]) if one.kind == kind)
    return found


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


def test_what_a_template_adds_to_some_responses_makes_them_others() -> None:
    fickle = context(CHATML.replace("'<|im_end|>\n'", "('!' if 'J' in message['content'] else '') + '<|im_end|>\n'"))
    assert [r.number for r in fickle.prompt(told("You press <<J>>, <<F>>, <<J>>."), "full").responses] == [1]
    findings = audit(fickle, [told()])
    assert "'J' became 'J!'" in {one.example for one in findings}


def test_turns_that_a_template_leaves_out_are_dropped() -> None:
    only_users = CHATML.replace("in messages", "in messages if message['role'] == 'user'")
    prompt = context(only_users).prompt(told(), "full")
    assert prompt.responses == ()
    found = {one.kind: (one.n, one.of) for one in audit(context(only_users), [told()])}
    assert found["response dropped"] == (3, 3)
    assert "turns left out" in found
