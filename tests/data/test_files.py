import gzip
import json
import os
import tracemalloc
import zipfile
from datetime import date, datetime, time
from uuid import UUID

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from centaurlab.data.source import DataArguments, open_source
from centaurlab.runtime.errors import UserError
from helpers.sources import error_of, read, skipped_in
from helpers.transcripts import LFS_POINTER, TEXT, json_lines, session, write_transcripts

FORMATS = ["s.jsonl", "s.jsonl.gz", "s.jsonl.zip", "s.zip", "s.parquet"]
FORMATS += ["s.ndjson", "s.NDJSON.GZ", "s.ndjson.zip", "s.JSONL", "s.Jsonl.Gz", "S.ZIP", "s.Parquet"]


# What is read


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same_transcripts(tmp_path, name):
    path = write_transcripts(tmp_path / name, [session(i, age=30 + i) for i in range(5)])
    transcripts = read(path)
    assert [t.participant for t in transcripts] == ["0", "1", "2", "3", "4"]
    assert {(t.text, t.study, t.experiment) for t in transcripts} == {
        (TEXT, "smith2020bandit", "smith2020bandit/exp1.csv")
    }
    assert [t.metadata for t in transcripts] == [{"age": 30 + i} for i in range(5)]


@pytest.mark.parametrize(
    ("contributed", "name"),
    [
        *((32, "32"), (32.0, "32"), ("32", "32"), ("anna", "anna"), (1.5, "1.5"), (0, "0")),
        *((" 32\u00a0", "32"), ("Zoe\u0308", "Zo\u00eb"), ("a  b", "a  b")),
    ],
)
def test_participants_are_strings_whatever_was_contributed(tmp_path, contributed, name):
    assert read(write_transcripts(tmp_path / "s.jsonl", [session(contributed)]))[0].participant == name


@pytest.mark.parametrize(
    ("column", "names"),
    [
        (pa.array([1, 20]).cast(pa.decimal128(20, 0)), ["1", "20"]),
        (pa.array(["1.50", "2.00"]).cast(pa.decimal128(9, 2)), ["1.5", "2"]),
        (pa.array([date(2024, 3, 1), date(2024, 3, 2)]), ["2024-03-01", "2024-03-02"]),
        (pa.array([datetime(2024, 3, 1, 9), datetime(2024, 3, 2)]), ["2024-03-01T09:00:00", "2024-03-02T00:00:00"]),
        (pa.array([time(9, 30), time(10)], pa.time64("us")), ["09:30:00", "10:00:00"]),
        (pa.array([bytes(16), b"\xff" * 16], pa.uuid()), [str(UUID(int=0)), str(UUID(int=(1 << 128) - 1))]),
        (pa.array(["a", "b"]).dictionary_encode(), ["a", "b"]),
    ],
)
def test_participants_are_read_from_whatever_a_database_calls_an_id(tmp_path, column, names):
    pq.write_table(
        pa.table({"text": [TEXT] * 2, "experiment": ["e"] * 2, "participant": column}), tmp_path / "s.parquet"
    )
    assert [t.participant for t in read(tmp_path / "s.parquet")] == names


def test_metadata_stay_as_contributed_even_where_types_conflict_between_files(tmp_path):
    for name, age in [("a.jsonl", 37), ("b.jsonl", 37.0), ("c.jsonl", "37"), ("d.jsonl", "N/A")]:
        write_transcripts(tmp_path / name, [session(name, age=age, RTs=[-1, 0, "812"])])
    assert [t.metadata["age"] for t in read(tmp_path)] == [37, 37.0, "37", "N/A"]
    assert read(tmp_path)[0].metadata["RTs"] == [-1, 0, "812"]


def test_a_source_can_be_iterated_again_and_gives_the_same(tmp_path):
    source = open_source(
        DataArguments(data=str(write_transcripts(tmp_path / "s.jsonl.gz", [session(i) for i in range(9)])))
    )
    assert list(source) == list(source)


def test_blank_lines_and_a_byte_order_mark_are_no_sessions(tmp_path):
    path = tmp_path / "s.jsonl"
    path.write_text("\ufeff" + json_lines([session(1)]) + "\n\n" + json_lines([session(2)]) + "\n", "utf-8")
    assert [t.origin for t in read(path)] == [f"{path}:1", f"{path}:4"]


def test_a_large_file_is_read_as_a_stream(tmp_path):
    path = tmp_path / "s.jsonl.gz"
    with gzip.open(path, "wt", compresslevel=1) as stream:
        for participant in range(500):
            stream.write(json_lines([session(participant, filler="x" * 40_000)]))
    source = open_source(DataArguments(data=str(path)))
    tracemalloc.start()
    count = sum(1 for _ in source)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 500
    assert peak < 2_000_000


