"""What chance, other people, a person's own history and cognitive models predict: what a language model has to clear.

The job computes and writes a folder of scores for each row (``jobs/baselines.py``); here they become one table.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import pandas as pd

from centaurlab.analyses.analysis import Analysis, Finding
from centaurlab.analyses.finished import Run, command, facts_of, folder_pictures, has_table, read_table
from centaurlab.analyses.standing import (
    HELD_AGAINST,
    Standings,
    against_rows,
    against_shown,
    better_ends,
    completeness_shown,
    find_standing,
    selection_shown,
)
from centaurlab.cognitive.rows import ModelResult
from centaurlab.display.chart import chart_of
from centaurlab.display.figures.intervals import Row, nll_rows
from centaurlab.display.section import INTERVALS, NLL, ReportFigure, Section
from centaurlab.display.tables import Table, table_of
from centaurlab.results.run import ScoreRun
from centaurlab.results.table import STUDY
from centaurlab.runtime.errors import UserError
from centaurlab.stats.arguments import EstimateArguments
from centaurlab.stats.means import MEAN_COLUMNS, MeanNll, mean_nlls
from centaurlab.stats.standing import differences, joined
from centaurlab.stats.words import INTERVAL, NEW_PEOPLE, STUDIES_LIKE_THESE, in_words, listed, number
from centaurlab.stats.words import NLL as MEAN_NLL

DESCRIPTION = """Predict people without a language model: by chance, other people, their own history, cognitive models.

examples:
  centaurlab baselines --data starter --output_dir runs/baselines
  centaurlab baselines --data sessions.jsonl --participants test --output_dir runs/baselines
  centaurlab baselines --data starter --models base=runs/base centaur=runs/centaur-scores --output_dir runs/baselines
  centaurlab baselines --data starter --adapter runs/centaur --output_dir runs/baselines \\
      --models base=runs/base centaur=runs/generalisation/held_out-centaur centaur=runs/generalisation/novel-centaur
  centaurlab misalignment --base runs/baselines/own-history --post runs/gemma --output_dir runs/against-history

