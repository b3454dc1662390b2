"""Somebody's Python file is run as it would be if it were imported."""

from pathlib import Path

import pytest

from centaurlab.runtime.errors import UserError
from centaurlab.runtime.own_file import files_of, load_own, run_file

DATA_CLASS = """
from __future__ import annotations
from dataclasses import dataclass

@dataclass
class Rule:
    alpha: float = 0.05

NUMBERS = (Rule().alpha,)
"""


def test_a_file_with_data_classes_can_be_run(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(DATA_CLASS)
    assert load_own(path, "NUMBERS", float, "numbers") == (0.05,)
    assert run_file(path, "numbers").Rule is not run_file(path, "numbers").Rule  # each time anew


def test_what_is_not_there_or_fails_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no numbers .*none\.py"):
        run_file(tmp_path / "none.py", "numbers")
    (tmp_path / "bad.py").write_text("1 / 0\n")
    with pytest.raises(UserError, match=r"bad\.py fails when it is run: ZeroDivisionError"):
        run_file(tmp_path / "bad.py", "numbers")


def test_files_of_a_folder_or_of_its_folders(tmp_path: Path) -> None:
    inner = tmp_path / "study"
    inner.mkdir()
    for name in ("a1.py", "a0.py", "b.py"):
        (inner / name).touch()
    for given in (tmp_path, inner):
        assert files_of(given, "a*.py", "files") == [inner / "a0.py", inner / "a1.py"]
    assert files_of(inner / "b.py", "a*.py", "files") == [inner / "b.py"]
    with pytest.raises(UserError, match=r"no files in .*; name a file c\*\.py"):
        files_of(inner, "c*.py", "files")