# Which study a session belongs to


def test_a_study_column_comes_first(tmp_path):
    path = write_transcripts(tmp_path / "badham2017deficits.jsonl", [session(1, study="jones2021")])
    assert read(path)[0].study == "jones2021"


@pytest.mark.parametrize("place", ["badham2017deficits.jsonl.gz", "badham2017deficits/data.parquet"])
def test_then_a_file_or_folder_that_the_catalog_knows(tmp_path, place):
    assert read(write_transcripts(tmp_path / place, [session(1)]))[0].study == "badham2017deficits"


@pytest.mark.parametrize("name", ["prompts.jsonl", "prompts.jsonl.zip"])
def test_then_the_folder_of_prompts(tmp_path, name):
    """As far as the folder is part of the data, or the sessions say no study themselves."""
    path = write_transcripts(tmp_path / "lee2031new" / name, [session(1)])
    assert read(path.parent)[0].study == read(tmp_path)[0].study == "lee2031new"
    assert read(path)[0].study == "smith2020bandit"
    assert read(write_transcripts(path, [session(1, experiment=None)]))[0].study == "lee2031new"


@pytest.mark.parametrize(
    ("experiment", "study"),
    [
        ("lee2031/exp1", "lee2031"),
        ("lee2031", "lee2031"),
        ("dezfouli//Users/someone/choices.csv", "dezfouli"),
        ("../../../exp1.csv", "mine"),
        ("/home/someone/data.csv", "mine"),
        (".", "mine"),
        ("C:\\data\\exp.csv", "mine"),
        ("", "mine"),
        (None, "mine"),
    ],
)
def test_then_the_head_of_the_experiment_or_where_that_is_a_path_the_file(tmp_path, experiment, study):
    path = write_transcripts(tmp_path / "mine.jsonl", [{**session(1), "experiment": experiment}])
    assert read(path)[0].study == study


def test_an_experiment_may_hold_anything_and_stays_what_it_is(tmp_path):
    path = write_transcripts(tmp_path / "mine.jsonl", [{**session(1), "experiment": "../../../exp1.csv"}])
    assert read(path)[0].experiment == "../../../exp1.csv"


# Folders and checkouts


def test_a_folder_gives_the_sessions_of_all_its_files_and_says_what_it_skipped(tmp_path):
    write_transcripts(tmp_path / "b.jsonl", [session(1)])
    write_transcripts(tmp_path / "a.parquet", [session(2)])
    (tmp_path / "README.md").write_text("about")
    (tmp_path / "manifest.csv").write_text("a,b\n")
    (tmp_path / ".hidden.jsonl").write_text("{")
    with zipfile.ZipFile(tmp_path / "pictures.zip", "w") as archive:
        archive.writestr("a.png", b"")
    source = open_source(DataArguments(data=str(tmp_path)))
    assert [t.participant for t in source] == ["2", "1"]
    assert source.notes == ("skipped 3 files (README.md, manifest.csv, pictures.zip) without transcripts",)


def test_a_checkout_of_psych_201_gives_the_prompts_of_each_study_and_nothing_else(tmp_path):
    write_transcripts(tmp_path / "frey2017dfe" / "prompts.jsonl.zip", [session(1)])
    write_transcripts(tmp_path / "lee2031new" / "prompts.jsonl", [session(1)])
    write_transcripts(tmp_path / "lee2031new" / "prompts.jsonl.zip", [session(1)])
    (tmp_path / "lee2031new" / "raw.jsonl").write_text('{"rt": 300}\n')
    (tmp_path / "lee2031new" / "original_data").mkdir()
    (tmp_path / "lee2031new" / "original_data" / "exp1.jsonl").write_text('{"rt": 300}\n')
    (tmp_path / "zika2023").mkdir()
    (tmp_path / "zika2023" / "prompts.jsonl.zip").write_text(LFS_POINTER)
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "x.jsonl").write_text("{")
    (tmp_path / "README.md").write_text("about")
    source = open_source(DataArguments(data=str(tmp_path)))
    assert [t.study for t in source] == ["frey2017dfe", "lee2031new"]
    lfs, others = source.notes
    assert lfs == "skipped 1 Git-LFS pointer (zika2023/prompts.jsonl.zip); 'git lfs pull' fetches the data"
    assert others.startswith("skipped 3 files (README.md, lee2031new/prompts.jsonl.zip, lee2031new/raw.jsonl)")


