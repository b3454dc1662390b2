"""Tables as experiment software writes them: every cell the text that stands in the file, and errors name the line."""

import json
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from centaurlab.data.tables.reading import read_trials
from centaurlab.data.tables.sessions import TableArguments, prepared
from centaurlab.runtime.errors import UserError


def cells(path: Path) -> list[dict[str, str | None]]:
    return [dict(row.cells) for row in read_trials(path).rows]


def written(path: Path, text: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


TABLE = 'id,answer,rt\np1,NA,0.10\np1,"a, ""b""\nc",01\n\np2,,1e3\n'
EXPECTED = [
    {"id": "p1", "answer": "NA", "rt": "0.10"},
    {"id": "p1", "answer": 'a, "b"\nc', "rt": "01"},
    {"id": "p2", "answer": "", "rt": "1e3"},
]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.csv", TABLE),
        ("t.csv", "\ufeff" + TABLE),
        ("t.csv", TABLE.replace("\n", "\r\n").replace('"\r\nc', '"\nc')),
        ("t.tsv", TABLE.replace("a, ", "a; ").replace(",", "\t").replace("a; ", "a, ")),
        ("t.csv", TABLE.replace("a, ", "a%").replace(",", ";").replace("a%", "a, ")),
        ("t.tsv", TABLE.replace("a, ", "a; ").replace(",", "\t").replace("a; ", "a, ").encode("utf-16")),
    ],
)
def test_delimited_tables_are_read_as_text(tmp_path, name, content):
    assert cells(written(tmp_path / name, content)) == EXPECTED


def test_rows_know_their_first_line(tmp_path):
    places = [row.place for row in read_trials(written(tmp_path / "t.csv", TABLE)).rows]
    assert places == [f"{tmp_path / 't.csv'}:{line}" for line in (2, 3, 6)]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("a,b\n1,2,3\n", "t.csv:2: 3 cells under 2 columns"),
        ("a,a\n1,2\n", "t.csv:1: two columns are called 'a'"),
        ("a,\n1,2\n", "t.csv:1: column 2 has no name"),
        ('a,b\n1,"2\n', "t.csv:2: unexpected end of data"),
        ("a,b\n1,2\na,b\n", "t.csv:3: the table's head stands here again"),
        ('"","b"\n1,2\n\ufeff"","b"\n', "t.csv:3: the table's head stands here again"),
        (b"a,b\n1,\xff\n", "t.csv:2: not UTF-8"),
        (b"a,b\n1,\0\n", "t.csv:2: holds a zero byte"),
        ("a,b\n", "holds no row"),
        ("", "holds no row"),
    ],
)
def test_a_broken_table_is_told_with_its_line(tmp_path, content, said):
    with pytest.raises(UserError, match=said):
        read_trials(written(tmp_path / "t.csv", content))


def test_the_row_numbers_of_r_get_a_name(tmp_path):
    assert cells(written(tmp_path / "t.csv", '"","a"\n"1","x"\n')) == [{"rownames": "1", "a": "x"}]


def test_excel_numbers_and_texts_stay_what_they_are(tmp_path):
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for row in (["id", "answer", "rt", "when"], ["p1", "0.10", 0.5, datetime(2026, 1, 2)], ["p1", True, 3, None]):
        book.active.append(row)
    book.save(tmp_path / "t.xlsx")
    assert cells(tmp_path / "t.xlsx") == [
        {"id": "p1", "answer": "0.10", "rt": "0.5", "when": "2026-01-02T00:00:00"},
        {"id": "p1", "answer": "true", "rt": "3", "when": None},
    ]
    book.active["C3"] = "=1+1"
    book.save(tmp_path / "t.xlsx")
    with pytest.raises(UserError, match="C3 is a formula without a value"):
        read_trials(tmp_path / "t.xlsx")
    with pytest.raises(UserError, match="not a readable Excel file"):
        read_trials(written(tmp_path / "u.xlsx", b"PK\3\4 no"))


