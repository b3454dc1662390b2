"""``eval/shortcuts.py`` as a user runs it, and the report on it."""

from pathlib import Path

import pandas as pd
import pytest

from centaurlab.analyses.shortcuts import WORDS
from centaurlab.reporting import write_report
from helpers.commands import evaluate
from helpers.json_files import run_json
from helpers.shortcut_readers import trips
from helpers.transcripts import write_transcripts

pytestmark = [pytest.mark.usefixtures("offline"), pytest.mark.slow]


def test_the_battery_is_shown_scored_and_reported(tmp_path: Path, tiny_llama_dir: Path) -> None:
    rows = [
        {"text": one.text, "study": one.study, "experiment": one.experiment, "participant": one.participant}
        for one in map(trips, range(4))
    ]
    other = {"text": "You press <<J>>. You press <<F>>.", "study": "b2020keys", "experiment": "e", "participant": 1}
    data, out = write_transcripts(tmp_path / "trips.jsonl", [*rows, other]), tmp_path / "out"
    asked = ("--model", tiny_llama_dir, "--data", data, "--dtype", "float32", "--resamples", 50, "--output_dir", out)
    done = evaluate("shortcuts.py", *asked)
    assert done.returncode == 0, done.stderr
    assert done.stdout.index("What each condition makes of three sessions") < done.stdout.index("scored ")

    table = pd.read_csv(out / "shortcuts.csv").set_index(["condition", "study"])
    told = pd.read_parquet(next((out / "scores" / "as_told").glob("*/scores.parquet")))
    for name, words in WORDS.items():
        scored = pd.read_parquet(next((out / "scores" / name).glob("*/scores.parquet")))
        both = scored.merge(told, on=["study", "experiment", "participant", "response"])
        both = both[both["study"] == "benakiva1993trains"]
        cost = (both["nll_x"].astype(float) - both["nll_y"].astype(float)).mean()
        assert table.loc[(words, "benakiva1993trains"), "cost"] == pytest.approx(cost, abs=1e-6)
        assert table.loc[(words, "benakiva1993trains"), "people"] == 4
    refused = pd.read_csv(out / "inapplicable.csv").set_index(["condition", "study"])
    assert refused.loc[("no history", "b2020keys"), "why"] == (
        "no module of the study says where its trials begin and what they depend on"
    )
    took = run_json(out)["took"]
    assert set(took) == {"as_told", *WORDS}
    write_report([out], tmp_path / "report.html", "html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Is it the task that the model makes use of?" in page
    assert "no module of the study" in page