def test_prompts_below_a_study_are_a_study_too_and_said_and_raw_data_there_are_not_read(tmp_path):
    write_transcripts(tmp_path / "lee2031" / "prompts.jsonl", [session(1)])
    write_transcripts(tmp_path / "lee2031" / "followup" / "prompts.jsonl.gz", [session(1), session(2)])
    write_transcripts(tmp_path / "lee2031" / "raw" / "day1" / "log.jsonl", [session(3)])
    source = open_source(DataArguments(data=str(tmp_path)))
    assert [(t.study, t.participant) for t in source] == [("lee2031", "1"), ("followup", "1"), ("followup", "2")]
    (within,) = source.notes
    assert within.startswith("lee2031/followup lies within the folder of another study; it is read as")


def test_folders_of_one_name_are_said_to_be_one_study(tmp_path):
    for study, person in (("lee2031", 1), ("zika2023", 2)):
        write_transcripts(tmp_path / study / "exp1" / "prompts.jsonl", [session(person)])
    source = open_source(DataArguments(data=str(tmp_path)))
    assert {t.study for t in source} == {"exp1"}
    assert source.notes[0].startswith("lee2031/exp1, zika2023/exp1 are one study, 'exp1', by their folders' name")


def test_git_lfs_pointers_alone_are_an_error_that_says_how_to_get_the_data(tmp_path):
    (tmp_path / "zika2023").mkdir()
    (tmp_path / "zika2023" / "prompts.jsonl.zip").write_text(LFS_POINTER)
    assert "run 'git lfs pull'" in error_of(tmp_path)
    assert "run 'git lfs pull'" in error_of(tmp_path / "zika2023" / "prompts.jsonl.zip")


# What is wrong with a file, each said with its place


def line(**fields: object) -> str:
    return json.dumps({**session(2), **fields})


def without_text() -> str:
    return json.dumps({"experiment": "e", "participant": 2})


@pytest.mark.parametrize(
    ("second_line", "said"),
    [
        ('{"text": "You press <<J>>.", ', "invalid JSON"),
        ("[1, 2]", "not a JSON object"),
        (without_text(), "no `text`"),
        ('{"prompt": "You press <<J>>."}', "no `text`"),
        (line(text=3), "`text` is a number, not a string"),
        (line(text=None), "`text` is null, not a string"),
        (line(text="You press <<J"), "unclosed '<<' on line 1 of the text"),
        (line(text="You press <<J <<F>>."), "nested '<<' on line 1 of the text"),
        (line(text="You do nothing."), "no response"),
        (line(text="You press <<\ud83d>>."), "half of a surrogate pair"),
        (line().replace('"text"', '"text": "You press <<F>>.", "text"'), "the key 'text' stands twice"),
        (line(participant=1), "duplicate session: participant '1' of 'smith2020bandit'"),
        (line(participant=1.0), "duplicate session"),
        (line(participant=None), "no `participant`"),
        (line(participant="\ud83d"), "a name holds half of a surrogate pair"),
        (line(participant=float("nan")), "no `participant`"),
        (line(participant=[1]), "`participant` is a list, not a text, number or date"),
        (line(experiment={"name": 1}), "`experiment` is an object, not a text, number or date"),
        (line(study="../etc"), "'../etc' cannot name a study"),
        (line(study="a/.."), "'a/..' cannot name a study"),
    ],
)
def test_a_malformed_line_is_named_with_its_file_and_number(tmp_path, second_line, said):
    path = tmp_path / "s.jsonl"
    path.write_text(json_lines([session(1)]) + second_line + "\n", encoding="utf-8")
    message = error_of(path)
    assert message.startswith(f"{path}:2: ")
    assert said in message
    assert message.endswith("correct it, or leave such sessions out with --on_malformed skip")
    assert len(message.splitlines()) == 1


def test_a_malformed_row_of_a_parquet_file_is_named(tmp_path):
    path = write_transcripts(tmp_path / "s.parquet", [session(1), session(2), session(3, text="You press <<J")])
    assert error_of(path).startswith(f"{path}: row 3: unclosed '<<'")


def test_a_value_of_a_parquet_file_that_python_does_not_have_is_named_by_its_row(tmp_path):
    torn = pa.array([b"You press <<J>>.", b"You press <<\xff>>."]).cast(pa.binary()).view(pa.string())
    pq.write_table(pa.table({"text": torn, "participant": [1, 2], "study": ["a", "a"]}), tmp_path / "s.parquet")
    assert error_of(tmp_path / "s.parquet").startswith(f"{tmp_path}/s.parquet: row 2: a value cannot be read ('utf-8'")
    dates = pa.array([2**62, 0], pa.timestamp("us"))
    pq.write_table(pa.table({"text": [TEXT, TEXT], "participant": [1, 2], "when": dates}), tmp_path / "s.parquet")
    source = open_source(DataArguments(data=str(tmp_path / "s.parquet"), on_malformed="skip"))
    assert [str(problem) for problem in skipped_in(source)] == [
        f"{tmp_path}/s.parquet: row 1: a value cannot be read (date value out of range)"
    ]


