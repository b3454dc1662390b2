"""NLL by trial number: does a model predict a person better the more of this person it has seen?

Trials are a session's responses, numbered from 1. A study's curve is the mean NLL of its responses in each *octave* of
trials (1, 2, 3 to 4, 5 to 8, …), so that sessions of any length have a few points. Its one number is the *slope*: nats
per doubling of the trial number, by least squares within people,

    slope = Σ_p Σ_t (x_t − mean x of p)(NLL_pt − mean NLL of p) / Σ_p Σ_t (x_t − mean x of p)²,  x = log₂ trial,

which long sessions weigh more in, and which differences between people, and who has how many trials, do not move.
A model learns within sessions where the slope is below zero. It says nothing of why: later trials may also be easier.

Shapes: R responses, P participants, O octaves, K sums, B resamples.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from centaurlab.analyses.analysis import Analysis, Finding
from centaurlab.analyses.finished import (
    Run,
    command,
    coverage_tables,
    facts_of,
    folder_pictures,
    read_table,
    score_runs_of,
)
from centaurlab.display.figures.intervals import Row, change_rows
from centaurlab.display.figures.style import LIGHT, SERIES, model_labels, new_figure, short, styled
from centaurlab.display.section import INTERVALS, NLL, Section
from centaurlab.display.tables import Table, table_of
from centaurlab.results.joined import CommonResponses
from centaurlab.results.run import ScoreRun, check_same
from centaurlab.results.table import NLL as NLL_COLUMN
from centaurlab.results.table import RESPONSE, SESSION, person_names
from centaurlab.runtime.errors import UserError
from centaurlab.stats import bootstrap
from centaurlab.stats.arguments import EstimateArguments
from centaurlab.stats.estimate import Estimate, FloatArray
from centaurlab.stats.multiplicity import q_values
from centaurlab.stats.scale import POSITIVE
from centaurlab.stats.words import Quantity, in_words, listed

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DESCRIPTION = """Does a model predict people better as a session goes on? Mean NLL by trial number, and its slope.

examples:
  centaurlab learning --models runs/gemma --output_dir runs/learning
  centaurlab learning --models gemma-3-270m runs/posttrain --data starter --output_dir runs/learning

Models are named, or given as folders of scores (centaurlab score); named ones are first scored. Slope: nats per
doubling of the trial number, within people; below zero, later responses are predicted better.
Output: learning.csv (mean NLL per study and octave of trials), slopes.csv, run.json, figures.
"""

SLOPE = Quantity("slope", "nats per doubling of the trial number", is_difference=True)
_ALL_STUDIES = "all studies"
_MOST_MODELS = len(SERIES)
_PANELS = 12  # studies that a figure has room for


@dataclass
class LearningArguments:
    """Whose curves."""

    models: list[str] = field(metadata={"help": "models, or folders of scores; six at most, all on the same data"})
    output_dir: str = field(metadata={"help": "folder for learning.csv, slopes.csv, run.json and scores"})

    def __post_init__(self) -> None:
        if len(self.models) > _MOST_MODELS:
            raise UserError(f"--models names {len(self.models)} models; a figure tells {_MOST_MODELS} apart at most")


@dataclass(frozen=True)
class Point:
    """Mean NLL, in nats per response, of a study's responses number ``first`` to ``last``."""

    study: str
    first: int
    last: int
    nll: Estimate
    n_responses: int
    n_participants: int


@dataclass(frozen=True)
class Learning:
    """The slope of each study and, first, their mean over studies; and the points of each study's curve.

    ``these``: the mean with its interval over new people in these studies.
    """

    slopes: Mapping[str, Estimate]
    points: Sequence[Point]
    these: Estimate

    @property
    def q(self) -> Mapping[str, float]:
        """q of each study's slope."""
        studies = [study for study in self.slopes if study != _ALL_STUDIES]
        return dict(zip(studies, q_values([self.slopes[study] for study in studies]), strict=True))


