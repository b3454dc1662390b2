"""Command line and YAML into dataclasses, with errors a person can act on.

A thin layer over transformers' ``HfArgumentParser``, which every command uses: options in groups, dashes or
underscores, ``--config file.yaml`` plus overrides. A misspelt option or YAML key is answered with the nearest valid
one, a value of another type is named, and ``--help`` ends with examples.
"""

import argparse
import dataclasses
import difflib
import os
import shlex
import sys
import types
import typing
from collections.abc import Collection, Mapping, Sequence
from dataclasses import MISSING, fields
from enum import Enum
from importlib.resources import files
from pathlib import Path
from typing import Any, NoReturn

import yaml

from centaurlab.runtime.errors import UserError
from centaurlab.runtime.hf_argparser import HfArgumentParser, string_to_bool
from centaurlab.runtime.unique_keys import OnceEachLoader

# Beside its own errors, PyYAML passes on those of what it builds: "!!int ''", "!!bool x", "2001-02-30", a thousand "[".
_UNREADABLE = (yaml.YAMLError, ValueError, LookupError, AttributeError, RecursionError)
_ENVIRONMENT = "env"
RECIPES = Path(str(files("centaurlab"))) / "recipes"
"""The YAML and SLURM files that come with the package; in a clone ``recipes/`` leads there."""
_SHORT = {"model_name_or_path": "model"}
"""Names that users type instead of the libraries' own."""


class _HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """One spelling of each option, and its default where that says something."""

    def _format_action_invocation(self, action: argparse.Action) -> str:
        shown = [text for text in action.option_strings if not text.startswith("--") or "-" not in text[2:]]
        if not shown or action.nargs == 0:
            return ", ".join(shown) or super()._format_action_invocation(action)
        values = "" if action.nargs == "?" else f" {self._format_args(action, action.dest.upper())}"
        return f"{', '.join(shown)}{values}"

    def _get_help_string(self, action: argparse.Action) -> str | None:
        is_telling = action.default not in (None, False, "", [], argparse.SUPPRESS) and "default" not in (
            action.help or ""
        )
        listed = " ".join(map(str, action.default)) if isinstance(action.default, list) else action.default
        return f"{action.help} (default: {listed})" if is_telling and action.option_strings else action.help


class OptionParser(HfArgumentParser):
    """``HfArgumentParser`` with positional arguments (``metadata={"positional": True}``) and short names.

    A dataclass with ``_argument_group_name`` has its options under that heading of ``--help``.
    """

    def __init__(self, dataclass_types: Sequence[Any] = (), **kwargs: Any) -> None:
        usual = {"formatter_class": _HelpFormatter, "allow_abbrev": False}
        super().__init__(dataclass_types, **usual | kwargs)
        self.add_argument("--config", metavar="FILE", help="YAML file with any of these options; the command line wins")

    def error(self, message: str) -> NoReturn:
        """A bad or missing value as one sentence, like every other mistake of a user."""
        raise UserError(f"{message.removeprefix('argument ')}; --help lists the options")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """As argparse does, but an unknown option is named before whatever is missing without it."""
        for word in args or ():
            name = word.partition("=")[0]
            if word == "--":
                break
            if name.startswith("--") and name not in self._option_string_actions:
                known = {option.lstrip("-") for option in self._option_string_actions if option.startswith("--")}
                raise UserError(f"unknown option {name!r}{_nearest(name.lstrip('-'), known, '--')}")
        parsed, rest = super().parse_known_args(self._switched_on(args), namespace)
        output_dir = getattr(parsed, "output_dir", None)
        if isinstance(output_dir, str) and not output_dir.strip():
            raise UserError("--output_dir is empty; name a folder")
        return parsed, rest

    def _switched_on(self, args: Any) -> Any:
        """``--init trials.csv`` is a switch before an argument, which argparse would take for the switch's value."""
        if not args or not self._get_positional_actions():
            return args
        words, following = list(args), [*args[1:], "-"]
        for place, (word, value) in enumerate(zip(args, following, strict=True)):
            if word == "--":
                break
            action = self._option_string_actions.get(word)
            if action and action.type is string_to_bool and not value.startswith("-") and not _is_bool(value):
                words[place] = f"{word}=true"
        return words

    def take(self, dataclass_types: Sequence[Any]) -> None:
        """Add the options of more dataclasses."""
        for kind in dataclass_types:
            self._add_dataclass_arguments(kind)

    @staticmethod
    def _parse_dataclass_field(parser: argparse.ArgumentParser, field: "dataclasses.Field[Any]") -> None:
        about = dict(field.metadata)
        if about.pop("positional", False):
            is_needed = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
            if typing.get_origin(field.type) is list:  # an empty one, where none is needed
                parser.add_argument(field.name, nargs="+" if is_needed else "*", default=[], **about)
            else:
                parser.add_argument(
                    field.name, nargs=None if is_needed else "?", default=None if is_needed else field.default, **about
                )
            return
        if field.name in _SHORT:
            field.metadata = types.MappingProxyType(about | {"aliases": [f"--{_SHORT[field.name]}"]})
        HfArgumentParser._parse_dataclass_field(parser, field)


