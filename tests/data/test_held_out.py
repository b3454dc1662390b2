"""Who was held out is read from the folder of a training, or the reason why it cannot be."""

import os
from pathlib import Path

import pytest

from centaurlab.data.held_out import read_split
from centaurlab.runtime.errors import UserError
from helpers.json_files import write_json


def test_a_folder_that_is_no_adapter_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"split\.json"):
        read_split(tmp_path)


def test_an_adapter_that_held_out_nobody_is_refused(tmp_path: Path) -> None:
    split = {"data": "starter", "eval_data": None, "studies": {"alpha": {"train": [["exp", "1"]], "test": []}}}
    split |= {"novel_studies": [], "split_seed": 0, "base_fingerprint": "abc"}
    write_json(tmp_path / "split.json", split)
    with pytest.raises(UserError, match="held out nobody to judge it on; train with more people or --novel_studies"):
        read_split(tmp_path)


def test_an_adapter_is_read_from_a_folder_that_cannot_be_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    split = {"data": "starter", "eval_data": None, "studies": {}, "novel_studies": ["beta"]}
    split |= {"split_seed": 3, "base_fingerprint": "abc"}
    write_json(tmp_path / "split.json", split)
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write anywhere
    assert read_split(tmp_path).split_seed == 3
