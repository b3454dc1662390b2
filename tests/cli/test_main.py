"""The ``centaurlab`` command answers at once, does what the package does, and ends a mistake in one line."""

import json
import time
from pathlib import Path

import pytest

from centaurlab import __version__
from helpers.commands import Done, centaurlab, installed, run_process, run_python
from helpers.transcripts import write_transcripts

SESSION = {"text": "You see J and F. You press <<J>>.", "experiment": "a2020/1", "participant": 1}


def test_help_answers_in_under_a_second() -> None:
    times = []
    for _ in range(3):
        start = time.perf_counter()
        result = run_process(installed("centaurlab"), "--help")
        times.append(time.perf_counter() - start)
        assert result.returncode == 0
        assert all(command in result.stdout for command in ("data", "models"))
    assert min(times) < 1


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom centaurlab.cli import main as cli\nsys.argv = ['centaurlab', '--help']\n"
        "try:\n    cli.main()\nexcept SystemExit:\n    pass\n"
        "print('loaded:', {'torch', 'transformers', 'datasets', 'pandas', 'numpy', 'matplotlib'} & set(sys.modules))"
    )
    assert run_python("-c", code).stdout.splitlines()[-1] == "loaded: set()"


def test_stats_say_what_they_read_before_they_load_what_takes_seconds(tmp_path: Path) -> None:
    heavy = "{'torch', 'transformers', 'datasets', 'pandas', 'scipy', 'pyarrow'} & set(sys.modules)"
    code = (
        "import sys\nfrom centaurlab.cli import data, main as cli\n"
        f"data.say = lambda text, **_: print(text, {heavy})\n"
        f"cli.main(['data', 'stats', {str(tmp_path)!r}, '--tokenizer', 'none'])"
    )
    assert run_python("-c", code).stdout.splitlines()[0] == f"reading {tmp_path} … set()"


def test_version() -> None:
    assert centaurlab("--version") == Done(0, f"centaurlab {__version__}\n", "")


@pytest.mark.parametrize("command", [["data", "stats"], ["data", "validate"], ["data", "options"], ["models"]])
def test_every_command_shows_an_example(command: list[str]) -> None:
    done = centaurlab(*command, "--help")
    assert done.returncode == 0
    assert f"centaurlab {' '.join(command)}" in done.stdout.partition("example")[2]


def test_stats_counts_tokens_of_the_named_model(
    tmp_path: Path, tiny_llama_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    file = write_transcripts(tmp_path / "sessions.jsonl", [SESSION])
    done = centaurlab("data", "stats", file, "--tokenizer", tiny_llama_dir)
    assert done.returncode == 0
    assert "tokens" in done.stdout
    done = centaurlab("data", "stats", file, "--tokenizer", "none")
    assert done.returncode == 0
    assert f" {len(SESSION['text'])} " in done.stdout


def test_stats_passes_the_selection_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    file = tmp_path / "sessions.jsonl"
    others = [{**SESSION, "experiment": "b2021/1", "participant": number} for number in range(5)]
    write_transcripts(file, [SESSION, *others])
    selection = ["--studies", "b2021", "--max_participants", "3", "--tokenizer", "none"]
    done = centaurlab("data", "stats", file, *selection)
    assert "a2020" not in done.stdout
    (row,) = [line for line in done.stdout.splitlines() if "b2021" in line]
    assert row.split()[1] == "3"


def test_a_malformed_file_is_named_and_ends_in_exit_code_2(tmp_path: Path) -> None:
    file = tmp_path / "sessions.jsonl"
    file.write_text(json.dumps(SESSION) + "\n{broken\n")
    done = centaurlab("data", "validate", file)
    assert done.returncode == 2
    assert "sessions.jsonl:2" in done.stdout
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1


def test_a_correct_file_is_said_to_be_so(tmp_path: Path) -> None:
    file = write_transcripts(tmp_path / "sessions.jsonl", [SESSION])
    done = centaurlab("data", "validate", file)
    assert (done.returncode, done.stderr) == (0, "")
    assert "no problem found" in done.stdout


def test_models_of_a_family(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    done = centaurlab("models", "--family", "Qwen3")
    assert done.returncode == 0
    assert "Qwen/Qwen3-8B-Base" in done.stdout
    assert "Llama" not in done.stdout


def test_an_unknown_family_is_answered_with_the_nearest() -> None:
    done = centaurlab("models", "--family", "qwen33")
    assert done.returncode == 2
    assert done.stderr == "error: the catalog has no family 'qwen33'; did you mean 'qwen3'?\n"
