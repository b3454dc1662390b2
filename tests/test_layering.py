"""Data flows one way: a module imports only what stands to its left, and reports need no torch."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "centaurlab"
ORDER = (
    *("transcripts", "catalog", "splits", "sources", "prompts", "models", "encoding", "personas", "scoring", "store"),
    *("flops", "plan", "failures", "chat", "templates", "template_audit", "runs", "forecast", "plan_report"),
    *("precision", "measurement", "score_files", "measure", "score_table", "effects", "replay", "diagnosis"),
    *("mean_nll", "context_effects", "unmatched", "assistant", "training", "generalisation", "trajectory"),
    *("frontier", "figures", "generations", "report", "demo", "cli"),
)
ANYWHERE = ("errors", "arguments", "quiet", "allocator", "terminal", "launcher", "masking", "disk_index")
WITHOUT_TORCH = (
    "catalog",
    "transcripts",
    "runs",
    "bootstrap",
    "comparison",
    "effects",
    "effect_table",
    "diagnosis",
    "mean_nll",
    "precision",
    "replay",
    "score_table",
    "context_effects",
    "unmatched",
    "pairs",
    "figures.style",
    "figures.intervals",
    "figures.curves",
    "figures.paper",
    "figures.posttraining",
    "figures.saved",
    "generations",
    "report",
    "cli",
)


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path: Path) -> set[str]:
    """The parts of the package that a module imports when it is loaded or later, but not for types alone."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("centaurlab"):
            names = node.module.split(".")[1:2] or [alias.name for alias in node.names]
            found |= set(names)
        elif isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("centaurlab.")}
    return found - {part_of(path)}


MODULES = sorted(PACKAGE.rglob("*.py"))
IMPORTS = {part: set().union(*(imported(p) for p in MODULES if part_of(p) == part)) for part in map(part_of, MODULES)}


@pytest.mark.parametrize("part", [part for part in ORDER if part in IMPORTS])
def test_a_module_imports_only_what_stands_to_its_left(part: str) -> None:
    right = set(ORDER[ORDER.index(part) + 1 :])
    assert not IMPORTS[part] & right


@pytest.mark.parametrize("part", sorted(IMPORTS))
def test_no_imports_go_round_in_a_circle(part: str) -> None:
    reached, ahead = set(), set(IMPORTS[part])
    while ahead:
        reached |= ahead
        ahead = {name for one in ahead for name in IMPORTS.get(one, ())} - reached
    assert part not in reached


@pytest.mark.parametrize("part", [part for part in ANYWHERE if part in IMPORTS])
def test_what_may_be_imported_anywhere_imports_nothing_but_what_errors_need(part: str) -> None:
    assert IMPORTS[part] <= {"errors", "masking"}


def test_reports_and_the_command_import_without_torch() -> None:
    present = [name for name in WITHOUT_TORCH if name.partition(".")[0] in IMPORTS]
    program = (
        f"import importlib, sys\nfor name in {present!r}:\n"
        "    importlib.import_module(f'centaurlab.{name}')\n"
        "    heavy = {'torch', 'transformers', 'trl', 'mlflow', 'wandb'} & set(sys.modules)\n"
        "    assert not heavy, f'{name} imports {heavy}'\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_module_is_much_longer_than_four_hundred_lines(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 420
