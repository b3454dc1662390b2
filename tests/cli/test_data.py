"""The table of a data set counts what scoring reads, and every malformed line is named."""

import csv
import json
import re
from pathlib import Path

import pytest

from centaurlab.cli.data import TokenReader, is_known, print_stats, validate
from centaurlab.data.source import DataArguments
from centaurlab.runtime.errors import UserError
from helpers.transcripts import write_transcripts

TEXT = "You see J and F. You press <<J>>. You press <<F>>."


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COLUMNS", "140")
    sessions = [
        {"text": TEXT, "experiment": "enkavi2019digitspan/1", "participant": 1, "age": 37, "gender": "N/A"},
        {"text": TEXT, "experiment": "enkavi2019digitspan/2", "participant": 1, "age": float("nan")},
        {"text": TEXT, "experiment": "smith2020/1", "participant": "a", "gender": "female"},
    ]
    return write_transcripts(tmp_path / "s.jsonl", sessions)


def row_of(table: str, study: str) -> list[str]:
    (line,) = [line for line in table.splitlines() if study in line and ": " not in line]
    return re.split(r"\s{2,}", line.strip())


def test_the_table_counts_sessions_responses_and_known_metadata_per_study(path, capsys):
    print_stats(DataArguments(data=str(path)))
    printed = capsys.readouterr().out
    characters = f"{2 * len(TEXT)}"
    assert row_of(printed, "enkavi") == ["enkavi2019digitspan", "1", "2", "4", characters, "Memory", "age 1"]
    assert row_of(printed, "smith2020") == ["smith2020", "1", "1", "2", f"{len(TEXT)}", "–", "gender 1"]
    assert row_of(printed, "2 studies")[:5] == ["2 studies", "2", "3", "6", f"{3 * len(TEXT)}"]
    assert "enkavi2019digitspan: 1 of 1 id recurs (one person by the catalog: 1)" in printed.splitlines()
    assert printed.splitlines()[-1] == "no problems found"


def test_with_a_tokenizer_it_counts_the_tokens_that_scoring_reads(path, capsys, tiny_llama_dir):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_llama_dir)
    up_to_the_last_response = TEXT.removesuffix(">>.")
    tokens = len(tokenizer(up_to_the_last_response)["input_ids"])
    print_stats(DataArguments(data=str(path)), TokenReader(tokenizer))
    printed = capsys.readouterr().out
    assert "tokens" in printed
    assert row_of(printed, "smith2020")[4] == str(tokens)
    assert "go on beyond" not in printed
    first_response = len(tokenizer(TEXT.partition(">>")[0])["input_ids"])
    print_stats(DataArguments(data=str(path)), TokenReader(tokenizer, tokens - 1))
    printed = capsys.readouterr().out
    assert row_of(printed, "smith2020")[4] == str(first_response)
    assert f"smith2020: 1 of 1 sessions go on beyond the {tokens - 1} tokens that the model reads" in printed


