"""The examples in docstrings do what they say; those of the front door on a tiny model and two people."""

import doctest
import re
from importlib import import_module
from pathlib import Path

import pytest

import centaurlab as cl
from helpers.paths import PACKAGE
from helpers.tiny_models import save_tiny_llama

MODULES = sorted(
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")
    for path in PACKAGE.rglob("*.py")
    if re.search(r"^\s*>>> ", path.read_text(encoding="utf-8"), re.M)
)
SESSIONS = [
    {"study": "slots", "experiment": "one", "participant": name, "age": age}
    | {"text": f"You see the machines J and F. You press <<{first}>>. You win 2 points. You press <<F>>.\n"}
    for name, age, first in (("p1", 31, "J"), ("p2", 24, "F"))
]


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.usefixtures("offline")
def test_examples_do_what_they_say(
    module: str, tiny_llama_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    known = {"cl": cl, "sessions": SESSIONS, "model": tiny_llama_dir}
    if module.startswith("centaurlab.library"):
        known["post"] = save_tiny_llama(tmp_path / "post", seed=1)
    found = doctest.DocTestFinder(exclude_empty=True).find(import_module(module), extraglobs=known)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    for one in found:
        runner.run(one)
    assert runner.tries
    assert not runner.failures


def test_the_front_door_says_which_example_each_verb_has() -> None:
    for verb in ("load", "score", "compare", "estimate", "diagnose"):
        assert ">>> " in (getattr(cl, verb).__doc__ or "")
