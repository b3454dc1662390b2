"""Command line and YAML into dataclasses, with errors a person can act on.

A thin layer over TRL's ``TrlParser`` (``--config file.yaml`` plus overrides), which every recipe and evaluation
uses: a misspelt YAML key is answered with the nearest valid one, and ``--help`` ends with examples.
"""

import argparse
import difflib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from centaurlab.errors import UserError


def parse_arguments(
    dataclass_types: Sequence[Any], script_doc: str | None, args: Sequence[str] | None = None
) -> tuple[Any, ...]:
    """Parse ``args`` (default: the command line) into one instance per dataclass.

    ``script_doc`` is the script's module docstring; it becomes the ``--help`` text. Unknown options, misspelt or
    unreadable YAML raise ``UserError``; argparse itself exits with code 2 on a bad value.
    """
    from trl.scripts.utils import TrlParser

    parser = TrlParser(
        dataclass_types,
        description=script_doc,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--config", metavar="FILE", help="YAML file with any of these options; the command line wins")
    argv = list(sys.argv[1:] if args is None else args)
    known = {action.dest for action in parser._actions} | {"env"}
    for flag, value in zip(argv, [*argv[1:], ""], strict=True):
        if flag == "--config" or flag.startswith("--config="):
            _check_config(Path(flag.partition("=")[2] or value), known)
    argv = [piece for arg in argv for piece in (arg.split("=", 1) if arg.startswith("--config=") else [arg])]
    try:
        *parsed, leftover = parser.parse_args_and_config(argv, return_remaining_strings=True)
    except ValueError as error:
        raise UserError(str(error)) from error
    if leftover:
        raise UserError(f"unknown option {leftover[0]!r}{_nearest(leftover[0].lstrip('-'), known, '--')}")
    return tuple(instance for instance in parsed if not isinstance(instance, argparse.Namespace))


def _check_config(path: Path, known: set[str]) -> None:
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read --config {path}: {error}") from error
    except yaml.YAMLError as error:
        raise UserError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(config, dict):
        raise UserError(f"{path} must hold 'key: value' lines, one per option")
    for key in config:
        if str(key) not in known:
            raise UserError(f"{path}: unknown key {str(key)!r}{_nearest(str(key), known)}")


def _nearest(name: str, known: set[str], prefix: str = "") -> str:
    match = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean '{prefix}{match[0]}'?" if match else "; --help lists the valid ones"