def learning(table: pd.DataFrame, n_resamples: int = 2000, seed: int = 0) -> Learning:
    """Estimate slopes and curves of one model.

    Parameters
    ----------
    table : pandas.DataFrame
        A row per response with study, experiment, participant, ``response`` (from 0) and ``nll`` (nats).
    n_resamples, seed : int
        Of the bootstrap over people, and over studies for the mean.

    Returns
    -------
    Learning
        95 % intervals; NaN where a slope is not defined, since nobody has two trials, or has no interval.
    """
    table = table.astype(dict.fromkeys(SESSION, str))
    studies = {str(name): _sums(of_study) for name, of_study in table.groupby("study")}
    of_slopes = {
        name: bootstrap.Study(sums_PK[:, :2], _slope, sums_PK[:, 1, None, None]) for name, sums_PK in studies.items()
    }
    drawn = bootstrap.estimate(of_slopes, n_resamples, partial(_generator, seed, "slope"))
    slopes = {_ALL_STUDIES: drawn.overall.estimate()} | {name: drawn.studies[name].estimate() for name in studies}
    points = [p for name, sums_PK in studies.items() for p in _curve(name, sums_PK, n_resamples, seed)]
    return Learning(slopes, points, drawn.these())


def _sums(responses: pd.DataFrame) -> FloatArray:
    """(P, 2 + 2 O): Σ of products and of squares within sessions, then number of responses and Σ NLL per octave."""
    trial_R = responses[RESPONSE].to_numpy(np.float64) + 1
    nll_R = responses[NLL_COLUMN].to_numpy(np.float64)
    session_R = responses.groupby(list(SESSION[1:]), sort=False).ngroup().to_numpy()
    person_R = responses.groupby(person_names(responses), sort=False).ngroup().to_numpy()
    octave_R = np.ceil(np.log2(trial_R)).astype(np.int64)
    n_people, n_octaves = person_R.max() + 1, octave_R.max() + 1
    x_R = np.log2(trial_R)
    n_S = np.bincount(session_R)
    x_R = x_R - (np.bincount(session_R, x_R) / n_S)[session_R]
    y_R = nll_R - (np.bincount(session_R, nll_R) / n_S)[session_R]
    place_R = person_R * n_octaves + octave_R
    n_PO, nll_PO = (
        np.bincount(place_R, weights, minlength=n_people * n_octaves).reshape(n_people, n_octaves)
        for weights in (None, nll_R)
    )
    products_P2 = np.stack([np.bincount(person_R, x_R * y_R), np.bincount(person_R, x_R**2)], axis=1)
    return np.concatenate([products_P2, n_PO, nll_PO], axis=1)


def _slope(totals_B2: FloatArray) -> FloatArray:
    return bootstrap.divide(totals_B2[:, 0], totals_B2[:, 1])[None, None]


def _curve(study: str, sums_PK: FloatArray, n_resamples: int, seed: int) -> list[Point]:
    n_octaves = (sums_PK.shape[1] - 2) // 2
    points = []
    for octave in range(n_octaves):
        sums_P2 = sums_PK[:, [2 + octave, 2 + n_octaves + octave]]
        has_P = sums_P2[:, 0] > 0
        if not has_P.any():
            continue
        mean = bootstrap.Study(sums_P2, _mean, sums_P2[:, 0, None, None])
        drawn = bootstrap.draw_people(mean, n_resamples, bootstrap.generator(seed, "octave", study, str(octave)))
        first, last = (2 ** (octave - 1) + 1, 2**octave) if octave else (1, 1)
        nll = drawn.estimate(scale=POSITIVE)
        points.append(Point(study, first, last, nll, int(sums_P2[:, 0].sum()), int(has_P.sum())))
    return points


def _mean(totals_B2: FloatArray) -> FloatArray:
    return bootstrap.divide(totals_B2[:, 1], totals_B2[:, 0])[None, None]


