"""Completion of commands and options in a shell, by argcomplete, from the parsers that the commands have anyway."""

import argparse
import os
import sys
from dataclasses import dataclass, field
from typing import Literal

import argcomplete
from argcomplete.shell_integration import shellcode

from centaurlab.cli.commands import COMMANDS, find_command
from centaurlab.jobs.command import Command
from centaurlab.runtime.arguments import OptionParser

DESCRIPTION = """Print the lines that make a shell complete the commands and options of centaurlab.

examples:
  eval "$(centaurlab completion bash)"        # in ~/.bashrc
  eval "$(centaurlab completion zsh)"         # in ~/.zshrc
  centaurlab completion fish | source         # in ~/.config/fish/config.fish
"""


@dataclass
class CompletionArguments:
    """For which shell."""

    shell: Literal["bash", "zsh", "fish", "tcsh"] = field(
        metadata={"positional": True, "choices": ("bash", "zsh", "fish", "tcsh"), "help": "bash, zsh, fish or tcsh"}
    )


def run(asked: CompletionArguments) -> None:
    """Print the lines."""
    print(shellcode(["centaurlab"], shell=asked.shell))


def complete() -> None:
    """Answer the shell, and end this process."""
    words = os.environ.get("COMP_LINE", "").split()[1:]
    argcomplete.autocomplete(parser_of(words))
    sys.exit()


def parser_of(words: list[str]) -> argparse.ArgumentParser:
    """A parser of all commands, of which only that of ``words`` knows its options: the others would take seconds."""
    parser = argparse.ArgumentParser(prog="centaurlab")
    below = {"": parser.add_subparsers(parser_class=OptionParser)}
    for name in COMMANDS:
        first, _, second = name.partition(" ")
        if second and first not in below:
            below[first] = below[""].add_parser(first).add_subparsers(parser_class=OptionParser)
        one = below[first if second else ""].add_parser(second or first)
        if words[: 1 + bool(second)] == name.split():
            one.take(find_command(name).arguments)
    return parser


COMMAND = Command(DESCRIPTION, (CompletionArguments,), run)
