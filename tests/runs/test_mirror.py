"""What trackers get of a run's folder is what it holds: all that was asked, and each table under its name."""

import json
from pathlib import Path

from centaurlab.runs.folder import RunFolder, read_config
from centaurlab.runs.integrity import read_json
from centaurlab.runs.mirror import tables
from centaurlab.runs.settings import flat_config


def test_a_runs_own_table_of_studies_is_not_replaced_by_that_of_its_data(tmp_path: Path) -> None:
    about = {"data": {"studies": {"shelf": {"fingerprint": "ab"}}}, "coverage": {"shelf": {"scored": 3}}}
    (tmp_path / "run.json").write_text(json.dumps(about))
    of_data = [{"study": "shelf", "fingerprint": "ab", "scored": 3}]
    assert tables(tmp_path)["studies"].to_dict("records") == of_data
    (tmp_path / "studies.csv").write_text("study,d\nshelf,0.25\n")
    found = tables(tmp_path)
    assert found["studies"].to_dict("records") == [{"study": "shelf", "d": 0.25}]
    assert found["data_studies"].to_dict("records") == of_data


def test_what_was_asked_is_known_also_where_results_have_its_name() -> None:
    asked = {"data": {"data": "starter", "studies": "a,b"}, "rows": 3}
    about = {"data": {"studies": {"a": {"fingerprint": "ab"}}, "fingerprint": "cd"}, "rows": [{"d": 0.1}]}
    assert flat_config(asked, about) == {
        "data.data": "starter",
        "data.studies": "a,b",
        "data.fingerprint": "cd",
        "rows": 3,
    }


def test_checksums_and_findings_of_a_run_are_no_settings(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, "misalignment")
    folder.write_json("config.json", {"written": "by hand"})
    folder.log({"d/overall": 0.5})
    folder.finish({"models": [{"asked": "m"}], "verdict": "worse", "took": {"seconds": 1}, "written": ["a.csv"]})
    assert flat_config(read_config(tmp_path), read_json(tmp_path / "run.json")) == {
        "models.0.asked": "m",
        "written": "by hand",
    }
