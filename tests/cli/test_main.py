"""The ``centaurlab`` command answers at once, does what the package does, and ends a mistake in one line."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from centaurlab import __version__
from centaurlab.cli import main as cli

SESSION = {"text": "You see J and F. You press <<J>>.", "experiment": "a2020/1", "participant": 1}


def run(
    arguments: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of ``centaurlab ARGUMENTS``."""
    monkeypatch.setattr(sys, "argv", ["centaurlab", *arguments])
    with pytest.raises(SystemExit) as exited:
        cli.main()
    printed = capsys.readouterr()
    code = exited.value.code
    return (0 if code is None else int(code)), printed.out, printed.err


def test_help_answers_in_under_a_second() -> None:
    times = []
    for _ in range(3):
        start = time.perf_counter()
        result = subprocess.run([Path(sys.executable).parent / "centaurlab", "--help"], capture_output=True, text=True)
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
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "loaded: set()"


def test_version(capsys, monkeypatch) -> None:
    assert run(["--version"], capsys, monkeypatch) == (0, f"centaurlab {__version__}\n", "")


@pytest.mark.parametrize("command", [["data", "stats"], ["data", "validate"], ["data", "options"], ["models"]])
def test_every_command_shows_an_example(command: list[str], capsys, monkeypatch) -> None:
    code, out, _ = run([*command, "--help"], capsys, monkeypatch)
    assert code == 0
    assert f"centaurlab {' '.join(command)}" in out.partition("Example")[2]


def test_stats_counts_tokens_of_the_named_model(tmp_path: Path, tiny_llama_dir: Path, capsys, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    file = tmp_path / "sessions.jsonl"
    file.write_text(json.dumps(SESSION) + "\n")
    code, out, _ = run(["data", "stats", str(file), "--tokenizer", str(tiny_llama_dir)], capsys, monkeypatch)
    assert code == 0
    assert "tokens" in out
    code, out, _ = run(["data", "stats", str(file), "--tokenizer", "none"], capsys, monkeypatch)
    assert code == 0
    assert f" {len(SESSION['text'])} " in out


def test_stats_passes_the_selection_on(tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    file = tmp_path / "sessions.jsonl"
    others = [{**SESSION, "experiment": "b2021/1", "participant": number} for number in range(5)]
    file.write_text("".join(json.dumps(session) + "\n" for session in [SESSION, *others]))
    selection = ["--studies", "b2021", "--max_participants", "3", "--tokenizer", "none"]
    _, out, _ = run(["data", "stats", str(file), *selection], capsys, monkeypatch)
    assert "a2020" not in out
    (row,) = [line for line in out.splitlines() if "b2021" in line]
    assert row.split()[3] == "3"


def test_a_malformed_file_is_named_and_ends_in_exit_code_2(tmp_path: Path, capsys, monkeypatch) -> None:
    file = tmp_path / "sessions.jsonl"
    file.write_text(json.dumps(SESSION) + "\n{broken\n")
    code, out, err = run(["data", "validate", str(file)], capsys, monkeypatch)
    assert code == 2
    assert "sessions.jsonl:2" in out
    assert err.startswith("error: ")
    assert err.count("\n") == 1


def test_a_correct_file_is_said_to_be_so(tmp_path: Path, capsys, monkeypatch) -> None:
    file = tmp_path / "sessions.jsonl"
    file.write_text(json.dumps(SESSION) + "\n")
    code, out, err = run(["data", "validate", str(file)], capsys, monkeypatch)
    assert (code, err) == (0, "")
    assert "no problem found" in out


def test_models_of_a_family(capsys, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    code, out, _ = run(["models", "--family", "Qwen3"], capsys, monkeypatch)
    assert code == 0
    assert "Qwen/Qwen3-8B-Base" in out
    assert "Llama" not in out


def test_an_unknown_family_is_answered_with_the_nearest(capsys, monkeypatch) -> None:
    code, _, err = run(["models", "--family", "qwen33"], capsys, monkeypatch)
    assert code == 2
    assert err == "error: the catalog has no family 'qwen33'; did you mean 'qwen3'?\n"