def test_people_are_listed_with_their_ids_and_sessions(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")
    who = [(1, "a/1", {"age": 3}), (1, "a/2", {"age": 3}), (1, "a/3", {"age": 9}), (2, "a/1", {})]
    who += [(3, "a/1", {"person": "Ann, B."}), (4, "b/1", {"person": "Ann, B."})]
    path = write_transcripts(
        tmp_path / "s.jsonl",
        [{"text": TEXT, "experiment": experiment, "participant": id, **fields} for id, experiment, fields in who],
    )
    listed = tmp_path / "new" / "folder" / "people.csv"
    print_stats(DataArguments(data=str(path)), people=listed)
    with listed.open(newline="") as file:
        rows = sorted(csv.reader(file))
    assert rows == [
        ["1 (a/1)", "a", "1", "2"],
        ["1 (a/3)", "a", "1", "1"],
        ["2", "a", "2", "1"],
        ["Ann, B.", "a; b", "3; 4", "2"],
        ["person", "study", "participant_ids", "sessions"],
    ]
    printed = capsys.readouterr().out
    assert "a: 1 of 3 ids recurs (several people by other metadata: 1)" in printed
    assert printed.endswith(f"people: {listed}\n")
    with pytest.raises(UserError, match=r"cannot write .*people\.csv: .*; give another --people"):
        print_stats(DataArguments(data=str(path)), people=path / "people.csv")


def test_stats_say_what_is_malformed_and_go_on(path, capsys):
    with path.open("a") as stream:
        stream.write('{"text": \n')
    print_stats(DataArguments(data=str(path)))
    printed = capsys.readouterr().out
    assert f"{path}:4: invalid JSON" in printed
    assert printed.splitlines()[-1] == "1 problem found"


def test_stats_of_nothing_are_an_error(tmp_path, capsys):
    (tmp_path / "s.jsonl").write_text("{")
    with pytest.raises(UserError, match="holds no usable session"):
        print_stats(DataArguments(data=str(tmp_path / "s.jsonl")))
    assert "s.jsonl:1: invalid JSON" in capsys.readouterr().out


def test_validate_names_every_malformed_line(path, capsys):
    lines = path.read_text().splitlines()
    bad = ["{", lines[0], json.dumps({**json.loads(lines[2]), "participant": "b", "text": "You press <<>> [red]."})]
    path.write_text("\n".join([*lines, *bad]))
    with pytest.raises(UserError, match="3 of 6 sessions malformed"):
        validate(str(path))
    assert [line.partition(": ")[0] for line in capsys.readouterr().out.splitlines()] == [
        f"{path}:4",
        f"{path}:5",
        f"{path}:6",
    ]


def test_validate_is_content_with_sound_transcripts(path, capsys):
    validate(str(path))
    assert capsys.readouterr().out == "3 sessions, no problem found\n"


def test_validate_warns_of_contradictions_and_is_content_nonetheless(path, capsys):
    people = [{"text": TEXT, "experiment": "smith2020/1", "participant": f"b{i}", "RTs": [1]} for i in range(25)]
    write_transcripts(path, people)
    validate(str(path))
    *warnings, more, last = capsys.readouterr().out.splitlines()
    assert len(warnings) == 20
    assert warnings[0].startswith(f"warning: {path}:1: response times: `RTs` lists 1 times, the text has 2 responses")
    assert more == "warning: … and 5 more: response times"
    assert last == "25 sessions, no problem found, 25 warnings"


def test_validate_says_that_blank_answers_cost_no_session(path, capsys):
    with path.open("a") as stream:
        stream.write(json.dumps({"text": "You press <<J>>. Why? <<>>", "experiment": "smith2020/1", "participant": 9}))
    with pytest.raises(
        UserError, match=r"1 of 4 sessions malformed \(1 by nothing but empty responses: .* keeps their"
    ):
        validate(str(path))


def test_validate_and_stats_name_what_is_doubtful(path, capsys):
    with path.open("a") as stream:
        stream.write(json.dumps({"text": "You press <<NA>>.", "experiment": "smith2020/1", "participant": 9}) + "\n")
    validate(str(path))
    warning, last = capsys.readouterr().out.splitlines()
    assert warning.startswith(f"warning: {path}:4: no answer: 'NA': the answer is a word that programs write for none")
    assert last == "4 sessions, no problem found, 1 warning"
    print_stats(DataArguments(data=str(path)))
    assert f"doubtful: no answer in 1 response of 1 session, {path}:4 ('NA'): the answer" in capsys.readouterr().out


def test_validate_says_when_there_is_nothing_to_read(tmp_path):
    with pytest.raises(UserError, match="no such file or folder"):
        validate(str(tmp_path / "missing.jsonl"))


@pytest.mark.parametrize(
    "value",
    [
        None,
        float("nan"),
        float("-inf"),
        "",
        " ",
        "N/A",
        "NA",
        "nan",
        "NaN",
        "None",
        "null",
        "NaT",
        "<NA>",
        "INF",
        "-inf",
        [],
        {},
    ],
)
def test_metadata_that_say_nothing_are_unknown(value):
    assert not is_known(value)


@pytest.mark.parametrize("value", [0, 37, 37.0, "37", "female", [812], False, True])
def test_other_metadata_are_known(value):
    assert is_known(value)