def test_a_workbook_that_unpacks_to_hundreds_of_times_its_size_is_refused(tmp_path):
    pytest.importorskip("openpyxl")
    with zipfile.ZipFile(tmp_path / "t.xlsx", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/workbook.xml", b" " * (80 << 20))
    with pytest.raises(UserError, match="unpacks to more than 200 times its size"):
        read_trials(tmp_path / "t.xlsx")


def test_parquet_floats_that_are_whole_numbers_are_whole_numbers(tmp_path):
    frame = pd.DataFrame({"a": [1.0, None], "b": [0.5, 2.0], "c": ["01", None], "d": [True, False]})
    frame["when"] = datetime(2026, 1, 2, tzinfo=UTC)
    frame.to_parquet(tmp_path / "t.parquet")
    first, second = cells(tmp_path / "t.parquet")
    assert [first[name] for name in "abcd"] == ["1", "0.5", "01", "true"]
    assert [second[name] for name in "abcd"] == [None, "2.0", None, "false"]
    assert str(first["when"]).startswith("2026-01-02T00:00:00")


def test_parquet_values_are_told_as_they_were_written_and_bytes_not_at_all(tmp_path):
    columns = {
        "id ": pa.array(["1"]),
        "p": pa.array([0.1], pa.float32()),
        "list": [["a", "b"]],
        "object": [{"binary": 1, "x": None}],
        "raw": [b"left"],
        "image": [{"bytes": b"x"}],
    }
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    assert cells(tmp_path / "t.parquet") == [
        {"id": "1", "p": "0.1", "list": '["a", "b"]', "object": '{"binary": 1, "x": null}'}
    ]
    assert read_trials(tmp_path / "t.parquet").notes == ("t.parquet: left out raw, image: bytes, and no text",)


TRIALS = [{"rt": 812.40, "response": {"Q0": "so, so", "Q1": 3}, "key": None}, {"rt": None, "ok": True, "l": [1, "a"]}]
FLAT = [
    {"session": "1", "rt": "812.40", "response.Q0": "so, so", "response.Q1": "3", "key": None},
    {"session": "1", "rt": None, "ok": "true", "l": '[1, "a"]'},
]


def test_jspsych_trials_are_flattened_with_their_numbers_as_written(tmp_path):
    text = json.dumps(TRIALS).replace("812.4", "812.40")
    assert cells(written(tmp_path / "t.json", text)) == FLAT
    lines = "\n".join(json.dumps(trial) for trial in TRIALS).replace("812.4", "812.40")
    assert cells(written(tmp_path / "t.jsonl", lines)) == FLAT


def test_jatos_writes_a_list_per_session(tmp_path):
    text = json.dumps([{"a": 1}, {"a": 2}]) + "\n" + json.dumps([{"a": 3}])
    assert [(row["session"], row["a"]) for row in cells(written(tmp_path / "r.txt", text))] == [
        ("1", "1"),
        ("1", "2"),
        ("2", "3"),
    ]
    together = written(tmp_path / "r.json", json.dumps([[{"a": 1}], [{"a": 2}]]))
    assert [row["session"] for row in cells(together)] == ["1", "2"]


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("subject;choice;how sure, 1-7\na;left;3\nb;left;2\n", ("subject", "choice", "how sure, 1-7")),
        ("subject;rt, in s;choice\na;0,5;left\n", ("subject", "rt, in s", "choice")),
        ("subject,a;b\na,1;2\nb,3\n", ("subject", "a;b")),
        ("subject;how sure, 1-7\na;1\n", ("subject", "how sure, 1-7")),
        ("a,b\n1,2\n", ("a", "b")),
    ],
)
def test_columns_are_parted_by_what_head_and_rows_agree_on(tmp_path, text, columns):
    assert read_trials(written(tmp_path / "t.csv", text)).columns == columns


def people(path: Path) -> list[str | None]:
    table = read_trials(path)
    assert table.person
    return [row.cells[table.person] for row in table.rows]