Each row is a folder of scores like a language model's, on the same responses. Rows learn from the training people of
the split alone (--data_seed, or those of a Centaur: --adapter); nobody is predicted by his or her own later answers
(but in "own", a bound). --models are folders of scores of language models, on whose sessions the rows then are: each
is held against the rows, placed between chance and ceiling, and the last one is judged in words.
Output: baselines.csv (NLL by study and row), models.csv, selection.csv (which row most people follow), against.csv and
completeness.csv (with --models), a folder of scores for each row, run.json, figures.
"""

_MODELS = "Cognitive models (nats per response that they speak of)"
_MOST_MODELS = 4
_NOT_DRAWN = ("role-marginal",)  # a figure tells six rows apart


@dataclass
class BaselineArguments:
    """Who is learned from, and where the scores go."""

    output_dir: str = field(metadata={"help": "folder for baselines.csv, run.json and a folder of scores for each row"})
    adapter: str | None = field(
        default=None, metadata={"help": "folder of a Centaur: learn from the people that it was trained on"}
    )
    model_file: str | None = field(
        default=None, metadata={"help": "a Python file of your own with MODELS, cognitive models (it is run)"}
    )
    models: list[str] = field(
        default_factory=list,
        metadata={"help": "NAME=FOLDER of scores of language models on this data; several folders may share a name"},
    )

    def __post_init__(self) -> None:
        names = {text.partition("=")[0] for text in self.models}
        if len(names) > _MOST_MODELS:
            raise UserError(f"--models names {len(names)} models; a figure tells {_MOST_MODELS} apart from the rows")


def find_baselines(
    runs: Mapping[str, ScoreRun],
    about: Mapping[str, str],
    models: Sequence[ModelResult],
    standings: Standings,
    estimates: EstimateArguments,
) -> Finding:
    """The NLL of each row in each study; ``about`` says what a row knows, ``models`` what each cognitive model says.

    ``standings``: language models that are held against the rows, if there are any.
    """
    means = {
        name: mean_nlls(run.table(MEAN_COLUMNS), estimates.resamples, estimates.seed) for name, run in runs.items()
    }
    frame = pd.DataFrame(_row_of(name, mean) for name, of_row in means.items() for mean in of_row)
    drawn = [name for name in means if name not in _NOT_DRAWN]
    rows = [_drawn(mean, i) for i, name in enumerate(drawn) for mean in means[name]]
    of_models = model_table(models)
    verdict = _best({name: of_row[0] for name, of_row in means.items() if name != "own"}, standings, estimates)
    standing = find_standing(standings, estimates)
    return Finding(
        tables={"baselines.csv": frame, "models.csv": of_models, **standing.tables},
        record={"verdict": verdict, "rows": dict(about), **standing.record},
        figures={"baselines": nll_rows(rows, drawn, "Without a language model"), **standing.figures},
        metrics=[(None, {f"nll/{name}": of_row[0].nll.value for name, of_row in means.items()})],
        shown=[_shown(frame), *([table_of(_MODELS, of_models)] if len(of_models) else []), verdict, *standing.shown],
    )


def _best(means: Mapping[str, MeanNll], standings: Standings, estimates: EstimateArguments) -> str:
    """Which row has the lowest NLL, and which of the others are not surely higher, on the same responses."""
    responses = joined({name: [standings.rows[name]] for name in means})
    best = str(responses.groupby(STUDY)[list(means)].mean().mean().idxmin())
    overall, others = means[best], [name for name in means if name != best]
    above = {name: differences(responses, name, best, estimates)[0] for name in others}
    unsure = [name for name in others if not above[name].nll_difference_these.low > 0]
    is_one = overall.n_studies == 1
    of_others = is_one or all(above[name].nll_difference.low > 0 for name in others)
    if unsure:
        said = f"{best} has the lowest NLL, and it is not sure that it is lower than that of {listed(unsure)}"
    else:
        said = f"{best} predicts best{'' if of_others else ', in these studies; of others it cannot be said'}"
    nll = in_words(overall.nll, MEAN_NLL, "people" if is_one else "studies", overall.nll_these)
    return f"of the rows without a language model that do not know the answers before, {said}: {nll}"


def model_table(models: Sequence[ModelResult]) -> pd.DataFrame:
    """Each cognitive model in each study, in nats per response that it speaks of."""
    columns = ["study", "model", "nll_shared", "nll_adaptive", "nll_own", "responses", "people"]
    rows = []
    for study, model in dict.fromkeys((one.key.study, one.model) for one in models):
        of_model = [one for one in models if (one.key.study, one.model) == (study, model)]
        n = sum(one.n for one in of_model)
        nlls = [sum(one.nll_sum[row] for one in of_model) / n for row in ("shared", "adaptive", "own")]
        rows.append((study, model, *nlls, n, len({one.person for one in of_model})))
    return pd.DataFrame(rows, columns=columns)


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
    """What people can be predicted by without a language model, and how language models stand beside that."""
    claims = run.about.get("claims", [])
    tables = [_shown(read_table(run, "baselines")), table_of(_MODELS, read_table(run, "models"))]
    for name, shown in (
        ("against", against_shown),
        ("completeness", completeness_shown),
        ("selection", selection_shown),
    ):
        if has_table(run, name):
            tables.append(shown(read_table(run, name)))
    return Section(
        title="Baselines",
        question="How well are people predicted without a language model"
        + (", and do language models clear that?" if claims else "?"),
        answers=(*(f"{claim[:1].upper()}{claim[1:]}." for claim in claims), f"{run.about['verdict']}."),
        explanation=(
            *(f"{name}: {text}." for name, text in run.about["rows"].items()),
            "Rows learn from other people of the same study, also where a language model has seen none of it.",
            "A language model that does not clear the row own-history need not have understood anything of the task.",
            NLL,
            INTERVALS,
        ),
        figures=tuple(_drawn_on_page(run, figure) for figure in folder_pictures([run])),
        tables=tuple(tables),
        provenance=tuple(facts_of(run)),
        commands=(command(run),),
    )


def _drawn_on_page(run: Run, figure: ReportFigure) -> ReportFigure:
    """With what it shows and, where the page can draw it itself, its rows."""
    intervals = f"with {INTERVAL}s; of the mean, thin: {STUDIES_LIKE_THESE}, thick: {NEW_PEOPLE}"
    if figure.name.startswith("against-"):
        against = read_table(run, "against")
        model = list(dict.fromkeys(against["model"]))[int(figure.name.removeprefix("against-")) - 1]
        axis = "difference (nats per response)"
        chart = chart_of(against_rows(against, model), axis, HELD_AGAINST, ends=better_ends(model))
        caption = f"NLL of {model} minus that of each row, in nats per response, {intervals}; filled: q < .05."
        return replace(figure, caption=caption, chart=chart)
    captions = {
        "baselines": f"NLL of each row without a language model, in nats per response, {intervals}.",
        "completeness": "Completeness of each model and row: 0 is chance, 1 the end that can be reached.",
    }
    return replace(figure, caption=captions.get(figure.name, figure.caption))


ANALYSIS = Analysis("baselines", DESCRIPTION, BaselineArguments, section)
