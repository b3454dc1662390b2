"""Why one model predicts choices worse than another: format, calibration or preference.

At a choice y let NLL(T) be its negative log-likelihood with all logits divided by T, and F(T) the negative log of the
probability of the options together, so that NLL(T) - F(T) is that of y among them. T* is one temperature per model,
the best for people other than the one it is used for. Then

    NLL(1) = [NLL(1) - NLL(T*)] + F(T*) + [NLL(T*) - F(T*)]
              calibration         format  preference

and so the difference of two models is the sum of the differences of the three. A model whose logits are another's
divided by a constant is the other at T*: the two differ in calibration alone.

Options are what could be answered, per response (``data.options``): by the study's module, by the labels that everybody
used, or, where neither is known, the session's own answers, if these are single tokens. Responses whose options are
not known are left out, and counted with the people who have no others. So are those whose sets differ in size between
the models, as one token stands for two of them in one.
Both functions of T are read off a cubic spline in log T through the temperatures that are scored. Halfway between
them it is off by at most 0.0041 nats for a response and 0.0033 for a study's mean (96 responses of five starter
studies, Gemma 3 270M and SmolLM2 135M Instruct, against the whole vocabulary). T* lies between the lowest and the
highest.

Intervals come from the cluster bootstrap (``bootstrap.py``) with T* fitted anew in every resample: for a study,
participants of all studies are drawn, T* being theirs; for the mean, studies. A spline is linear in its values, so that
sums over responses at the scored temperatures are all that a resample needs. With T* held fixed, 95 % intervals of
format held the truth in 81 to 89 % of simulated data sets.

Shapes: R responses, P participants, F folds, K temperatures, C curves, B resamples, S studies.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from centaurlab.analyses.analysis import Analysis, Finding
from centaurlab.analyses.finished import (
    _OWN,
    Run,
    _sentence,
    command,
    coverage_tables,
    facts_of,
    folder_pictures,
    folder_tables,
    read_table,
    score_runs_of,
)
from centaurlab.display.chart import chart_of
from centaurlab.display.figures.intervals import Row, ends, part_rows
from centaurlab.display.figures.style import model_label
from centaurlab.display.section import INTERVALS, Section
from centaurlab.display.tables import Table, table_of
from centaurlab.results.run import ScoreRun, check_options, check_same, check_whole, names_apart
from centaurlab.results.table import (
    GREEDY_CORRECT,
    N_OPTIONS,
    NLL,
    OPTION_NLL,
    PERSON,
    RESPONSE,
    SESSION,
    TEMPERATURES,
    at_temperature,
    person_names,
    read_scores,
)
from centaurlab.runtime.errors import UserError
from centaurlab.stats.arguments import EstimateArguments
from centaurlab.stats.contrast import Contrast
from centaurlab.stats.decomposition import PARTS, Parts, decompose
from centaurlab.stats.effect_table import interval_of
from centaurlab.stats.estimate import Estimate
from centaurlab.stats.multiplicity import q_values
from centaurlab.stats.words import Quantity, in_words, number, verdict_over

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DESCRIPTION = """Why one model predicts people's choices worse than another: format, calibration or preference, in nats.

examples:
  centaurlab diagnosis --base runs/gemma --post runs/other --output_dir runs/diagnosis
  centaurlab diagnosis --base Qwen/Qwen3-8B-Base --post Qwen/Qwen3-8B --data starter --output_dir runs/diagnosis