def test_who_is_who_is_told_by_what_the_reader_knows_and_by_no_column_so_called(tmp_path):
    assert read_trials(written(tmp_path / "t.csv", "subject,session,file\na,1,cat\nb,2,dog\n")).person is None
    own = written(tmp_path / "r.json", json.dumps([[{"session": 1}, {"session": 2}], [{"session": 1}]]))
    assert people(own) == ["1", "1", "2"]
    assert [row["session"] for row in cells(own)] == ["1", "2", "1"]
    for name in ("p1", "p2"):
        written(tmp_path / "csv" / f"{name}.csv", "file,choice\ncat,a\ndog,b\n")
    assert people(tmp_path / "csv") == ["p1", "p1", "p2", "p2"]
    assert [row["file"] for row in cells(tmp_path / "csv")] == ["cat", "dog"] * 2


def test_lists_of_several_files_are_of_different_people(tmp_path):
    for name in ("e1", "e2"):
        written(tmp_path / f"{name}.json", json.dumps([[{"a": 1}], [{"a": 2}], [{"a": 3}]]))
    written(tmp_path / "e3.json", json.dumps([{"a": 1}]))
    assert people(tmp_path) == ["e1/1", "e1/2", "e1/3", "e2/1", "e2/2", "e2/3", "e3"]


def test_the_components_of_a_jatos_run_are_one_persons_in_their_order(tmp_path):
    for run, part in ((1, 2), (1, 10), (2, 11), (2, 12)):
        place = tmp_path / f"study_result_{run}" / f"comp-result_{part}" / "data.txt"
        written(place, json.dumps([{"a": part}]) + "\n" + json.dumps([{"a": part + 0.5}]))
    assert people(tmp_path) == ["study_result_1"] * 4 + ["study_result_2"] * 4
    assert [row["a"] for row in cells(tmp_path)] == ["2", "2.5", "10", "10.5", "11", "11.5", "12", "12.5"]


@pytest.mark.parametrize(
    ("text", "said"), [("[1]", "line|r.json:1, trial 1: '1' is no trial"), ('[{"a": 1},\n{]', "r.json:2: invalid JSON")]
)
def test_what_is_no_trial_is_told_with_its_place(tmp_path, text, said):
    with pytest.raises(UserError, match=said):
        read_trials(written(tmp_path / "r.json", text))


def test_a_folder_is_a_file_per_person(tmp_path):
    written(tmp_path / "s2.csv", "a,b\n1,2\n")
    written(tmp_path / "s1.csv", "a,c\n3,4\n")
    written(tmp_path / "README.txt", "about")
    table = read_trials(tmp_path)
    assert [dict(row.cells) for row in table.rows] == [
        {"a": "3", "c": "4", "file": "s1"},
        {"a": "1", "b": "2", "file": "s2"},
    ]
    assert table.columns == ("a", "c", "b", "file")
    assert table.notes == (f"passed over in {tmp_path}: README.txt",)
    written(tmp_path / "s3.csv", "x,y\n3,4\n")
    with pytest.raises(UserError, match=r"s3.csv and .*s1.csv have no column in common"):
        read_trials(tmp_path)
    written(tmp_path / "s4.json", "[]")
    with pytest.raises(UserError, match=r"several kinds \(.csv, .json\)"):
        read_trials(tmp_path)


def test_a_psych_ds_folder_says_in_names_whose_data_they_are(tmp_path):
    written(tmp_path / "dataset_description.json", "{}")
    written(tmp_path / "data" / "raw" / "subject-01_task-stroop_data.csv", "answer\nred\n")
    written(tmp_path / "data" / "raw" / "subject-02_task-stroop_data.csv", "answer\nblue\n")
    written(tmp_path / "analysis" / "other_data.csv", "x\n1\n")
    assert cells(tmp_path) == [
        {"answer": "red", "subject": "01", "task": "stroop"},
        {"answer": "blue", "subject": "02", "task": "stroop"},
    ]