def _generator(seed: int, what: str, study: str | None) -> np.random.Generator:
    return bootstrap.generator(seed, what, *([] if study is None else [study]))


def find_learning(asked: LearningArguments, estimates: EstimateArguments, runs: Mapping[str, ScoreRun]) -> Finding:
    """Every model's slopes and curves as tables, figures and sentences."""
    check_same(runs.values())
    names = [run.model for run in runs.values()]
    names = names if len(set(names)) == len(names) else list(runs)  # of one model scored twice, the folders
    found = {
        name: learning(run.table([NLL_COLUMN]).to_pandas(), estimates.resamples, estimates.seed)
        for name, run in zip(names, runs.values(), strict=True)
    }
    said = [verdict(name, of_model) for name, of_model in found.items()]
    common = CommonResponses(run.folder for run in runs.values())
    if common.left_out:
        own = {name: sum(point.n_responses for point in of_model.points) for name, of_model in found.items()}
        each = listed([f"{n:,} of {name}" for name, n in own.items()])
        said.append(
            f"each slope is over the responses that its model scored ({each}), of which {common.n:,} are common"
        )
    slopes = slope_table(found)
    return Finding(
        tables={"slopes.csv": slopes, "learning.csv": curve_table(found)},
        record={"verdict": "; ".join(said)},
        figures={"slopes": slope_figure(found), "curves": curve_figure(found)},
        metrics=[(None, {f"slope/{name}": of_model.slopes[_ALL_STUDIES].value for name, of_model in found.items()})],
        shown=[_shown_slopes(slopes), *said],
    )


def verdict(model: str, found: Learning) -> str:
    """Whether a model predicts people better as a session goes on, in a sentence; of one study, by its people."""
    defined = [name for name, slope in found.slopes.items() if name != _ALL_STUDIES and slope.is_defined]
    slope, these = found.slopes[_ALL_STUDIES], found.these
    size = in_words(slope, SLOPE, "people" if len(defined) == 1 else "studies", these)
    judged = [one for one in (slope, these) if one.has_interval]
    alone = f"in {defined[0]}, " if len(defined) == 1 else ""
    word = "better" if slope.value < 0 else "worse"
    if (alone or slope.has_interval) and judged and all(one.excludes_zero for one in judged):
        said = f"{alone}people are predicted {word} the further a session goes ({size})"
    elif these.excludes_zero:
        said = f"in these studies people are predicted {word} the further a session goes ({size})"
    elif judged:
        said = f"{alone}no clear change of the NLL over a session ({size})"
    else:
        said = f"{alone}whether people are predicted better the further a session goes cannot be told ({size})"
    return f"{model}: {said}{'; this says nothing of other studies' if alone else ''}"


def slope_table(found: Mapping[str, Learning]) -> pd.DataFrame:
    """A row per model and study, the mean over studies first; slopes in nats per doubling of the trial number."""
    return pd.DataFrame(
        {"model": model, "study": study, "slope": s.value, "slope_low": s.low, "slope_high": s.high}
        | {"slope_low_these": these.low, "slope_high_these": these.high, "q": of_model.q.get(study, math.nan)}
        for model, of_model in found.items()
        for study, s in of_model.slopes.items()
        for these in [of_model.these if study == _ALL_STUDIES else s]
    )


def curve_table(found: Mapping[str, Learning]) -> pd.DataFrame:
    """A row per model, study and octave of trials; NLLs in nats per response."""
    return pd.DataFrame(
        {"model": model, "study": p.study, "first_trial": p.first, "last_trial": p.last}
        | {"nll": p.nll.value, "nll_low": p.nll.low, "nll_high": p.nll.high}
        | {"responses": p.n_responses, "people": p.n_participants}
        for model, of_model in found.items()
        for p in of_model.points
    )


