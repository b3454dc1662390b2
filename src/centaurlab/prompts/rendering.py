"""A conversation in a chat template, rendered by a process of its own that may be ended.

A template comes with a checkpoint and is a program: it may loop for ever, or write 20 GB. transformers runs it in a
sandbox that knows no limits of time and memory, and no thread can be stopped in the middle of ``9 ** 9 ** 9``; so it
runs elsewhere (``template_process.py``), in the same function of transformers'.
"""

import atexit
import json
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import centaurlab
from centaurlab.prompts import template_process
from centaurlab.runtime.errors import UserError, failure

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

SECONDS = 20.0
"""For one conversation; a session of thousands of turns takes a tenth of one."""
_SECONDS_TO_START = 300.0
_CHARACTERS, _CHARACTERS_PER_TURN, _TIMES = 1 << 20, 1 << 12, 8  # far above what templates write around turns


def render(
    tokenizer: "PreTrainedTokenizerBase",
    messages: Sequence[Mapping[str, str]],
    template: str | None = None,
    reply_follows: bool = False,
    **variables: Any,
) -> str:
    """What the tokenizer's chat template, or another ``template``, makes of ``messages``.

    It is the text that ``tokenizer.apply_chat_template`` gives; ``variables`` are what else the template is told.
    Raises ``UserError`` where the template refuses the conversation, or goes beyond what it may take or write.
    """
    request = {
        **tokenizer.special_tokens_map,
        **variables,
        "conversations": [[dict(message) for message in messages]],
        "chat_template": template or own_template(tokenizer),
        "add_generation_prompt": reply_follows,
        "max_characters": _CHARACTERS + sum(_CHARACTERS_PER_TURN + _TIMES * len(str(m)) for m in messages),
    }
    answer = _process(os.getpid()).ask(request, SECONDS)
    if "text" in answer:
        return str(answer["text"])
    if "error" in answer:
        raise UserError(f"the chat template of {tokenizer.name_or_path} refuses the conversation ({answer['error']})")
    raise UserError(
        f"the chat template of {tokenizer.name_or_path} {answer['beyond']}, and was stopped; use another model, or "
        "correct its chat_template.jinja"
    )


def own_template(tokenizer: "PreTrainedTokenizerBase") -> str:
    """The tokenizer's chat template; ``UserError`` where it has none, several without a default, or something else."""
    try:
        template = tokenizer.get_chat_template()
    except ValueError as error:
        raise UserError(f"{tokenizer.name_or_path} has no chat template to use: {failure(error)}") from error
    if not isinstance(template, str):
        raise UserError(f"the chat template of {tokenizer.name_or_path} is no text but {template!r:.40}")
    return template


@cache
def _process(of_process: int) -> "_TemplateProcess":
    """One for each process of ours: a fork has its own."""
    return _TemplateProcess()


class _TemplateProcess:
    """Started when it is first asked, and again after it was ended."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: subprocess.Popen[bytes] | None = None

    def ask(self, request: Mapping[str, Any], seconds: float) -> dict[str, str]:
        """The answer: ``text``, an ``error``, or what was ``beyond`` its limits."""
        with self._lock:
            running = self._running or self._start()
            try:
                assert running.stdin is not None
                running.stdin.write(json.dumps(request).encode() + b"\n")
                running.stdin.flush()
                line = _line(running, seconds)
            except BrokenPipeError:
                line = b""
            except BaseException:  # Ctrl-C as well: the next answer would be this one's
                self._end()
                raise
            if line is None:
                self._end()
                return {"beyond": f"takes longer than {seconds:g} s"}
            if not line:
                self._end()
                return {"beyond": "ended the process that it ran in"}
            answer: dict[str, str] = json.loads(line)
            return answer

    def _start(self) -> "subprocess.Popen[bytes]":
        package = str(Path(centaurlab.__file__).parents[1])
        path = os.pathsep.join(filter(None, (package, os.environ.get("PYTHONPATH"))))
        running = subprocess.Popen(
            [sys.executable, "-P", "-m", template_process.__name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=os.environ | {"PYTHONPATH": path, "PYTHONWARNINGS": "ignore"},
        )
        self._running = running
        atexit.register(self._end)
        if not _line(running, _SECONDS_TO_START):
            self._end()
            raise UserError("the process that chat templates run in could not be started; is there memory left?")
        return running

    def _end(self) -> None:
        if self._running is not None:
            self._running.kill()
            self._running.communicate()
            self._running = None
        atexit.unregister(self._end)


def _line(running: "subprocess.Popen[bytes]", seconds: float) -> bytes | None:
    """The next line that a process writes; b'' where it ended, None where it did not in time."""
    assert running.stdout is not None
    descriptor, deadline, line = running.stdout.fileno(), time.monotonic() + seconds, bytearray()
    while not line.endswith(b"\n"):
        ready, *_ = select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            return None
        piece = os.read(descriptor, 1 << 20)
        if not piece:
            return b""
        line += piece
    return bytes(line)