def option_parser(dataclass_types: Sequence[Any], description: str | None, prog: str | None = None) -> OptionParser:
    """The parser of these dataclasses, as ``--help`` shows it and a shell completes it."""
    parser = OptionParser(dataclass_types, description=description, prog=prog)
    positional = [str(action.metavar or action.dest) for action in parser._get_positional_actions()]
    parser.usage = " ".join(["%(prog)s", *positional, "[options]"])
    return parser


def parse_arguments(
    dataclass_types: Sequence[Any],
    description: str | None,
    args: Sequence[str] | None = None,
    prog: str | None = None,
    given: Mapping[str, Any] | None = None,
) -> tuple[Any, ...]:
    """Parse ``args`` (default: the command line) into one instance per dataclass.

    ``description`` heads the ``--help`` text. ``given``: options as values, which win over those of ``--config``.
    Unknown options, misspelt, mistyped or unreadable YAML raise ``UserError``; argparse itself exits with code 2 on a
    bad value.
    """
    argv = list(sys.argv[1:] if args is None else args)
    parser = option_parser(dataclass_types, description, prog)
    hints = _types_of(dataclass_types)
    for action, value in (_config_of(argv, hints) | _typed("options", given or {}, hints)).items():
        parser.set_defaults(**{action: value})
        for known in parser._actions:
            if known.dest == action:
                known.required = False
    try:
        *parsed, leftover = parser.parse_args_into_dataclasses(
            argv, return_remaining_strings=True, look_for_args_file=False
        )
    except ValueError as error:
        raise UserError(str(error)) from error
    if leftover and not leftover[0].startswith("-"):
        raise UserError(f"{leftover[0]!r} belongs to no option; several names in one are written --studies a,b")
    if leftover:
        known_names = {action.dest for action in parser._actions}
        raise UserError(f"unknown option {leftover[0]!r}{_nearest(leftover[0].lstrip('-'), known_names, '--')}")
    return tuple(instance for instance in parsed if not isinstance(instance, argparse.Namespace))


def typed_values(given: Mapping[str, Any], dataclass_types: Sequence[Any]) -> dict[str, Any]:
    """Options as a program gives them, each of its field's type: text is read as the command line reads it.

    Raises ``UserError`` for what is of another type.
    """
    parser = option_parser(dataclass_types, None)
    parser.set_defaults(**_typed("options", given, _types_of(dataclass_types)))
    for action in parser._actions:
        action.required = False
    parsed, _ = parser.parse_known_args([])
    return {name: getattr(parsed, name) for name in given}


