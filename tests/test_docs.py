"""README, CONTRIBUTING and docs/: short, and every command, option, file and link that they name exists."""

import json
import re
import shlex
import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from functools import cache
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest

import centaurlab
from centaurlab.cli.commands import COMMANDS, find_command
from centaurlab.cli.main import split
from centaurlab.jobs.job import job
from centaurlab.runtime.arguments import option_parser
from helpers.paths import ROOT
from helpers.readme import blocks, lines_of_python

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
LINES = {"README.md": 150, "CONTRIBUTING.md": 150}
MAX_PAGE_LINES = 200
MAX_COLUMNS = 120
OF_OTHERS = {
    *("--multi_gpu", "--hub_token"),  # of accelerate launch; of TRL, which --help_all lists
}
"""Options that the texts speak of and that --help does not show."""
SCRIPTS = {"centaur": "train", "run": "sweep"}
"""Scripts of a clone that are not called as their command is."""

page = pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)


def spans(text: str) -> Iterator[str]:
    """What stands between single backticks outside of fences, on one line."""
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    for span in re.findall(r"`([^`]+)`", prose):
        yield " ".join(span.split())


def commands(text: str) -> Iterator[tuple[str, list[str]]]:
    """Name and arguments of every command of ours in a text; of a command that is only spoken of, no arguments."""
    for line in (*blocks(text), *spans(text)):
        words = shlex.split(line, comments=True) if line.count('"') % 2 == 0 and line.count("'") % 2 == 0 else []
        for i, word in enumerate(words):
            script = re.fullmatch(r"(?:eval|recipes|sweeps)/(\w+)\.py", word)
            if script:
                yield SCRIPTS.get(script[1], script[1]), words[i + 1 :]
            elif word == "centaurlab" and i + 1 < len(words) and starts_a_command(words[:i]):
                if words[i + 1] not in ("-h", "--help", "--version", "COMMAND", "centaurlab", "accelerate"):
                    yield split(words[i + 1 :])
                break


def starts_a_command(before: list[str]) -> bool:
    """Whether the word after ``before`` is a program, and not the name of an image or a package."""
    return not before or before[-1] in ("-m", "&&", "centaurlab") or before[-1].endswith((".sif", "$("))


@cache
def options(name: str, every: bool = False) -> frozenset[str]:
    """The options of a command; ``every``: with those that take seconds to import."""
    command = find_command(name)
    kinds = command.all_arguments() if every and command.all_arguments else command.arguments
    parser: ArgumentParser = option_parser(kinds, None)
    shown = {"--help_all"} if command.all_arguments else set()
    return frozenset(parser._option_string_actions) | shown


@page
def test_pages_are_short(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= LINES.get(path.name, MAX_PAGE_LINES)
    prose = [line for line in lines if not line.startswith(("|", "    ")) and "](" not in line]
    assert [line for line in prose if len(line) > MAX_COLUMNS] == []


@page
def test_commands_and_their_options_exist(path: Path) -> None:
    for name, arguments in commands(path.read_text(encoding="utf-8")):
        assert name in COMMANDS
        given = {argument.partition("=")[0] for argument in arguments if argument.startswith("--")}
        assert given <= options(name) or given <= options(name, every=True), name


@page
def test_options_that_are_spoken_of_exist(path: Path) -> None:
    ours = frozenset().union(*map(options, COMMANDS)) | OF_OTHERS
    for span in spans(path.read_text(encoding="utf-8")):
        if span.startswith("--"):
            assert span.split()[0].partition("=")[0] in ours


def test_every_command_is_in_the_readme() -> None:
    named = {name for name, _ in commands((ROOT / "README.md").read_text(encoding="utf-8"))}
    assert set(COMMANDS) - named == {"completion"}


@page
def test_files_that_are_named_exist(path: Path) -> None:
    """A path of the repository, or of the package, with a folder and an ending; runs and users' files are not ours."""
    for span in spans(path.read_text(encoding="utf-8")):
        for name in re.findall(
            r"(?<![\w./-])(?!runs/|my-|dist/)[\w.-]+/[\w./-]*\w\.(?:py|md|ya?ml|csv|sbatch|toml)\b", span
        ):
            assert any((base / name).exists() for base in (ROOT, ROOT / "src" / "centaurlab")), span


@page
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8")):
        if target.startswith("https://"):
            continue
        name, _, anchor = target.partition("#")
        file = path.parent / name if name else path
        assert file.is_file(), target
        assert not anchor or anchor in headings(file), target


def headings(path: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and the site make them."""
    text = re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    found = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in found}


def test_the_analysis_in_contributing_runs(tiny_llama_dir: Path, tmp_path: Path) -> None:
    """As a file, put into the frame of jobs; on one session of a tiny model."""
    block = re.search(r"^```python\n(.*?)^```", (ROOT / "CONTRIBUTING.md").read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert block
    (tmp_path / "surprise.py").write_text(block[1], encoding="utf-8")
    session = {"text": "You press <<F>>. You press <<J>>.", "experiment": "bandit", "participant": 1}
    (tmp_path / "sessions.jsonl").write_text(json.dumps(session) + "\n", encoding="utf-8")
    module = import_file(tmp_path / "surprise.py")
    data, folder = tmp_path / "sessions.jsonl", tmp_path / "run"
    given = ["--base", tiny_llama_dir, "--data", data, "--output_dir", folder, "--report_to", "none"]
    job(module.ANALYSIS).main(list(map(str, given)))
    found = pd.read_csv(folder / "surprise.csv")
    assert found["nll"].is_monotonic_decreasing
    assert set(found["response"]) == {0, 1}


def test_the_lines_of_python_in_the_readme_run(
    tiny_llama_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With tiny models in place of those that it names."""
    lines = lines_of_python(tiny_llama_dir, tmp_path)
    monkeypatch.chdir(tmp_path)
    exec(lines, {})
    assert "d = " in capsys.readouterr().out.splitlines()[-1]
    assert (tmp_path / "runs" / "post" / "scores.parquet").exists()


def test_every_package_is_in_contributing() -> None:
    table = re.findall(r"^\| `(\w+)(?:/|\.py)` \|", (ROOT / "CONTRIBUTING.md").read_text("utf-8"), re.MULTILINE)
    package = ROOT / "src" / "centaurlab"
    inside = {path.stem for path in package.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert set(table) == inside - {"__init__", "__main__"}


def test_the_citation_is_of_this_version() -> None:
    assert f"version: {centaurlab.__version__}" in (ROOT / "CITATION.cff").read_text("utf-8").splitlines()


def import_file(path: Path) -> ModuleType:
    spec = spec_from_file_location(path.stem, path)
    assert spec
    assert spec.loader
    module = module_from_spec(spec)
    sys.modules[path.stem] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module
