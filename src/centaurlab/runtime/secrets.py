"""Keys and passwords out of whatever is written: commands, settings, addresses, messages.

A secret is known by how it looks (a token of the hub, the user and password of an address), by the name it goes under
(``--hub_token``), or because a variable of the environment with such a name holds it.
"""

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

MASK = "***"
_SECRET = re.compile(r"hf_[A-Za-z0-9]{20,}|local-[0-9a-f]{40}|wandb_v\d_\w+|(?<=//)[^/@\s]+:[^/@\s]+(?=@)")
_WANDB_KEY = re.compile(r"\b[0-9a-f]{40}\b")  # so are git commits, hence masked in commands alone
# Not the tokens of a tokenizer, such as TRL's 'eos_token'.
_SECRET_NAME = re.compile(r"(?<!eos_)(?<!bos_)(?<!pad_)(?<!unk_)token$|api_?key$|access_key$|password$|secret$")
_SHORTEST = 6  # characters; a variable that holds less says "1" or "true"


def is_secret_name(name: str) -> bool:
    """Whether what is called ``name``, an option or a variable, is a key or a password."""
    return _SECRET_NAME.search(name.lower().replace("-", "_")) is not None


def mask_secrets(text: str) -> str:
    """``text`` with ``***`` for keys of hubs and trackers, user and password of an address, and secret variables."""
    return _masked(text, _values())


def masked(content: Any) -> Any:
    """What JSON can hold, with the secrets in its texts masked, and all that stands under a secret's name."""
    return _masked_all(content, _values())


def masked_command(argv: Sequence[str]) -> list[str]:
    """A command line that can be shown."""
    values = _values()
    shown: list[str] = []
    for argument, previous in zip(argv, ["", *argv[:-1]], strict=True):
        name, equals, _ = argument.partition("=")
        if argument.startswith("-") and equals and is_secret_name(name):
            shown.append(f"{name}={MASK}")
        elif previous.startswith("-") and is_secret_name(previous):
            shown.append(MASK)
        else:
            shown.append(_WANDB_KEY.sub(MASK, _masked(argument, values)))
    return shown


def _values() -> list[str]:
    """The values of secret variables, longest first."""
    found = {value for name, value in os.environ.items() if len(value) >= _SHORTEST and is_secret_name(name)}
    return sorted(found, key=len, reverse=True)


def _masked(text: str, values: Sequence[str]) -> str:
    for value in values:
        text = text.replace(value, MASK)
    return _SECRET.sub(MASK, text)


def _masked_all(content: Any, values: Sequence[str]) -> Any:
    if isinstance(content, str):
        return _masked(content, values)
    if isinstance(content, Mapping):
        return {
            key: MASK if isinstance(value, str) and is_secret_name(str(key)) else _masked_all(value, values)
            for key, value in content.items()
        }
    if isinstance(content, list | tuple):
        return [_masked_all(value, values) for value in content]
    return content
