"""The command: brackets of item studies, and models between chance and ceiling."""

from pathlib import Path

import pandas as pd
import pytest

from centaurlab.reporting import write_report
from centaurlab.runtime.errors import UserError
from helpers.commands import UNTRACKED, centaurlab
from helpers.transcripts import json_lines, sessions_of

STUDY = """
from centaurlab.catalog.studies import Ask, Study, search

def ask(segment, past, opening):
    question = search(r"(\\w+)\\? You say $", segment)[1]
    return Ask(options=("yes", "no"), item=question)

STUDIES = (Study("quiz", ask, first_trial="one"),)
"""


def text(study: str, person: int) -> str:
    """All say yes to the first question; they disagree about the second."""
    return f"one? You say <<yes>>\ntwo? You say <<{'yes' if person % 2 else 'no'}>>\n"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("data")
    (folder / "quiz.py").write_text(STUDY)
    (folder / "sessions.jsonl").write_text(json_lines(sessions_of(["quiz"], 40, text)))
    return ["--data", str(folder / "sessions.jsonl"), "--study_module", str(folder / "quiz.py")]


def test_models_stand_between_chance_and_ceiling(data: list[str], tmp_path: Path) -> None:
    done = centaurlab("baselines", *data, "--output_dir", str(tmp_path / "rows"), *UNTRACKED)
    assert done.returncode == 0, done.stderr
    models = [str(tmp_path / "rows" / row) for row in ("uniform", "item-marginal")]
    done = centaurlab("ceiling", *data, "--models", *models, "--output_dir", str(tmp_path / "ceiling"), *UNTRACKED)
    assert done.returncode == 0, done.stderr
    (row,) = pd.read_csv(tmp_path / "ceiling" / "ceiling.csv").to_dict("records")
    assert row["chance"] == pytest.approx(0.6931, abs=1e-4)
    assert row["bound"] == pytest.approx((0 + 0.6931 + 1 / 80) / 2, abs=1e-4)
    assert row["bound"] <= row["achieved"]
    assert row["people_per_item"] == 40
    places = pd.read_csv(tmp_path / "ceiling" / "completeness.csv").set_index("model")
    assert places.loc[models[0], "completeness_of_bound"] == pytest.approx(0, abs=1e-5)
    assert 0.8 < places.loc[models[1], "completeness_of_achieved"] < 1.1
    (section,) = write_report([tmp_path / "ceiling"], tmp_path / "report.html", "html")
    assert section.figures
    assert "1 of 1 item studies" in section.answers[0]
    table = tmp_path / "ceiling" / "completeness.csv"
    table.write_text(table.read_text().replace("0.", "1.", 1))
    with pytest.raises(UserError, match=r"completeness\.csv is damaged"):
        write_report([tmp_path / "ceiling"], tmp_path / "report.html", "html")


def test_a_folder_of_other_people_is_refused(data: list[str], tmp_path: Path) -> None:
    rows = tmp_path / "rows"
    done = centaurlab("baselines", *data, "--max_participants", "9", "--output_dir", str(rows), *UNTRACKED)
    assert done.returncode == 0, done.stderr
    asked = ("--models", str(rows / "uniform"), "--output_dir", str(tmp_path / "ceiling"))
    done = centaurlab("ceiling", *data, *asked, *UNTRACKED)
    assert "other sessions of quiz" in done.error
    assert not (tmp_path / "ceiling" / "ceiling.csv").exists()
