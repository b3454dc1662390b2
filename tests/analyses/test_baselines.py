"""Which row without a language model predicts best is said of the responses that all of them predict."""

from pathlib import Path

import pandas as pd

from centaurlab.analyses.baselines import find_baselines, model_table
from centaurlab.analyses.standing import Standings
from centaurlab.cognitive.rows import ModelResult
from centaurlab.data.transcripts import SessionKey
from centaurlab.results.run import read_run
from centaurlab.results.table import N_OPTIONS, NLL, OPTION_NLL
from centaurlab.stats.arguments import EstimateArguments
from helpers.score_folders import table_folder

NLLS = {
    "uniform": (1.0, 1.0),
    "item-marginal": (0.9, 0.9),
    "own-history": (0.5,),
    "adaptive": (0.3, 2.0),
    "own": (0.1, 0.1),
}
"""Of each row the NLL of everybody's two responses; the second, which is hard, one of them does not predict."""


def test_a_row_is_the_best_on_the_responses_that_all_rows_have(tmp_path: Path) -> None:
    runs = {}
    for row, nlls in NLLS.items():
        table = pd.DataFrame(
            {"study": study, "experiment": "e", "participant": str(person), "response": r}
            | {"nll": nll + (person + 1) * len(row) % 5 / 100, "greedy_correct": 1}
            | {"option_nll": 0.0, "n_options": 2}
            for study in "ab"
            for person in range(4)
            for r, nll in enumerate(nlls)
        )
        runs[row] = read_run(table_folder(tmp_path / row, table))
    rows = {row: run.table([NLL, OPTION_NLL, N_OPTIONS]) for row, run in runs.items()}
    found = find_baselines(runs, {}, [], Standings(rows, {}, [], []), EstimateArguments(resamples=200))
    assert ", adaptive predicts best" in found.record["verdict"]


def test_people_of_several_sessions_are_counted_once() -> None:
    """Two people on two days, of five responses each."""
    nlls = {"shared": 3.0, "adaptive": 2.0, "own": 1.0}
    results = [
        ModelResult("delta", SessionKey("s", f"day{day}", person), ("s", person), 5, nlls)
        for day in range(2)
        for person in "ab"
    ]
    (row,) = model_table(results).to_dict("records")
    assert (row["people"], row["responses"], row["nll_shared"]) == (2, 20, 0.6)