def _config_of(argv: Sequence[str], hints: Mapping[str, object]) -> dict[str, Any]:
    """What the file given as ``--config`` says, empty without one."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--config", action="append", default=[])
    given = parser.parse_known_args(argv)[0].config
    if len(given) > 1:
        raise UserError(f"--config is given {len(given)} times; put the options into one file")
    return _read_config(found_recipe(Path(given[0])), hints) if given else {}


def found_recipe(path: Path) -> Path:
    """``path`` or, where there is no such file and it begins with ``recipes/``, that of the package."""
    if path.exists() or path.parts[:1] != (RECIPES.name,):
        return path
    ours = RECIPES.joinpath(*path.parts[1:])
    return ours if ours.is_file() else path


def read_yaml(path: Path, what: str) -> dict[str, Any]:
    """The mapping in a YAML file; ``UserError`` where there is none. ``what`` names the file and what it holds."""
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), OnceEachLoader)
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {what} {path}: {error}") from error
    except _UNREADABLE as error:
        said = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{path} is not valid YAML: {said[:300]}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} must hold 'key: value' lines: {what} is a mapping")
    for key in content:
        if not isinstance(key, str):
            raise UserError(f"{path}: unknown key {str(key)!r}; put it between quotes if it is a name")
    return content


def as_typed(*instances: Any, but: Collection[str] = ()) -> list[str]:
    """The options of dataclasses that are not at their default, as one types them; those in ``but`` left away."""
    words: list[str] = []
    for instance in instances:
        for one in fields(instance):
            value = getattr(instance, one.name)
            default = one.default_factory() if one.default_factory is not MISSING else one.default
            if one.name not in but and value != default:
                values = value if isinstance(value, list) else [] if value is True else [value]
                words += [f"--{one.name}", *map(str, values)]
    return words


def said(value: object) -> str:
    """A value in few words; what holds others may hold itself, or grow beyond all bounds when written out."""
    if isinstance(value, list | dict | set):
        return {list: "a list", dict: "a mapping", set: "a set"}[type(value)]
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return repr(value if not isinstance(value, str | bytes) else value[:40])


def _read_config(path: Path, hints: Mapping[str, object]) -> dict[str, Any]:
    """The options in a YAML file, each of its field's type or text that the command line would take for it.

    As with ``TrlParser``, ``env`` holds variables for the environment, which are set here.
    """
    config = read_yaml(path, "--config")
    environment = config.pop(_ENVIRONMENT, {})
    config = _typed(path, config, hints)
    os.environ.update(_variables(path, environment))
    return config


def _typed(where: Path | str, config: Mapping[str, Any], hints: Mapping[str, object]) -> dict[str, Any]:
    """Options by their full names, whose values have the types of their fields; a text may stand for a list.

    ``where``: the file, in which it holds several words as on the command line.
    """
    typed = {_full_name(key, hints): value for key, value in config.items()}
    for key, value in typed.items():
        if key not in hints:
            raise UserError(f"{where}: unknown key {key!r}{_nearest(key, {*hints, _ENVIRONMENT})}")
        if isinstance(value, str) and not _fits(value, hints[key]) and _fits([], hints[key]):
            typed[key] = value = _words(where, key, value) if isinstance(where, Path) else [value]
        if not _fits(value, hints[key], from_text=True):
            quotes = "; put it between quotes" if _fits("", hints[key]) and isinstance(value, int | float) else ""
            raise UserError(f"{where}: {key} is {said(value)}, not {_name(hints[key])}{quotes}")
    return typed


def _is_bool(word: str) -> bool:
    try:
        string_to_bool(word)
    except argparse.ArgumentTypeError:
        return False
    return True


def _full_name(key: str, hints: Mapping[str, object]) -> str:
    """The option that a key of a file means: dashes are underscores, and short names are understood."""
    name = key.replace("-", "_")
    return next((full for full, short in _SHORT.items() if name == short and full in hints and name not in hints), name)


def _types_of(dataclass_types: Sequence[Any]) -> dict[str, object]:
    hints: dict[str, object] = {}
    for kind in dataclass_types:
        of_kind = typing.get_type_hints(kind)
        hints |= {one.name: of_kind[one.name] for one in fields(kind) if one.init}
    return hints


def _fits(value: object, hint: Any, from_text: bool = False) -> bool:
    """Whether ``value`` has the type ``hint``; ``from_text``: or is text that argparse turns into a number or bool."""
    origin = typing.get_origin(hint)
    if hint is Any:
        return True
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, one, from_text) for one in typing.get_args(hint))
    if origin is typing.Literal:  # argparse does not compare defaults with the choices
        return value in typing.get_args(hint)
    if origin is list:
        return isinstance(value, list) and all(_fits(one, typing.get_args(hint)[0]) for one in value)
    if origin is dict or hint is dict:
        return isinstance(value, dict)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return isinstance(value, str)
    if hint is float and type(value) is int:
        return True
    if from_text and hint in (int, float, bool) and isinstance(value, str):
        return True
    return type(value) is hint


def _words(path: Path, key: str, text: str) -> list[str]:
    """A list's elements as on the command line."""
    try:
        return shlex.split(text)
    except ValueError as error:
        raise UserError(f"{path}: {key} is {said(text)}: {error}; write a list, [one, two]") from error


def _variables(path: Path, environment: object) -> dict[str, str]:
    if not isinstance(environment, dict):
        raise UserError(f"{path}: {_ENVIRONMENT} is {said(environment)}, not a mapping of names to values")
    variables = {}
    for name, value in environment.items():
        if not (isinstance(name, str) and name.isidentifier()):
            raise UserError(f"{path}: {said(name)} cannot name a variable of the environment")
        if not isinstance(value, str | int | float) or "\0" in str(value):
            raise UserError(f"{path}: the variable {name} is {said(value)}, not text or a number")
        variables[name] = str(value)
    return variables


def _name(hint: Any) -> str:
    if typing.get_origin(hint) is typing.Literal:
        return f"one of {', '.join(map(str, typing.get_args(hint)))}"
    return hint.__name__ if isinstance(hint, type) and not typing.get_args(hint) else str(hint)


def _nearest(name: str, known: set[str], prefix: str = "") -> str:
    match = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean '{prefix}{match[0]}'?" if match else "; --help lists the valid ones"
