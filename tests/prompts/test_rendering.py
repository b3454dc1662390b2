"""A chat template writes what transformers' own function writes, and ends in time, memory and length, or is ended."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from centaurlab.prompts import rendering
from centaurlab.prompts.chat import own_chat_tokenizer, read_template
from centaurlab.prompts.rendering import render
from centaurlab.prompts.templates import template_context
from centaurlab.runtime.errors import UserError
from helpers.chat_templates import CHATML, GEMMA, LLAMA_3, QWEN_3, SPECIAL
from helpers.json_files import edit_json
from helpers.tiny_models import byte_level_bpe, named

TOKENIZER = byte_level_bpe(SPECIAL, bos="<|begin_of_text|>")
TURNS = [
    {"role": "user", "content": "You see J\nand F. \u2028 é 🙂 {{ 7 * 7 }} <|im_end|>"},
    {"role": "assistant", "content": " J "},
    {"role": "user", "content": "You win\t3."},
]
LOOP = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
DOUBLED = "{% set ns = namespace(s='aaaa') %}{% for i in range(60) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}"
ENDLESS_POWER = "{% set x = 9 ** (9 ** 9) %}"


@pytest.mark.parametrize("template", [CHATML, LLAMA_3, GEMMA, QWEN_3, "{{ messages | tojson }}"])
@pytest.mark.parametrize("reply_follows", [False, True])
def test_it_is_the_text_of_the_librarys_own_function(template: str, reply_follows: bool) -> None:
    options = {"date_string": "26 Jul 2024", "enable_thinking": False}
    own = TOKENIZER.apply_chat_template(
        TURNS, chat_template=template, tokenize=False, add_generation_prompt=reply_follows, **options
    )
    assert render(TOKENIZER, TURNS, template, reply_follows, **options) == own


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{{ 'a' * 20000000000 }}", "needs more than 2 GiB of memory"),
        (DOUBLED, "memory"),
        ("{{ 'a' | center(20000000000) }}", "memory"),
        ("{{ '%20000000000d' % 1 }}", "memory"),
        ("{{ 'a' * 30000000 }}", "writes more than"),
        ("{{ messages[0]['content'] * 100000 }}", "writes more than"),
        (LOOP, "takes longer than 0.5 s"),
        (ENDLESS_POWER, "takes longer than 0.5 s"),
        ("{% macro f(x) %}{{ f(x) }}{% endmacro %}{{ f(1) }}", "RecursionError"),
        ("{{ raise_exception('[/x] \x1b[31mno') }}", "[/x] \x1b[31mno"),
        ("{{ messages.nowhere.x }}", "has no attribute 'nowhere'"),
        ("{{ 1 + 'a' }}", "TypeError: "),
        ("{{ 1 / 0 }}", "ZeroDivisionError: division by zero"),
        ("{% for %}", "refuses the conversation"),
        ("{{ ''.__class__.__mro__ }}", "unsafe"),
        ("{% include '/etc/passwd' %}", "refuses the conversation"),
        ("{{ (" + "(" * 100_000, "refuses the conversation"),
    ],
)
def test_whatever_a_template_does_is_a_sentence_and_the_next_one_is_rendered(
    template: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    render(TOKENIZER, TURNS, CHATML)
    monkeypatch.setattr(rendering, "SECONDS", 0.5 if "0.5" in said else 30.0)
    started = time.monotonic()
    with pytest.raises(UserError) as caught:
        render(TOKENIZER, TURNS, template)
    assert time.monotonic() - started < 20
    assert said in str(caught.value)
    assert len(str(caught.value)) < 600
    monkeypatch.setattr(rendering, "SECONDS", 30.0)
    assert "You see J" in render(TOKENIZER, TURNS, CHATML)


def test_a_process_that_is_gone_is_said_and_started_again() -> None:
    render(TOKENIZER, TURNS, CHATML)
    process = rendering._process(os.getpid())._running
    assert process is not None
    process.kill()
    process.wait()
    with pytest.raises(UserError, match="ended the process that it ran in"):
        render(TOKENIZER, TURNS, CHATML)
    assert "You see J" in render(TOKENIZER, TURNS, CHATML)


def test_no_process_stays_behind(tmp_path: Path) -> None:
    program = (
        "from centaurlab.prompts import rendering\n"
        "class T:\n special_tokens_map = {}\n name_or_path = 'x'\n"
        "rendering.render(T(), [], 'a')\n"
        "import os\nprint(rendering._process(os.getpid())._running.pid)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    with pytest.raises(ProcessLookupError):
        os.kill(int(done.stdout), 0)


def test_limits_of_the_whole_command_stay(tmp_path: Path) -> None:
    program = (
        "import resource\nresource.setrlimit(resource.RLIMIT_AS, (7 << 30, 8 << 30))\n"
        "from centaurlab.prompts import rendering\n"
        "class T:\n special_tokens_map = {}\n name_or_path = 'x'\n"
        "print(rendering.render(T(), [], 'sound'))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "sound\n"


def test_a_template_that_is_no_text_is_said(chat_model: Path) -> None:
    (chat_model / "chat_template.jinja").write_bytes(b"\xff")
    with pytest.raises(UserError, match="cannot load the tokenizer"):
        own_chat_tokenizer(named(chat_model))
    with pytest.raises(UserError, match="cannot read the chat template"):
        read_template(chat_model / "nowhere.jinja")
    (chat_model / "chat_template.jinja").unlink()
    for content in (7, {"a": "b"}, [{"name": "a", "template": "b"}]):
        edit_json(chat_model / "tokenizer_config.json", chat_template=content)
        with pytest.raises(UserError, match=r"chat template|cannot load"):
            template_context(named(chat_model))
