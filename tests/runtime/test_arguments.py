"""Options come from a YAML file and the command line, and a misspelt one is answered with the right one."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from centaurlab.runtime.arguments import parse_arguments
from centaurlab.runtime.errors import UserError


@dataclass
class Data:
    data: str = field(default="starter", metadata={"help": "where sessions come from"})
    max_participants: int | None = None
    models: list[str] = field(default_factory=list)
    rate: float = 0.5
    quick: bool = False


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


@dataclass
class Table:
    trials: str = field(metadata={"positional": True})
    init: bool = False


@pytest.mark.parametrize(
    ("typed", "init"),
    [("--init t.csv", True), ("t.csv --init", True), ("--init no t.csv", False), ("--init=yes t.csv", True)],
)
def test_a_switch_takes_no_argument_for_its_value(typed: str, init: bool) -> None:
    assert parse_arguments([Table], None, typed.split()) == (Table("t.csv", init),)


def test_a_misspelt_option_is_answered_with_the_nearest() -> None:
    with pytest.raises(UserError, match="unknown option '--protocoll'; did you mean '--protocol'"):
        parse("--output_dir", "a", "--protocoll", "full")


def test_a_word_too_many_is_answered_with_how_several_are_written() -> None:
    with pytest.raises(UserError, match="'second' belongs to no option; several names in one are written --studies"):
        parse("--output_dir", "a", "second")


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
        ("1: a\n", "unknown key '1'"),
        ("config: other.yaml\n", "unknown key 'config'"),
        ("protocol: half\n", "protocol is 'half', not one of full, paper"),
        ("max_participants: [1, 2]\n", "max_participants is a list, not int | None"),
        ("max_participants: 1.5\n", "max_participants is 1.5, not int | None"),
        ("max_participants: true\n", "max_participants is true, not int | None"),
        ("rate: null\n", "rate is null, not float"),
        ("quick: 3\n", "quick is 3, not bool"),
        ("output_dir: 2024\n", "output_dir is 2024, not str; put it between quotes"),
        ("output_dir: null\n", "output_dir is null, not str"),
        ("models: [a, 1]\n", "models is a list, not list[str]"),
        ("models: 'a \"b'\n", "No closing quotation; write a list"),
        ("env: a\n", "env is 'a', not a mapping"),
        ("env: {A=B: 1}\n", "'A=B' cannot name a variable"),
        ("env: {A: [1]}\n", "the variable A is a list, not text or a number"),
        ("rate: &a [*a]\n", "rate is a list, not float"),
        ("rate: !!int ''\n", "is not valid YAML: string index out of range"),
        ("rate: !!bool x\n", "is not valid YAML: 'x'"),
        ("rate: !!timestamp x\n", "is not valid YAML"),
        ("rate: 2001-02-30\n", "is not valid YAML: day is out of range"),
        ("[" * 5000, "is not valid YAML: maximum recursion depth"),
    ],
)
def test_a_bad_file_is_named(tmp_path: Path, content: str, message: str) -> None:
    path = config(tmp_path, content)
    with pytest.raises(UserError, match=r"score\.yaml") as error:
        parse("--config", path)
    assert message in str(error.value)


def test_text_in_a_file_is_read_as_on_the_command_line(tmp_path: Path) -> None:
    content = "output_dir: a\nmax_participants: '3'\nrate: 1e-5\nquick: 'yes'\nmodels: one 'the other'\n"
    data, _ = parse("--config", config(tmp_path, content))
    assert data == Data("starter", 3, ["one", "the other"], 1e-5, True)


def test_a_whole_number_is_a_number_and_a_list_stays_one(tmp_path: Path) -> None:
    data, _ = parse("--config", config(tmp_path, "output_dir: a\nrate: 2\nmodels: [a b, c]\nmax_participants: null\n"))
    assert data == Data(rate=2, models=["a b", "c"])


def test_a_file_may_set_variables_of_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.environ", dict(os.environ))
    parse("--config", config(tmp_path, "output_dir: a\nenv: {A_LETTER: b, A_NUMBER: 3}\n"))
    assert (os.environ["A_LETTER"], os.environ["A_NUMBER"]) == ("b", "3")


def test_two_files_are_refused(tmp_path: Path) -> None:
    path = config(tmp_path, "output_dir: a\n")
    with pytest.raises(UserError, match="given 2 times"):
        parse("--config", path, f"--config={path}")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot read --config .*absent\.yaml"):
        parse("--config", str(tmp_path / "absent.yaml"))


@pytest.mark.parametrize("args", [["--output_dir", "a", "--protocol", "half"], ["--protocol", "full"]])
def test_a_bad_or_missing_value_is_a_users_mistake(args: list[str]) -> None:
    with pytest.raises(UserError, match=r"(--protocol: invalid choice: 'half'|required: --output_dir).*--help"):
        parse(*args)


def test_help_ends_in_the_examples_and_names_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        parse("--help")
    assert stop.value.code == 0
    shown = capsys.readouterr().out
    for piece in ("examples:\n  score.py --output_dir runs/a", "--max_participants", "where scores go", "--config"):
        assert piece in shown
