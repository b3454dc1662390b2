"""A table shows names as they are and numbers as they are meant, in every medium and at any width."""

import csv
import io
import itertools
import math
from html.parser import HTMLParser

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from rich.console import Console

from centaurlab.display.markdown import table_lines
from centaurlab.display.pages import _page
from centaurlab.display.section import Section
from centaurlab.display.tables import Table, facts_table, table_of
from centaurlab.display.terminal import print_table
from centaurlab.runs.csv_table import write_csv
from centaurlab.runtime.names import shown
from centaurlab.stats.words import INTERVAL, NEW_PEOPLE, NOTHING

NASTY = [
    "[bold]x[/bold]",
    "[/]",
    "<b>&amp;</b>",
    "a|b",
    "*a* _b_ `c`",
    "$x$",
    "\\[red]",
    "一二三",
    "=1+1",
    "- 1",
    "~~a~~",
]


def effects(names: list[str]) -> pd.DataFrame:
    n = len(names)
    return pd.DataFrame(
        {"study": names, "d": [0.409] * n, "d_low": [0.22] * n, "d_high": [0.598] * n, "responses": [12345] * n}
    )


def printed(table: Table, width: int = 200) -> str:
    console = Console(file=io.StringIO(), width=width)
    print_table(table, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


class _Cells(HTMLParser):
    """The texts of a page's table cells."""

    def __init__(self) -> None:
        super().__init__()
        self.cells: list[str] = []
        self.is_open = False

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.is_open = tag == "td"
        if self.is_open:
            self.cells.append("")

    def handle_endtag(self, tag: str) -> None:
        self.is_open = self.is_open and tag != "td"

    def handle_data(self, data: str) -> None:
        if self.is_open:
            self.cells[-1] += data


def html_cells(table: Table) -> list[str]:
    found = _Cells()
    found.feed(_page("t", [Section("t", "q", (), (), (), (table,), (), ())]))
    return found.cells


def markdown_cells(table: Table) -> list[str]:
    """By an independent reader of Markdown, inline marks taken away as it does."""
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(table_lines(table))
    inline = [b for a, b in itertools.pairwise(tokens) if a.type == "td_open"]
    assert {child.type for token in inline for child in token.children or ()} <= {"text", "text_special"}
    return ["".join(child.content for child in token.children or ()) for token in inline]


def csv_rows(frame: pd.DataFrame) -> list[list[str]]:
    written = io.StringIO()
    write_csv(frame, written)
    return list(csv.reader(io.StringIO(written.getvalue())))


def test_names_are_as_they_are_in_all_media() -> None:
    table = table_of("t", effects(NASTY))
    on_terminal = printed(table)
    assert all(name in on_terminal for name in NASTY)
    assert html_cells(table)[::4] == NASTY
    assert markdown_cells(table)[::4] == NASTY
    assert [row[0].removeprefix("'") for row in csv_rows(effects(NASTY))[1:]] == NASTY


NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=25)


@settings(max_examples=60, deadline=None)
@given(NAMES)
def test_any_name_comes_out_as_it_is(name: str) -> None:
    """But for control characters, which are written out, and for runs of white space where the medium joins them."""
    table = table_of("t", effects([name]))
    plain = " ".join(shown(name).split())
    assert plain in " ".join(printed(table).split())
    assert " ".join(html_cells(table)[0].split()) == plain
    assert " ".join(markdown_cells(table)[0].split()) == plain
    assert "\r" in name or csv_rows(effects([name]))[1][0] in (name, f"'{name}")


def test_control_characters_are_shown_and_not_sent() -> None:
    names = ["\x1b[31mred", "bell\x07", "two\nlines", "back\rward", "\u202etxt.exe", "\x9b2J"]
    table = table_of("\x1b[2Jtitle", effects(names), note="\x07note")
    for text in (printed(table), *html_cells(table), *markdown_cells(table)):
        assert not any(c in text for c in "\x1b\x07\r\u202e\x9b")
    assert r"\x1b[31mred" in printed(table)
    assert r"two\nlines" in html_cells(table)


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_nothing_is_lost_at_any_width(width: int) -> None:
    frame = effects(["a_study_with_a_very_long_name_2020exp1", "b"]).assign(
        accuracy=0.5, accuracy_low=0.41, accuracy_high=0.59, people=67, another_quite_long_title=1.5
    )
    text = printed(table_of("Studies of people", frame), width)
    lines = text.splitlines()
    assert max(map(len, lines)) <= width
    words = text.split()
    for number in ("0.409", "0.220", "0.598", "12,345", "0.500", "0.410", "0.590", "67", "1.500"):
        assert words.count(number) == 2
    first_column = "".join(line[:40].split("  ")[0].strip() for line in lines)
    assert "a_study_with_a_very_long_name_2020exp1" in first_column


def test_columns_that_do_not_fit_follow_beside_the_first_again() -> None:
    frame = pd.DataFrame({"study": ["a", "b"]} | {f"quantity{i}": [i + 0.5] * 2 for i in range(8)})
    text = printed(table_of("t", frame), 40)
    assert text.count("study") > 1
    assert all(f"quantity{i}" in text and f"{i}.500" in text for i in range(8))


