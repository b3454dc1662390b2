"""The wheel in an environment of its own and an empty folder: all that a clone can do but its tests."""

import shutil
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from helpers.commands import Done, run_process
from helpers.paths import ROOT
from helpers.transcripts import sessions_of, write_transcripts

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Python of an environment with the wheel, and with this environment's packages but this project."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"  # a copy: a build leaves files beside what it builds
    shutil.copytree(ROOT / "src", source / "src", ignore=shutil.ignore_patterns("*.egg-info", "__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    built = run_process(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", folder, source)
    assert built.returncode == 0, built.stderr
    (wheel,) = folder.glob("centaurlab-*.whl")
    venv.create(folder / "environment", with_pip=False, symlinks=True)
    python = folder / "environment" / "bin" / "python"
    (packages,) = (folder / "environment" / "lib").glob("python*/site-packages")
    into = ("--python", python, "install", "-q", "--no-deps", "--no-index", wheel)
    installed = run_process(sys.executable, "-m", "pip", *into, PYTHONPATH="")
    assert installed.returncode == 0, installed.stderr
    # Read after the environment's own packages; the link to the clone's source in it is not followed from here.
    (packages / "others.pth").write_text(sysconfig.get_path("purelib"))
    return python


def of_wheel(python: Path, folder: Path, *words: object) -> Done:
    environment = {"PYTHONPATH": "", "MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}"}
    return run_process(python.parent / "centaurlab", *words, cwd=folder, **environment)


def test_commands_and_recipes_are_the_wheels_own(python: Path, tmp_path: Path) -> None:
    where = run_process(python, "-c", "import centaurlab; print(centaurlab.__file__)", cwd=tmp_path, PYTHONPATH="")
    assert Path(where.stdout.strip()).is_relative_to(python.parents[1])
    told = of_wheel(python, tmp_path, "score", "--help")
    assert told.returncode == 0
    assert "--load_in_4bit" in told.stdout.replace("-in-", "_in_")
    copied = of_wheel(python, tmp_path, "recipes", "copy")
    assert copied.returncode == 0, copied.stderr
    mine = sorted(str(path.relative_to(tmp_path / "recipes")) for path in (tmp_path / "recipes").rglob("*.*"))
    source = ROOT / "src" / "centaurlab" / "recipes"
    assert mine == sorted(str(path.relative_to(source)) for path in source.rglob("*.*"))


def test_the_demo_runs_in_an_empty_folder(python: Path, tiny_llama_dir: Path, tmp_path: Path) -> None:
    rows = sessions_of(
        ("alpha", "beta"), 20, lambda _, person: f"You choose <<{'JF'[person % 2]}>>. " * 4 + "You choose <<J>>."
    )
    people = write_transcripts(tmp_path / "people.jsonl", rows)
    options = ("--quick", "--model", tiny_llama_dir, "--data", people, "--novel_studies", "beta")
    done = of_wheel(python, tmp_path, "demo", *options)
    assert done.returncode == 0, done.stderr
    (page,) = (tmp_path / "runs").rglob("report.html")
    assert "alpha" in page.read_text(encoding="utf-8")
