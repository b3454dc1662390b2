"""What chance, other people's answers and a person's own history predict: the rows that a language model has to clear.

The job computes and writes a folder of scores for each row (``jobs/baselines.py``); here they become one table.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import pandas as pd

from centaurlab.analyses.analysis import Analysis, Finding
from centaurlab.analyses.finished import Run, command, facts_of, folder_pictures, read_table
from centaurlab.display.figures.intervals import Row, nll_rows
from centaurlab.display.section import INTERVALS, NLL, Section
from centaurlab.display.tables import Table, table_of
from centaurlab.results.run import ScoreRun
from centaurlab.stats.arguments import EstimateArguments
from centaurlab.stats.means import MEAN_COLUMNS, MeanNll, mean_nlls
from centaurlab.stats.words import NLL as MEAN_NLL
from centaurlab.stats.words import in_words, number

DESCRIPTION = """Predict people without a language model: by chance, by other people's answers, by their own history.

examples:
  centaurlab baselines --data starter --output_dir runs/baselines
  centaurlab baselines --data sessions.jsonl --participants test --output_dir runs/baselines
  centaurlab baselines --data starter --adapter runs/centaur --output_dir runs/baselines
  centaurlab misalignment --base runs/baselines/own-history --post runs/gemma --output_dir runs/against-history

Each row is a folder of scores like a language model's, on the same responses. Rows learn from the training people of
the split alone (--data_seed, or those of a Centaur: --adapter); nobody is predicted by his or her own later answers.
Output: baselines.csv (NLL by study and row), a folder of scores for each row, run.json, figures.
"""


@dataclass
class BaselineArguments:
    """Who is learned from, and where the scores go."""

    output_dir: str = field(metadata={"help": "folder for baselines.csv, run.json and a folder of scores for each row"})
    adapter: str | None = field(
        default=None, metadata={"help": "folder of a Centaur: learn from the people that it was trained on"}
    )
    like: str | None = field(
        default=None,
        metadata={"help": "folder of a language model's scores: predict the responses of its protocol"},
    )


def find_baselines(runs: Mapping[str, ScoreRun], about: Mapping[str, str], estimates: EstimateArguments) -> Finding:
    """The NLL of each row in each study; ``about`` says what a row knows."""
    means = {
        name: mean_nlls(run.table(MEAN_COLUMNS), estimates.resamples, estimates.seed) for name, run in runs.items()
    }
    frame = pd.DataFrame(_row_of(name, mean) for name, of_row in means.items() for mean in of_row)
    rows = [_drawn(mean, i) for i, of_row in enumerate(means.values()) for mean in of_row]
    best = min(means, key=lambda name: means[name][0].nll.value)
    overall = means[best][0]
    nll = in_words(overall.nll, MEAN_NLL, "studies" if overall.n_studies > 1 else "people", these=overall.nll_these)
    verdict = f"of the rows without a language model, {best} predicts best: {nll}"
    return Finding(
        tables={"baselines.csv": frame},
        record={"verdict": verdict, "rows": dict(about)},
        figures={"baselines": nll_rows(rows, list(means), "Without a language model")},
        metrics=[(None, {f"nll/{name}": of_row[0].nll.value for name, of_row in means.items()})],
        shown=[_shown(frame), verdict],
    )


def _row_of(name: str, mean: MeanNll) -> dict[str, object]:
    return {
        "study": mean.name,
        "row": name,
        "nll": mean.nll.value,
        "nll_low": mean.nll.low,
        "nll_high": mean.nll.high,
        "responses": mean.n_responses,
        "people": mean.n_participants,
    }


def _drawn(mean: MeanNll, series: int) -> Row:
    if mean.level == "overall":
        return Row("mean over studies", mean.nll, series, is_summary=True, these=mean.nll_these)
    return Row(mean.name, mean.nll, series)


def _shown(frame: pd.DataFrame) -> Table:
    """A line per study, a column per row."""
    wide = frame.pivot(index="study", columns="row", values="nll")[list(dict.fromkeys(frame["row"]))]
    wide = wide.loc[list(dict.fromkeys(frame["study"]))].map(number).reset_index()  # the mean over studies first
    wide.columns.name = None
    return table_of("NLL without a language model (nats per response)", wide, n_summary=1)


def section(run: Run) -> Section:
    """What people can be predicted by without a language model."""
    return Section(
        title="Baselines",
        question="How well are people predicted without a language model?",
        answers=(f"{run.about['verdict']}.",),
        explanation=(
            *(f"{name}: {text}." for name, text in run.about["rows"].items()),
            "A language model that does not clear the row own-history need not have understood anything of the task.",
            NLL,
            INTERVALS,
        ),
        figures=folder_pictures([run]),
        tables=(_shown(read_table(run, "baselines")),),
        provenance=tuple(facts_of(run)),
        commands=(command(run),),
    )


ANALYSIS = Analysis("baselines", DESCRIPTION, BaselineArguments, section)
