"""A file is held against the record beside it; what lies above may be anybody's."""

from pathlib import Path

import pytest

from centaurlab.runs.integrity import check_file
from centaurlab.runtime.errors import UserError


def test_a_foreign_record_above_a_folder_says_nothing_of_it(tmp_path: Path) -> None:
    weights = tmp_path / "model" / "model.safetensors"
    weights.parent.mkdir()
    weights.write_bytes(b"weights")
    (tmp_path / "run.json").write_bytes(b"\x9c")
    check_file(weights)


def test_a_damaged_record_beside_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "scores.parquet").write_bytes(b"table")
    (tmp_path / "run.json").write_bytes(b"\x9c")
    with pytest.raises(UserError, match=r"run\.json is damaged"):
        check_file(tmp_path / "scores.parquet")