def test_text_that_is_not_utf_8_is_named_with_its_byte(tmp_path):
    path = tmp_path / "s.jsonl"
    path.write_bytes(json_lines([session(1)]).encode() + '{"text": "Grüße"}\n'.encode("latin-1"))
    assert error_of(path).startswith(f"{path}:2: not UTF-8 (byte 13 of the line)")
    path.write_bytes(json_lines([session(1)]).encode("utf-16-le"))
    assert error_of(path).startswith(f"{path}:1: not UTF-8 (it holds NUL bytes, as UTF-16 does)")
    path.write_bytes(gzip.compress(json_lines([session(1)]).encode()))
    assert "it is compressed; name it .jsonl.gz" in error_of(path)


def test_a_pipe_among_transcripts_is_passed_over(tmp_path):
    write_transcripts(tmp_path / "a.jsonl", [session(1)])
    os.mkfifo(tmp_path / "b.jsonl")
    assert len(read(tmp_path)) == 1
    assert open_source(DataArguments(str(tmp_path))).notes == ("skipped 1 file (b.jsonl) without transcripts",)


@pytest.mark.parametrize("name", ["text", "participant", "person"])
def test_a_table_with_two_columns_of_one_name_is_refused(tmp_path, name):
    columns = {"text": TEXT, "participant": "1", "person": "2"}
    arrays = [pa.array([value]) for value in (*columns.values(), columns[name])]
    pq.write_table(pa.Table.from_arrays(arrays, [*columns, name]), tmp_path / "s.parquet")
    assert f"has 2 columns `{name}`; leave one" in error_of(tmp_path / "s.parquet")


@pytest.mark.parametrize("content", ["", "\n \n"])
def test_an_empty_file_is_named(tmp_path, content):
    (tmp_path / "s.jsonl").write_text(content)
    assert error_of(tmp_path / "s.jsonl").startswith(f"{tmp_path}/s.jsonl: the file is empty")


def test_a_missing_file_an_unknown_extension_and_a_folder_without_transcripts(tmp_path):
    (tmp_path / "data.csv").write_text("a,b\n")
    assert error_of(tmp_path / "nowhere.jsonl") == f"no such file or folder: {tmp_path}/nowhere.jsonl"
    assert "unknown extension; transcripts are read from .jsonl, .jsonl.gz" in error_of(tmp_path / "data.csv")
    assert f"{tmp_path} holds no transcripts" in error_of(tmp_path)
    for path in (tmp_path, tmp_path / "data.csv"):
        assert "'centaurlab data convert' tells sessions from a table as data.csv is one" in error_of(path)


@pytest.mark.parametrize("name", ["s.zip", "s.parquet", "s.jsonl.gz"])
def test_a_file_that_is_not_what_its_name_says(tmp_path, name):
    (tmp_path / name).write_text("nothing of the kind\n")
    assert str(tmp_path / name) in error_of(tmp_path / name)


# Leaving malformed sessions out


def test_skip_leaves_malformed_sessions_out_and_lists_them(tmp_path):
    path = tmp_path / "s.jsonl"
    lines = [line(participant=1), "{", line(participant=2, text="You press <<J"), line(participant=3)]
    path.write_text("\n".join(lines), encoding="utf-8")
    source = open_source(DataArguments(data=str(path), on_malformed="skip"))
    for _ in range(2):
        assert [t.participant for t in source] == ["1", "3"]
        assert [problem.origin for problem in skipped_in(source)] == [f"{path}:2", f"{path}:3"]


def test_a_blank_answer_is_said_to_be_left_out_while_its_session_stays(tmp_path):
    path = write_transcripts(tmp_path / "s.jsonl", [session(1, text="<<J>>.\nWhy? << >>. Why?\n<<>>.")])
    message = error_of(path)
    assert message.startswith(f"{path}:1: 2 empty responses, the first: empty response on line 2 of the text")
    assert message.endswith("or leave such responses out, and keep their sessions, with --on_malformed skip")


def test_skip_keeps_sessions_whose_only_fault_is_an_empty_response(tmp_path):
    path = write_transcripts(tmp_path / "s.jsonl", [session(1, text="You press <<>>. You press <<J>>.")])
    source = open_source(DataArguments(data=str(path), on_malformed="skip"))
    assert skipped_in(source) == []
    write_transcripts(path, [session(1, text="You press <<>>. You press <<J")])
    with pytest.raises(UserError, match="no session is left"):
        read(path, on_malformed="skip")
