"""What is written as CSV is what is read, and ordinary tables are those of pandas to the byte."""

import math
from pathlib import Path

import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from centaurlab.runs.csv_table import read_csv, write_csv

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\r"), min_size=1, max_size=12)


@settings(max_examples=100, deadline=None)
@given(names=st.lists(TEXT | TEXT.map(lambda text: f"={text}") | TEXT.map(lambda text: f"'@{text}"), min_size=1))
def test_names_are_read_back(tmp_path_factory, names: list[str]) -> None:
    path = tmp_path_factory.mktemp("csv") / "t.csv"
    write_csv(pd.DataFrame({"name": names, "d": 0.1}), path)
    assert read_csv(path)["name"].tolist() == names


def test_names_that_look_like_numbers_or_like_nothing_stay_names(tmp_path: Path) -> None:
    names = ["NA", "None", "2021", "1e5", "007", "nan", "TRUE", "1.0"]
    columns = ("study", "name", "model", "models", "system", "experiment", "participant", "person", "item", "answer")
    table = pd.DataFrame(dict.fromkeys(columns, names) | {"d": [0.5, math.inf, math.nan, 1e5, 7.0, 1.0, 0.1, 1.0]})
    write_csv(table, tmp_path / "t.csv")
    read = read_csv(tmp_path / "t.csv")
    assert all(read[column].tolist() == names for column in columns)
    assert read["d"].equals(table["d"])
    for name in names:  # alone in its column
        write_csv(pd.DataFrame({"study": [name, None]}), tmp_path / "t.csv")
        assert read_csv(tmp_path / "t.csv")["study"].dropna().tolist() == [name]
    values = pd.DataFrame({"effect": ["007"], "model": [1.5], "model_low": [1.0], "model_high": [2.0]})
    write_csv(values, tmp_path / "t.csv")
    assert read_csv(tmp_path / "t.csv").equals(values), "of fidelity, whose model is a value"


def test_ordinary_tables_are_those_of_pandas(tmp_path: Path) -> None:
    table = pd.DataFrame({"study": ["a-b", "c"], "d": [-0.1, float("nan")], "n": [1, 2], "some": ["x", None]})
    write_csv(table, tmp_path / "ours.csv")
    table.to_csv(tmp_path / "theirs.csv", index=False)
    assert (tmp_path / "ours.csv").read_bytes() == (tmp_path / "theirs.csv").read_bytes()
    pd.testing.assert_frame_equal(read_csv(tmp_path / "ours.csv"), pd.read_csv(tmp_path / "theirs.csv"))


def test_the_table_that_is_written_stays_as_it_was(tmp_path: Path) -> None:
    table = pd.DataFrame({"=name": ["=1"]})
    write_csv(table, tmp_path / "t.csv")
    assert (tmp_path / "t.csv").read_text() == "'=name\n'=1\n"
    assert table.iloc[0, 0] == "=1"
    assert read_csv(tmp_path / "t.csv").equals(table)
