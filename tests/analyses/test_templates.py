"""A model in its chat template and in plain text are drawn over the same responses."""

from pathlib import Path

import pandas as pd
import pytest

from centaurlab.analyses import templates
from centaurlab.data.transcripts import SessionKey
from centaurlab.display.figures.intervals import Row
from centaurlab.results.run import ScoreRun, read_run
from centaurlab.stats.arguments import EstimateArguments
from helpers.score_folders import score_folder


def test_what_the_template_pushes_out_of_the_window_is_in_neither_mean(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The responses that plain text alone has are far harder than the others."""
    drawn: list[tuple[str, Row, Row]] = []
    monkeypatch.setattr(templates, "templates", drawn.extend)
    monkeypatch.setattr(templates, "study_forest", lambda *_: None)

    def runs(name: str, nlls: dict[int, float]) -> dict[str, ScoreRun]:
        rows = [(SessionKey(study, "e", str(person)), nlls) for study in "rs" for person in range(2)]
        return {"m": read_run(score_folder(tmp_path / name, rows))}

    told = runs("plain", {0: 1.0, 1: 1.5, 2: 9.0})
    templates.find_template_effects(
        runs("template", {0: 2.0, 1: 2.5}), told, pd.DataFrame(), EstimateArguments(resamples=20), title="templates"
    )
    ((_, plain, template),) = drawn
    assert (plain.estimate.value, template.estimate.value) == (1.25, 2.25)