The difference of the two models' NLLs is the sum of three parts. Calibration: what one temperature per model, fitted on
other participants, makes good. Format: at that temperature, probability outside the options. Preference: the rest,
which option is thought likely. Defined where the options are known; other responses are left out and
counted. Positive: the second model (--post) is worse.
Output: diagnosis.csv, excluded.csv, run.json, a figure. Models that are named and not folders are scored first.
"""

_CURVES = (NLL, OPTION_NLL)
_COLUMNS = (N_OPTIONS, GREEDY_CORRECT, *_CURVES, *(at_temperature(curve, t) for curve in _CURVES for t in TEMPERATURES))
_ALL_STUDIES = "all studies"
_NAMES = ("difference", *PARTS)
_DIFFERENCE = Quantity("difference", "nats per choice", is_difference=True)


@dataclass
class DiagnosisArguments:
    """What is held against what."""

    base: str = field(metadata={"help": "folder of scores, or a model: what --post is held against"})
    post: str = field(metadata={"help": "the same; positive parts mean that it is worse"})
    output_dir: str = field(metadata={"help": "folder for diagnosis.csv, excluded.csv and run.json"})


@dataclass(frozen=True)
class Diagnosis:
    """A row of ``diagnosis.csv``: a study, or the mean over all; positive: the second model is worse by so many nats.

    ``difference`` is the sum of the three parts. ``accuracy``: of choices that are one token to both models, the share
    that was the likeliest, mean over studies.
    """

    study: str
    participants: int
    responses: int
    difference: Estimate
    calibration: Estimate
    format: Estimate
    preference: Estimate
    accuracy_base: float
    accuracy_post: float


@dataclass(frozen=True)
class Exclusion:
    """Responses of a study that the split is not defined for, of ``responses`` that both models scored.

    ``people_excluded``: of its ``people``, those who have no other response.
    """

    study: str
    excluded: int
    responses: int
    people_excluded: int
    people: int


@dataclass(frozen=True)
class Split:
    """The studies after their mean, what was left out, and each model's T* in each fold of participants.

    ``these``: the mean with intervals over new people in these studies.
    """

    rows: list[Diagnosis]
    these: Parts
    excluded: list[Exclusion]
    temperatures_base: tuple[float, ...]
    temperatures_post: tuple[float, ...]
    at_bound: bool


def diagnose(base: ScoreRun, post: ScoreRun, n_resamples: int = 2000, seed: int = 0) -> Split:
    """Split the difference of two score runs; 95 % intervals.

    Raises ``UserError`` for runs that cannot be compared, and where no response is a choice among known options.
    """
    check_same([base, post])
    check_options([base, post])
    check_whole([base, post])
    other = _read(post.folder).drop(columns=PERSON, errors="ignore")
    both = _read(base.folder).merge(other, on=[*SESSION, RESPONSE], suffixes=("_base", "_post"))
    is_choice_R = (both["n_options_base"] > 0) & (both["n_options_base"] == both["n_options_post"])
    is_choice_R &= both[["option_nll_base", "option_nll_post"]].notna().all(axis=1)
    person_R = person_names(both)
    excluded = [
        Exclusion(str(study), int((~is_covered).sum()), len(is_covered), *_people_without(is_covered, person_R))
        for study, is_covered in is_choice_R.groupby(both["study"])
        if not is_covered.all()
    ]
    choices = both[is_choice_R]
    if choices.empty:
        raise UserError(
            f"{base.folder} and {post.folder} hold no response in which both models see a choice among known options; "
            "the split is not defined for them"
        )
    found = decompose(choices, n_resamples, seed)
    rows = [
        _row(_ALL_STUDIES, sum(found.people.values()), choices, found.overall),
        *(
            _row(name, found.people[name], choices[choices["study"] == name], parts)
            for name, parts in found.studies.items()
        ),
    ]
    temperatures_base, temperatures_post = (tuple(of_model.tolist()) for of_model in found.temperatures_FM.T)
    return Split(rows, found.these, excluded, temperatures_base, temperatures_post, found.at_bound)


def _people_without(is_covered: pd.Series, person_R: pd.Series) -> tuple[int, int]:
    """How many people have no response that is covered, and how many there are."""
    has_any = is_covered.groupby(person_R).any()
    return int((~has_any).sum()), len(has_any)


def _read(folder: Path) -> pd.DataFrame:
    found: pd.DataFrame = read_scores(folder, _COLUMNS).to_pandas()
    return found.astype(dict.fromkeys(SESSION, str) | {GREEDY_CORRECT: float}).fillna({N_OPTIONS: 0})


def _row(study: str, participants: int, choices: pd.DataFrame, parts: Parts) -> Diagnosis:
    right = ["greedy_correct_base", "greedy_correct_post"]
    accuracy_base, accuracy_post = choices.dropna(subset=right).groupby("study")[right].mean().mean().tolist()
    estimates = (parts.difference, parts.calibration, parts.format, parts.preference)
    return Diagnosis(study, participants, len(choices), *estimates, accuracy_base, accuracy_post)


def verdict(contrast: Contrast, rows: Sequence[Diagnosis], these: Parts) -> str:
    """Of all studies in a sentence: which model predicts choices worse, by how much, and by which parts."""
    overall, *studies = rows
    of_studies = {row.study: row.difference for row in studies}
    said = verdict_over(contrast, overall.difference, of_studies, _DIFFERENCE, "choices", these.difference)
    several = len(studies) != 1
    parts = "; ".join(
        in_words(getattr(overall, name), Quantity(name, is_difference=True), "studies", getattr(these, name))
        if several
        else in_words(getattr(studies[0], name), Quantity(name, is_difference=True), "people")
        for name in PARTS
    )
    return f"{said}. The difference is the sum of these parts: {parts}"


def diagnosis_table(rows: Sequence[Diagnosis], these: Parts) -> pd.DataFrame:
    """``rows`` with a column for each value and each end of its interval, in nats; of the mean also those of ``these``.

    Of a study the interval over its people is the only one.
    """
    return pd.DataFrame(
        [
            {"study": row.study, "participants": row.participants, "responses": row.responses}
            | {
                f"{name}{end}": getattr(getattr(row, name), field)
                for name in ("difference", *PARTS)
                for end, field in (("", "value"), ("_low", "low"), ("_high", "high"))
            }
            | {"accuracy_base": row.accuracy_base, "accuracy_post": row.accuracy_post}
            | {
                f"{name}_{end}_these": getattr(getattr(these if row is rows[0] else row, name), end)
                for name in _NAMES
                for end in ("low", "high")
            }
            for row in rows
        ]
    ).assign(**{f"{name}_q": [math.nan, *_q_values(rows[1:], name)] for name in _NAMES})


def read_diagnosis(table: pd.DataFrame) -> tuple[list[Diagnosis], Parts]:
    """The rows that ``diagnosis_table`` made a table of, and the intervals of these studies."""
    rows: list[Diagnosis] = []
    for row in table.to_dict("records"):
        values: dict[str, Any] = {str(name): row[name] for name in Diagnosis.__annotations__ if name in row}
        for name in ("difference", *PARTS):
            ends = (row[f"{name}_low"], row[f"{name}_high"])
            values[name] = Estimate(row[name], *ends, n_units=int(row["participants"]) if rows else 0)
        rows.append(Diagnosis(**values))
    first = table.to_dict("records")[0]
    return rows, Parts(*(interval_of(first, name, "these") for name in ("difference", *PARTS)))


def parts_figure(rows: Sequence[Diagnosis], these: Parts, contrast: Contrast) -> "Figure":
    """What the difference of two models consists of, per study; ``rows``: the mean over studies, then the studies."""
    return part_rows(_parts_rows(rows, these), _NAMES, contrast)


def _parts_rows(rows: Sequence[Diagnosis], these: Parts) -> list[Row]:
    estimates = []
    for i, name in enumerate(_NAMES):
        mean = Row("mean over studies", getattr(rows[0], name), i, is_summary=True, these=getattr(these, name))
        q_S = _q_values(rows[1:], name)
        studies = [Row(row.study, getattr(row, name), i, q=q) for row, q in zip(rows[1:], q_S, strict=True)]
        estimates += [mean, *studies]
    return estimates


def _q_values(studies: Sequence[Diagnosis], name: str) -> list[float]:
    return q_values([getattr(row, name) for row in studies])


def find_parts(asked: DiagnosisArguments, estimates: EstimateArguments, runs: Mapping[str, ScoreRun]) -> Finding:
    """The parts of the difference of two models as tables, a figure and a sentence."""
    base, post = runs[asked.base], runs[asked.post]
    split = diagnose(base, post, estimates.resamples, estimates.seed)
    contrast = Contrast(*names_apart(post, base))
    said = verdict(contrast, split.rows, split.these)
    excluded = pd.DataFrame(map(asdict, split.excluded), columns=list(Exclusion.__annotations__))
    metrics: dict[str, float] = {}
    for part in ("difference", *PARTS):
        estimate: Estimate = getattr(split.rows[0], part)
        values = {"": estimate.value, "_low": estimate.low, "_high": estimate.high}
        metrics |= {f"effect/{part}{end}": value for end, value in values.items()}
    return Finding(
        tables={"diagnosis.csv": diagnosis_table(split.rows, split.these), "excluded.csv": excluded},
        record={"verdict": said, "base": contrast.second, "post": contrast.first} | asdict(split),
        figures={"parts": parts_figure(split.rows, split.these, _short(contrast))},
        metrics=[(None, metrics)],
        shown=[*_shown(split), verdict(_short(contrast), split.rows, split.these)],
    )


def section(run: Run) -> Section:
    """Why one model predicts choices worse than another."""
    contrast = _short(Contrast(str(run.about["post"]), str(run.about["base"])))
    post, base = contrast.names
    found, gone = score_runs_of(run)
    rows = read_table(run, "diagnosis")
    diagnosed = read_diagnosis(rows)
    chart = chart_of(_parts_rows(*diagnosed), "difference of the NLL (nats per choice)", _NAMES, ends=ends(contrast))
    tables = [parts_table(rows)]
    excluded = read_table(run, "excluded")
    if len(excluded):
        tables.append(table_of("Left out", excluded, note=_LEFT_OUT))
    temperatures = _temperatures([(base, run.about["temperatures_base"]), (post, run.about["temperatures_post"])])
    return Section(
        title=f"Why {post} and {base} differ",
        question=f"Why does {post} predict choices worse, or better, than {base}: format, calibration or preference?",
        answers=(_sentence(verdict(contrast, *diagnosed)),),
        explanation=(
            "Calibration: what one temperature per model, fitted on other participants, makes good. Format: at that "
            "temperature, probability outside the options. Preference: the rest, which option is thought likely. The "
            "three sum to the difference of the mean NLLs. It is defined where the options are known.",
            f"Best temperatures, by fold of participants: {temperatures}.",
            *([_sentence(_AT_BOUND)] if run.about["at_bound"] else []),
            INTERVALS,
            *gone,
        ),
        figures=tuple(replace(one, chart=chart) if one.name == "parts" else one for one in folder_pictures([run])),
        tables=(
            *tables,
            *coverage_tables(list(map(model_label, found)), list(found.values())),
            *folder_tables([run], _OWN),
        ),
        provenance=tuple(facts_of(run)),
        commands=tuple(dict.fromkeys([*(command(scored) for scored in found.values()), command(run)])),
    )


_RIGHT = "right: share of one-token choices that were the likeliest token"
_LEFT_OUT = "no choice among known options for both models"
_AT_BOUND = "a temperature lies at the end of the range that was scored: calibration is understated"


def parts_table(rows: pd.DataFrame) -> Table:
    """The parts of every study, those of the mean over studies below, from the table in ``diagnosis.csv``."""
    columns = {name: name for name in ("study", "difference", *PARTS)}
    columns |= {"accuracy_base": "right, base", "accuracy_post": "right, post"}
    columns |= {"responses": "choices", "participants": "people"}
    title = "Parts of the difference NLL(post) − NLL(base), nats per choice"
    return table_of(title, rows, columns, _RIGHT, n_summary=1, signed=("difference", *PARTS))


def _shown(split: Split) -> Iterator[Table | str]:
    yield parts_table(diagnosis_table(split.rows, split.these))
    yield f"temperatures: {_temperatures([('base', split.temperatures_base), ('post', split.temperatures_post)])}"
    if split.at_bound:
        yield f"note: {_AT_BOUND}"
    for left_out in split.excluded:
        yield (
            f"left out: {left_out.excluded:,} of {left_out.responses:,} responses of {left_out.study}, and all of "
            f"{left_out.people_excluded:,} of {left_out.people:,} people: {_LEFT_OUT}"
        )


def _temperatures(of_models: Iterable[tuple[str, Sequence[float | None]]]) -> str:
    """The temperatures of each model by fold; "–" where there is no best one, as of NLLs that are 0 at all of them."""
    return "; ".join(f"{name} {', '.join(number(t, decimals=2) for t in of_folds)}" for name, of_folds in of_models)


def _short(contrast: Contrast) -> Contrast:
    first, second = map(model_label, contrast.names)
    return Contrast(first, second) if first != second else contrast


ANALYSIS = Analysis(
    *("diagnosis", DESCRIPTION, DiagnosisArguments, section),
    models=lambda asked: [asked.base, asked.post],
    compute=find_parts,
    all_logits=True,
)