def test_a_wide_survey_becomes_a_row_per_person_and_question(tmp_path):
    heads = 'ResponseId,Q1,Q2,Q10\nResponse ID,"How, are you?",Why?,Else?\n'
    imports = ",".join('"{""ImportId"":""' + name + '""}"' for name in ("_recordId", "QID1", "QID2", "QID10")) + "\n"
    path = written(tmp_path / "w.csv", heads + imports + "R_1,good,NA,\nR_2,bad,,x\n")
    told = prepared(read_trials(path), TableArguments(long=["Q2", "Q*"], where="answer is not missing")).told
    assert [tuple(row.cells.values()) for row in told.rows] == [
        ("R_1", "Q2", "Why?", "NA"),
        ("R_1", "Q1", "How, are you?", "good"),
        ("R_2", "Q1", "How, are you?", "bad"),
        ("R_2", "Q10", "Else?", "x"),
    ]
    with pytest.raises(UserError, match="--long Q3: no such column; there are ResponseId, Q1"):
        prepared(read_trials(path), TableArguments(long=["Q3"]))
    assert len(prepared(read_trials(path), TableArguments()).told.rows) == 2  # the heads are no answers


def test_trials_are_ordered_as_numbers_or_as_texts_and_never_as_both(tmp_path):
    path = written(tmp_path / "t.csv", "n,s\n10,b\n9,a\n9,c\n")
    told = prepared(read_trials(path), TableArguments(order=["n"])).told
    assert [row.cells["s"] for row in told.rows] == ["a", "c", "b"]
    told = prepared(read_trials(path), TableArguments(order=["s"])).told
    assert [row.cells["s"] for row in told.rows] == ["a", "b", "c"]
    for wrong, said in (("x", "t.csv:3: 'n' is 'x', elsewhere a number"), ("", "t.csv:3: no 'n'")):
        with pytest.raises(UserError, match=said):
            prepared(read_trials(written(tmp_path / "t.csv", f"n,s\n10,b\n{wrong},a\n")), TableArguments(order=["n"]))


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("task = 'x'", "task == 'choice'"),
        ("tsak == 'x'", "did you mean 'task'"),
        ("task", "neither true nor false"),
        ("n == 1", "compared with the number 1"),
        ("n | int > 0", "'x' is no number"),
        ("rt > '300'", "'1000' is a text also beside '300'"),
        ("not late or task == 'x'", "'false' is taken for true"),
        ("task == 'y'", "leaves no row"),
    ],
)
def test_a_condition_that_says_nothing_is_refused(tmp_path, where, said):
    path = written(tmp_path / "t.csv", "n,task,rt,late\nx,x,1000,false\n")
    with pytest.raises(UserError, match=said):
        prepared(read_trials(path), TableArguments(where=where))


@pytest.mark.parametrize(
    ("first", "then", "is_sorted"),
    [
        ("2,5", "10,2", False),
        ("9:58", "10:02", False),
        ("trial_2", "trial_10", False),
        ("28.02.2026", "01.03.2026", False),
        ("02/28/2026", "03/01/2026", False),  # or the other way round: nobody knows
        ("9:58 AM", "1:02 PM", False),
        ("09:58", "10:02", True),
        ("2026-02-28T10:00:05", "2026-02-28T10:00:05.123", True),
        ("2026-02-28T10:00:05.123", "2026-02-28T10:00:05.5", True),
        ("01.03.2026 9:05", "01.03.2026 9:58", True),
        ("A1", "B", True),
    ],
)
def test_trials_of_a_person_are_not_ordered_by_texts_that_sort_otherwise(tmp_path, first, then, is_sorted):
    path = written(tmp_path / "t.csv", f"id;t\ns1;{then}\ns1;{first}\n")
    asked = TableArguments(participant="id", order=["t"])
    if is_sorted:
        assert [row.cells["t"] for row in prepared(read_trials(path), asked).told.rows] == [first, then]
    else:
        with pytest.raises(UserError, match="since they are texts"):
            prepared(read_trials(path), asked)
    people = written(tmp_path / "people.csv", f"id;t;n\n{then};1;1\n{first};1;1\n")
    assert prepared(read_trials(people), TableArguments(participant="id", order=["id", "n"])).told.rows


def test_a_missing_cell_equals_nothing_where_rows_are_chosen(tmp_path):
    path = written(tmp_path / "t.csv", "n,task\n1,x\n2,\n")
    assert len(prepared(read_trials(path), TableArguments(where="task == 'x'")).told.rows) == 1
    assert len(prepared(read_trials(path), TableArguments(where="task != 'x'")).told.rows) == 1
    assert len(prepared(read_trials(path), TableArguments(where="task is missing or n == '1'")).told.rows) == 2
