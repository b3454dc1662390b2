"""Replays of finished scores: they stop where the runs would have, and report it as shares."""

import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from centaurlab.analyses.replay import replay
from centaurlab.data.transcripts import SessionKey
from centaurlab.results.run import read_run
from centaurlab.runtime.errors import UserError
from centaurlab.stats.effects import estimate_effects
from centaurlab.stats.sequential import FIRST_ROUND
from centaurlab.stats.sums import compare
from helpers.commands import run_script
from helpers.paths import EVAL
from helpers.score_folders import score_folder

N_PEOPLE = 25


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two models' scores of 25 people in each of two studies."""
    rng = np.random.default_rng(0)
    base, post = [], []
    for study in ("r", "s"):
        for person in range(N_PEOPLE):
            nlls = rng.gamma(2, size=rng.integers(2, 6)) + rng.normal(3, 0.3)
            key = SessionKey(study, "e", str(person))
            base.append((key, dict(enumerate(nlls.tolist()))))
            post.append((key, dict(enumerate((nlls + rng.normal(0.5, 0.4, len(nlls))).tolist()))))
    folder = tmp_path_factory.mktemp("scores")
    return score_folder(folder / "base", base), score_folder(folder / "post", post)


def test_any_width_takes_one_round_and_none_takes_everybody(folders: tuple[Path, Path]) -> None:
    wide, narrow = replay(read_run(folders[0]), None, [100.0, 1e-6], None, n_orders=5, seed=0)
    assert (wide.is_reached, narrow.is_reached) == (1, 0)
    assert wide.scored == pytest.approx([FIRST_ROUND / N_PEOPLE] * 3)
    assert narrow.scored == (1, 1, 1)
    assert narrow.holds == 1
    means = [sample.last.value for sample in wide.samples]
    assert len(set(means)) == 5, "the orders are the same"
    assert all(sample.last.value == pytest.approx(narrow.value) for sample in narrow.samples)


def test_what_all_people_give_is_the_mean_nll_over_studies_or_d(folders: tuple[Path, Path]) -> None:
    base, post = map(read_run, folders)
    overall = estimate_effects([compare(post, base)], 2)[0]
    (of_nll,) = replay(base, None, [1.0], None, n_orders=1, seed=0)
    (of_d,) = replay(base, post, [1.0], None, n_orders=1, seed=0)
    assert of_nll.value == pytest.approx(overall.nll_second)
    assert of_d.value == pytest.approx(overall.d.value)
    assert of_d.samples[0].quantity == "d"


def test_a_larger_data_set_is_drawn_from_the_people_that_there_are(folders: tuple[Path, Path]) -> None:
    (few,) = replay(read_run(folders[0]), None, [0.25], None, n_orders=3, seed=0)
    (many,) = replay(read_run(folders[0]), None, [0.25], 2000, n_orders=3, seed=0)
    assert few.is_reached == 0
    assert many.is_reached == 1
    assert many.samples[0].of_sessions == 2 * 2000
    assert N_PEOPLE / 2000 < many.scored[0] < 0.5


def test_the_interval_holds_the_truth_that_the_people_were_drawn_from(folders: tuple[Path, Path]) -> None:
    (found,) = replay(read_run(folders[0]), None, [0.6], 300, n_orders=200, seed=0)
    assert found.is_reached == 1
    assert found.holds >= 0.95
    widths = [sample.last.half_width for sample in found.samples]
    assert max(widths) <= 0.6
    assert not any(math.isnan(width) for width in widths)


def test_a_sample_is_no_data_to_replay(tmp_path: Path) -> None:
    folder = score_folder(tmp_path / "base", [(SessionKey("r", "e", "1"), {0: 1.0})], prints={"r": "1"})
    run = read_run(folder)
    run = replace(run, record=replace(run.record, sample={"sessions": 1}))
    with pytest.raises(UserError, match="is itself a sample"):
        replay(run, None, [1.0], None, n_orders=1, seed=0)


def test_the_script_prints_a_row_for_every_target(folders: tuple[Path, Path]) -> None:
    words = ("--base", folders[0], "--post", folders[1], "--targets", "5", "0.0001", "--orders", "3")
    out = run_script(EVAL / "precision.py", *words).stdout
    assert "d of post against base" in out
    rows = [re.split(r"\s{2,}", line.strip()) for line in out.splitlines() if line.strip().startswith(("5", "0.0001"))]
    assert [row[:3] for row in rows] == [["5", "100 %", "40 %"], ["0.0001", "0 %", "100 %"]]
