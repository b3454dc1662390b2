"""Options come from a YAML file and the command line, and a misspelt one is answered with the right one."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from centaurlab.arguments import parse_arguments
from centaurlab.errors import UserError


@dataclass
class Data:
    data: str = field(default="starter", metadata={"help": "where sessions come from"})
    max_participants: int | None = None


@dataclass
class Settings:
    output_dir: str = field(metadata={"help": "where scores go"})
    protocol: Literal["full", "paper"] = "full"


def parse(*args: str) -> tuple[Data, Settings]:
    data, settings = parse_arguments([Data, Settings], "Score.\n\nexamples:\n  score.py --output_dir runs/a\n", args)
    return data, settings


def config(folder: Path, content: str) -> str:
    (folder / "score.yaml").write_text(content)
    return str(folder / "score.yaml")


def test_options_fill_the_dataclasses() -> None:
    data, settings = parse("--output_dir", "runs/a", "--max_participants=3")
    assert data == Data("starter", 3)
    assert settings == Settings("runs/a", "full")


@pytest.mark.parametrize("form", [["--config", "{}"], ["--config={}"]])
def test_the_command_line_wins_over_the_file(tmp_path: Path, form: list[str]) -> None:
    path = config(tmp_path, "output_dir: runs/yaml\nprotocol: paper\nmax_participants: 7\n")
    data, settings = parse(*(piece.format(path) for piece in form), "--max_participants", "2")
    assert (data.max_participants, settings) == (2, Settings("runs/yaml", "paper"))


def test_a_misspelt_option_is_answered_with_the_nearest() -> None:
    with pytest.raises(UserError, match="unknown option '--protocoll'; did you mean '--protocol'"):
        parse("--output_dir", "a", "--protocoll", "full")


def test_an_option_is_not_abbreviated() -> None:
    with pytest.raises(UserError, match="unknown option '--max_part'"):
        parse("--output_dir", "a", "--max_part", "3")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("outputdir: a\n", "unknown key 'outputdir'; did you mean 'output_dir'"),
        ("zzz: a\n", "unknown key 'zzz'; --help lists"),
        ("a: [1\n", "is not valid YAML"),
        ("- a\n- b\n", "must hold 'key: value' lines"),
        ("", "must hold 'key: value' lines"),
    ],
)
def test_a_bad_file_is_named(tmp_path: Path, content: str, message: str) -> None:
    path = config(tmp_path, content)
    with pytest.raises(UserError, match=r"score\.yaml") as error:
        parse("--config", path)
    assert message in str(error.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot read --config .*absent\.yaml"):
        parse("--config", str(tmp_path / "absent.yaml"))


@pytest.mark.parametrize("args", [["--output_dir", "a", "--protocol", "half"], ["--protocol", "full"]])
def test_a_bad_or_missing_value_ends_with_code_2(args: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        parse(*args)
    assert stop.value.code == 2
    assert "usage:" in capsys.readouterr().err


def test_help_ends_in_the_examples_and_names_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        parse("--help")
    assert stop.value.code == 0
    shown = capsys.readouterr().out
    for piece in ("examples:\n  score.py --output_dir runs/a", "--max_participants", "where scores go", "--config"):
        assert piece in shown
