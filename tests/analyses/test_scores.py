"""What a table of scores says along sessions and of single responses, against plain loops."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from centaurlab.analyses.finished import Run, find_runs
from centaurlab.analyses.scores import nll_by_tenth, scores_section
from helpers.finished_runs import about
from helpers.score_folders import table_folder


def scores_of(lengths: dict[str, list[int]]) -> pd.DataFrame:
    """Sessions of so many responses in each study, in no order."""
    rng = np.random.default_rng(0)
    rows = [(s, "e", str(p), r, rng.gamma(2)) for s, ns in lengths.items() for p, n in enumerate(ns) for r in range(n)]
    table = pd.DataFrame(rows, columns=["study", "experiment", "participant", "response", "nll"])
    return table.sample(frac=1, random_state=1)


def test_the_nll_of_each_tenth_is_a_mean_over_studies_of_sessions_that_have_ten_responses() -> None:
    table = scores_of({"a": [10, 25, 9], "b": [13], "c": [3, 4]})
    expected = []
    for tenth in range(10):
        of_studies = []
        for study in ("a", "b"):
            found = []
            for _, session in table[table["study"] == study].groupby("participant"):
                nlls = list(session.sort_values("response")["nll"])
                if len(nlls) >= 10:
                    found += [nll for i, nll in enumerate(nlls) if i * 10 // len(nlls) == tenth]
            of_studies.append(np.mean(found))
        expected.append(np.mean(of_studies))
    assert nll_by_tenth(table) == pytest.approx(expected)
    assert nll_by_tenth(table[table["study"] == "c"]) is None


def run_of(folder: Path, table: pd.DataFrame, n_cut: int = 0) -> Run:
    sessions = table.groupby("study")["participant"].nunique().to_dict()
    studies = {study: {"sessions": n, "fingerprint": study} for study, n in sessions.items()}
    data = {"name": "people", "studies": studies}
    covered = {study: {"responses": len(table) + n_cut, "scored": len(table), "cut": n_cut} for study in studies}
    known = about("score", "centaurlab", "score") | {"data": data, "coverage": covered}
    table_folder(folder, table.assign(greedy_correct=pd.array([None] * len(table), "boolean")), **known)
    (run,) = find_runs([folder])
    return run


def test_models_are_set_side_by_side_over_responses_that_all_scored(tmp_path: Path) -> None:
    """The same scores, but of one run every session is cut after two responses, and in another order."""
    table = scores_of({"a": [4, 5], "b": [3, 3]})
    kept = table[table["response"] < 2]
    whole, cut = run_of(tmp_path / "whole", table), run_of(tmp_path / "cut", kept.iloc[::-1], len(table) - len(kept))
    section = scores_section([whole, cut])
    side = next(t for t in section.tables if t.title.startswith("Models side by side"))
    expected = kept.groupby("study")["nll"].mean()
    for row, nll in zip([*side.rows, *side.summary], [*expected, expected.mean()], strict=True):
        assert float(row[1].key) == float(row[3].key) == pytest.approx(nll)
    assert "over the 8 responses that all of them scored; 7 that some did not are left out" in section.answers[-2]
    assert side.note in section.answers[-2].lower()
    assert "over the 8 responses that all models scored" in section.figures[0].caption
    assert "left out" not in " ".join(scores_section([whole]).answers)


@pytest.mark.parametrize("n_cut", [0, 18])
def test_a_session_that_was_cut_has_no_tenths(tmp_path: Path, n_cut: int) -> None:
    figures = scores_section([run_of(tmp_path / "run", scores_of({"a": [10, 12]}), n_cut)]).figures
    assert [figure.name for figure in figures] == (["nll"] if n_cut else ["nll", "session"])