def test_rows_that_two_names_tell_apart_keep_both_where_columns_follow() -> None:
    pairs = list(itertools.product(["answers only", "no history"], ["base", "post"]))
    frame = pd.DataFrame(pairs, columns=["condition", "model"]).assign(**{f"quantity {i}": 0.5 for i in range(9)})
    blocks = printed(table_of("", frame), 60).strip().split("\n\n")
    assert len(blocks) > 1
    for block in blocks:
        rows = [line.split("   ") for line in block.splitlines()[-len(pairs) :]]
        assert [tuple(cell.strip() for cell in row if cell.strip())[:2] for row in rows] == pairs


def test_an_estimate_makes_two_columns_with_the_numbers_behind_them() -> None:
    table = table_of("t", effects(["a"]), signed=["d"])
    assert table.columns == ("study", "d", INTERVAL, "responses")
    assert table.is_number == (False, True, True, True)
    (row,) = table.rows
    assert [cell.text for cell in row] == ["a", "+0.409", "+0.220 to +0.598", "12,345"]
    assert [cell.key for cell in row] == [None, "0.409", "0.22 0.598", "12345"]


def test_differences_are_signed_and_other_quantities_are_not() -> None:
    frame = effects(["a"]).assign(x=0.1, x_low=-0.2, x_high=0.4, nll=1.5, nll_low=1.2, nll_high=1.9)
    texts = [cell.text for cell in table_of("t", frame).rows[0]]
    assert texts == ["a", "0.409", "0.220 to 0.598", "12,345", "+0.100", "-0.200 to +0.400", "1.500", "1.200 to 1.900"]


@pytest.mark.parametrize("name", ["p", "q", "p_holm", "own_p", "nll_difference_q"])
def test_a_small_p_value_is_not_zero_and_the_dust_of_a_sum_is(name: str) -> None:
    table = table_of("t", pd.DataFrame({name: [2.34e-12, 0.03125, None], "gap": [2.34e-12, 0.0, 0.1]}))
    assert [[cell.text for cell in row] for row in table.rows] == [
        ["2e-12", "0.000"],
        ["0.031", "0.000"],
        ["–", "0.100"],
    ]


def test_what_is_not_defined_is_a_dash() -> None:
    nan = float("nan")
    frame = pd.DataFrame(
        {"n": ["a"], "d": [nan], "d_low": [nan], "d_high": [nan], "x": [None], "y": [nan], "z": [True]}
    )
    (row,) = table_of("t", frame).rows
    assert [cell.text for cell in row] == ["a", *[NOTHING] * 4, "yes"]
    assert [cell.key for cell in row] == [None, "", "", "", "", None]


def test_summaries_stand_below() -> None:
    table = table_of("t", effects(["all studies", "a", "b"]), n_summary=1)
    lines = printed(table).splitlines()
    names = [line.split()[0] for line in lines if "0.409" in line]
    assert names == ["a", "b", "all"]


def test_facts_have_no_head() -> None:
    text = printed(facts_table("Plan", [("memory", "2 GiB"), ("time", "an hour")]))
    assert [" ".join(line.split()) for line in text.splitlines()] == ["Plan", "memory 2 GiB", "time an hour", ""]


@pytest.mark.parametrize("formula", ["=1+1", "+1+1", "-1+1", "@SUM(A1)", "\t=1", "'=1", '=HYPERLINK("x")'])
def test_a_cell_of_a_csv_file_is_no_formula(formula: str) -> None:
    """An apostrophe is what spreadsheets take for "this is text"; no other cell changes."""
    frame = pd.DataFrame({"name": [formula, "plain"], "config": ["-1", "+0.5e-3"], "d": [-0.25, 1.0]})
    rows = csv_rows(frame)
    assert rows[1] == [f"'{formula}", "-1", "-0.25"]
    assert rows[2] == ["plain", "+0.5e-3", "1.0"]


def test_other_intervals_of_a_summary_are_rows_below_it() -> None:
    """The mean over studies has two intervals, a study one: no column repeats the latter."""
    frame = pd.DataFrame(
        {
            "study": ["all studies", "a", "b"],
            "d": [0.2, 0.1, 0.3],
            **{"d_low": [-0.1, -0.1, 0.2], "d_high": [0.5, 0.3, 0.4]},
            **{"d_low_these": [0.1, -0.1, 0.2], "d_high_these": [0.3, 0.1 + 0.2, 0.4]},  # 0.1 + 0.2 is not 0.3
            **{"d_low_models": math.nan, "d_high_models": math.nan},
            **{"p": [0.6, 0.5, 0.7], "p_low": [0.5, 0.4, 0.6], "p_high": [0.7, 0.6, 0.8]},
            "responses": [30, 10, 20],
        }
    )
    table = table_of("t", frame, {"study": "study", "d": "d", "p": "p", "responses": "responses"}, n_summary=1)
    assert table.columns == ("study", "d", INTERVAL, "p", INTERVAL, "responses")
    assert [[cell.text for cell in row] for row in table.summary] == [
        ["all studies", "+0.200", "-0.100 to +0.500", "0.600", "0.500 to 0.700", "30"],
        [f"all studies: {NEW_PEOPLE}", "+0.200", "+0.100 to +0.300", NOTHING, NOTHING, NOTHING],
    ]
    assert [row[-1].text for row in table.rows] == ["10", "20"]


def test_other_intervals_of_rows_are_columns() -> None:
    frame = pd.DataFrame({"pair": ["x"], "d": [0.2], "d_low": [0.0], "d_high": [0.4]})
    table = table_of("t", frame.assign(d_low_these=0.1, d_high_these=0.3))
    assert table.columns == ("pair", "d", INTERVAL, f"{INTERVAL}, {NEW_PEOPLE}")
