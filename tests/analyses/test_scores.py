"""What a table of scores says along sessions and of single responses, against plain loops."""

import numpy as np
import pandas as pd
import pytest

from centaurlab.analyses.scores import nll_by_tenth


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
