"""transformers' parser of dataclasses without the rest of transformers.

That one file needs the standard library and PyYAML alone; as a part of its package it costs most of a second, which
every command, its ``--help`` and each completion in a shell would wait for.
"""

import sys
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers.hf_argparser import HfArgumentParser, string_to_bool
else:
    _package = find_spec("transformers")
    _spec = spec_from_file_location(__name__ + ".file", Path(_package.origin).with_name("hf_argparser.py"))
    _file = sys.modules[_spec.name] = module_from_spec(_spec)
    _spec.loader.exec_module(_file)
    HfArgumentParser, string_to_bool = _file.HfArgumentParser, _file.string_to_bool

__all__ = ["HfArgumentParser", "string_to_bool"]
