"""The order of the packages: imports run down only, and the statistics wing needs no library of the GPU wing."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.commands import run_python
from helpers.paths import PACKAGE, ROOT, TESTS

FOUNDATION = ("runtime", "runs", "catalog", "data")
STATISTICS = ("results", "stats", "cognitive", "display", "analyses", "reporting")
GPU = ("models", "prompts", "scoring", "simulation", "training")
ORDER = (*FOUNDATION, *STATISTICS, *GPU, "sweeps", "jobs", "cli", "library")
"""A package imports only what stands before it."""
HEAVY = {"torch", "transformers", "trl", "accelerate", "peft", "mlflow", "wandb"}
MODULES = sorted(PACKAGE.rglob("*.py"))
MAX_LINES = 400
TEST_FILES = sorted(TESTS.rglob("*.py"))
NO_PACKAGES = {"helpers", "e2e", "faults", "fuzz", "recipes"}
"""Folders of tests that are of no package, but of what several do together."""


def package_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path: Path) -> Iterator[str]:
    """Dotted names that a module imports, when it is loaded or later."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def packages_imported(path: Path) -> set[str]:
    ours = {name.split(".")[1] for name in imported(path) if name.startswith("centaurlab.")}
    return ours - {package_of(path), "__version__"}


STATISTICS_MODULES = [path for path in MODULES if package_of(path) in STATISTICS]


def test_every_package_has_a_place_in_the_order() -> None:
    assert {package_of(path) for path in MODULES} - {"__init__", "__main__"} == set(ORDER)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_run_down_only(path: Path) -> None:
    package = package_of(path)
    below = ORDER if package not in ORDER else ORDER[: ORDER.index(package)]
    assert packages_imported(path) <= set(below)


@pytest.mark.parametrize(
    "path",
    [path for path in MODULES if package_of(path) in STATISTICS],
    ids=lambda path: str(path.relative_to(PACKAGE)),
)
def test_the_statistics_wing_names_no_heavy_library(path: Path) -> None:
    assert not {name.partition(".")[0] for name in imported(path)} & HEAVY


def test_the_statistics_wing_loads_no_heavy_library() -> None:
    modules = [
        ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")
        for path in STATISTICS_MODULES
    ]
    program = (
        f"import importlib, sys\nfor name in {modules!r}:\n"
        "    importlib.import_module(f'centaurlab.{name}')\n"
        f"    heavy = {HEAVY!r} & set(sys.modules)\n"
        "    assert not heavy, f'{name} loads {heavy}'\n"
    )
    done = run_python("-c", program)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", [*MODULES, *TEST_FILES], ids=lambda path: str(path.relative_to(ROOT)))
def test_no_module_is_longer_than_four_hundred_lines(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_LINES


def test_tests_lie_in_folders_named_after_packages() -> None:
    folders = {path.relative_to(TESTS).parts[0] for path in TEST_FILES if path.parent != TESTS}
    assert folders <= {*ORDER, *NO_PACKAGES}


PRINT_NO_NAMES = {
    *("runtime/errors.py", "prompts/template_process.py", "jobs/benchmark.py"),
    *("cli/compare.py", "cli/main.py", "cli/completion.py"),
}
"""They print what is escaped already, or no names."""


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_names_are_printed_by_the_one_helper_that_shows_control_characters(path: Path) -> None:
    calls = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
    raw = [call for call in calls if isinstance(call.func, ast.Name) and call.func.id == "print"]
    if str(path.relative_to(PACKAGE)) not in PRINT_NO_NAMES:
        assert not [call.lineno for call in raw if not all(isinstance(one, ast.Constant) for one in call.args)]