def slope_figure(found: Mapping[str, Learning]) -> "Figure":
    """Slopes of each study under each model."""
    rows = []
    for i, of_model in enumerate(found.values()):
        rows.append(Row("mean over studies", of_model.slopes[_ALL_STUDIES], i, True, these=of_model.these))
        for study, q in of_model.q.items():
            rows.append(Row(study, of_model.slopes[study], i, q=q))
    quantity = "slope (nats per doubling of the trial number)\n← predicted better later · worse later →"
    return change_rows(rows, list(model_labels(found).values()), "Change of the NLL over a session", quantity)


@styled
def curve_figure(found: Mapping[str, Learning]) -> "Figure":
    """Mean NLL by octave of trials, a panel per study, of the studies with the longest curves."""
    lengths = {p.study: p.last for of_model in found.values() for p in of_model.points}
    studies = sorted(sorted(lengths), key=lambda study: -lengths[study])[:_PANELS]
    n_rows = -(-len(studies) // 2)
    figure = new_figure(14 + 26 * n_rows)
    panels = figure.subplots(n_rows, 2, squeeze=False).ravel()
    for axes, study in zip(panels, studies, strict=False):
        for (colour, marker), of_model in zip(SERIES, found.values(), strict=False):
            points = [p for p in of_model.points if p.study == study]
            x, y = [p.last for p in points], [p.nll.value for p in points]
            bounds = [p.nll if p.nll.has_interval else Estimate(p.nll.value, p.nll.value, p.nll.value) for p in points]
            axes.fill_between(
                x, [b.low for b in bounds], [b.high for b in bounds], color=colour, alpha=0.15, linewidth=0
            )
            axes.plot(x, y, color=colour, marker=marker, markersize=2.5, linewidth=0.9)
        axes.set_ylim(bottom=0)
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter("{x:.0f}")
        axes.set_title(short(study, 26), fontsize=6.5)
        axes.grid(color=LIGHT, linewidth=0.4)
    for axes in panels[len(studies) :]:
        axes.remove()
    figure.supxlabel("trial (the last of 1, 2, 3 to 4, 5 to 8, …)")
    figure.supylabel("NLL (nats per response)")
    left_out = f"; the {len(studies)} longest of {len(lengths)} studies" if len(lengths) > len(studies) else ""
    from matplotlib.lines import Line2D  # here: --help would wait for it

    figure.suptitle(f"NLL by trial number{left_out}")
    lines = [
        Line2D([], [], color=c, marker=m, markersize=3, linewidth=0.9) for (c, m), _ in zip(SERIES, found, strict=False)
    ]
    figure.legend(lines, list(model_labels(found).values()), loc="outside lower center", ncols=2)
    return figure


def section(run: Run) -> Section:
    """Whether people are predicted better the more of them a model has seen."""
    slopes, curves = read_table(run, "slopes"), read_table(run, "learning")
    models, gone = score_runs_of(run)
    return Section(
        title="NLL by trial number",
        question="Are people predicted better the more of them a model has seen?",
        answers=(f"{run.about['verdict']}.",),
        explanation=(
            "The slope is the change of the NLL, in nats, per doubling of the trial number within people; below zero, "
            "later responses are predicted better. It does not say why: later trials may also be easier.",
            NLL,
            INTERVALS,
            *gone,
        ),
        figures=folder_pictures([run]),
        tables=(
            _shown_slopes(slopes),
            table_of("Curves", curves, {name: name.replace("_", " ") for name in curves.columns if "nll_" not in name}),
            *coverage_tables(list(model_labels(models).values()), list(models.values())),
        ),
        provenance=tuple(facts_of(run)),
        commands=tuple(dict.fromkeys([*(command(scored) for scored in models.values()), command(run)])),
    )


def _shown_slopes(slopes: pd.DataFrame) -> Table:
    columns = {"study": "study", "model": "model", "slope": "slope"}
    return table_of("Slopes (nats per doubling of the trial number)", slopes, columns, signed=["slope"])


ANALYSIS = Analysis(
    *("learning", DESCRIPTION, LearningArguments, section), models=lambda asked: asked.models, compute=find_learning
)
