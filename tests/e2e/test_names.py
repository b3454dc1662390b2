"""Names of studies from anybody, through every table, bar, error and file: as they are, and without any effect."""

import csv
import re
from pathlib import Path

import pytest

from helpers.commands import UNTRACKED, Done, centaurlab
from helpers.tiny_models import save_tiny_llama
from helpers.transcripts import two_keys, write_transcripts

MARKUP = ["[red]evil[", "[bold]x", "[blink]", ":skull:", "ok[link=http:evil]click[", "[@click=app.bell]z", "x["]
CONTROL = {"\x9b31mred\x9b0m": r"\x9b31mred\x9b0m", "\u202egnp.exe": r"\u202egnp.exe", "a\u2028b": r"a\u2028b"}
FORMULAS = ["=1+1", "+1+1", "-2+3", "@SUM(A1)", '=HYPERLINK("http:evil","x")', "=cmd|' C calc'!A0", "＝1+1"]
ACTS = re.compile(r"[\x00-\x09\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028-\u202e]")
FORMULA = re.compile(r"[=+\-@\t\r＝＋－＠]")
NUMBER = re.compile(r"[+-]?(\d|\.\d|inf|nan)[\d.e+-]*$")


@pytest.mark.slow
def test_names_act_nowhere(tmp_path: Path, tiny_llama_dir: Path) -> None:
    names = [*MARKUP, *CONTROL, *FORMULAS]
    other = save_tiny_llama(tmp_path / "other[red]", seed=1)
    write_transcripts(
        tmp_path / "people[bold].jsonl",
        [
            {"text": two_keys(person), "study": name, "experiment": f"{name}/1", "participant": f"{name}{person}"}
            for name in names
            for person in range(4)
        ],
    )

    def run(*arguments: object) -> Done:
        done = centaurlab(*arguments, cwd=tmp_path)
        assert "Traceback" not in done.stderr, done.stderr
        assert not ACTS.search(done.stdout + done.stderr.replace("\t", "")), arguments
        return done

    data = ("--data", "people[bold].jsonl")
    for name, model in (("a[i]", tiny_llama_dir), ("b", other)):
        scored = ("--model_name_or_path", model, *data, "--dtype", "float32", "--output_dir", name)
        assert run("score", *scored, *UNTRACKED).returncode == 0
    shown = [
        run("misalignment", "--base", "a[i]", "--post", "b", "--output_dir", "effect", *UNTRACKED),
        run("data", "stats", data[1], "--tokenizer", "none"),
        run("data", "options", data[1]),
        run("compare", "a[i]", "b", "--format", "markdown"),
    ]
    run("data", "validate", data[1])
    run("compare", "a[i]", "b", "--format", "csv")
    run("report", "effect")
    assert [done.returncode for done in shown] == [0] * len(shown)
    for done in shown[:3]:
        together = "".join(done.stdout.split())  # long names are folded
        for name in names:
            assert "".join(CONTROL.get(name, name).split()) in together
    unknown = run("data", "stats", data[1], "--studies", "[/red]\x1b[31m")
    assert unknown.returncode == 2
    assert r"[/red]\x1b[31m" in unknown.stderr
    for path in tmp_path.rglob("*.csv"):
        for row in csv.reader(path.read_text(encoding="utf-8").splitlines()):
            assert not [cell for cell in row if FORMULA.match(cell) and not NUMBER.match(cell)], path
