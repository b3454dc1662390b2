"""How an adapter does on people and on studies that it never saw, against its base model and simple baselines."""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from centaurlab.analyses.analysis import Analysis, Finding
from centaurlab.analyses.finished import (
    Run,
    _figure,
    _OWN_of_jobs,
    _sentence,
    command,
    coverage_tables,
    facts_of,
    folder_pictures,
    folder_tables,
)
from centaurlab.catalog.studies import Study
from centaurlab.cognitive.simple import marginal_nll
from centaurlab.data.held_out import KINDS
from centaurlab.data.novelty import NEAR, Likeness
from centaurlab.data.transcripts import Transcript
from centaurlab.display.chart import chart_of
from centaurlab.display.figures.intervals import D_AXIS, ends, gain_forest, gain_rows
from centaurlab.display.figures.style import model_label
from centaurlab.display.section import INTERVALS, NLL, Section
from centaurlab.display.tables import Table, rows_of, table_of
from centaurlab.results.joined import join_scores
from centaurlab.results.run import ScoreRun
from centaurlab.runs.integrity import read_json
from centaurlab.stats.accuracy import accuracy
from centaurlab.stats.contrast import Contrast
from centaurlab.stats.effects import estimate_effects
from centaurlab.stats.estimate import Estimate
from centaurlab.stats.regression import FEWEST, slope_over_studies
from centaurlab.stats.sums import compare
from centaurlab.stats.words import (
    INTERVAL,
    NEW_PEOPLE,
    NOTHING,
    STUDIES_LIKE_THESE,
    Quantity,
    in_words,
    number,
    percent,
    verdict_over,
)

DESCRIPTION = """Judge an adapter on people and on studies that it was not trained on.

example:
  centaurlab generalisation --base gemma-3-270m --adapter runs/centaur --data starter --output_dir runs/generalisation

Scores base and adapter on the held-out participants of the trained studies and on the novel studies, both as the
adapter's split.json names them; --data is what it was trained on, and held-out participants are read from its eval_data
if it had one. d(base − centaur) > 0: the adapter predicts people better. Of an adapter that was trained elsewhere you
say which studies it never saw (--novel_studies).
Output: studies.csv, run.json, a figure, and the folders of scores; 'centaurlab report' makes a page of it.
"""


@dataclass
class GeneralisationArguments:
    """What is judged, on what."""

    base: str = field(metadata={"help": "base model"})
    adapter: str = field(metadata={"help": "adapter folder that 'centaurlab train' wrote"})
    output_dir: str = field(metadata={"help": "folder for studies.csv, run.json and scores"})
    eval_data: str | None = field(
        default=None,
        metadata={"help": "held-out participants as a source of their own (default: the eval_data of the training)"},
    )
    novel_studies: str | None = field(
        default=None,
        metadata={"help": "for an adapter trained elsewhere: studies of --data that it never saw, comma separated"},
    )


Gain = Mapping[Any, Any]
"""A row of ``studies.csv``, or a summary of ``run.json``."""

_BASELINES = (
    "uniform: every option equally likely; marginal: as often as training participants gave an answer of this meaning; "
    "none where letters are drawn anew for each participant and nothing says what they mean, or where nobody of the "
    "study was trained on; both over the responses that the models scored, and none where they do not speak of all"
)


_NOVELTY = (
    "instructions: n-grams of five words that both have, by those that either has; catalog: what is known to be alike; "
    f"sibling: people, {NEAR:.0%} of items or instructions, or something by the catalog are shared: it is not novel"
)


@dataclass(frozen=True)
class StudyGain:
    """One study. ``d``: base − centaur, positive: the adapter predicts better, with a 95 % interval over people.

    NLLs in nats per response, all over the same ones; ``nll_uniform`` and ``nll_marginal`` are NaN where they do not
    speak of all of these, and the latter for novel studies, which have no training participants.
    """

    kind: str
    study: str
    participants: int
    responses: int
    nll_base: float
    nll_centaur: float
    d: float
    d_low: float
    d_high: float
    nll_uniform: float
    nll_marginal: float
    q: float


@dataclass(frozen=True)
class Summary:
    """Over the studies of one kind: mean d and its standard error over studies, as the paper reports them.

    ``d_low`` and ``d_high``: 95 %, from drawing studies; ``d_low_these`` and ``d_high_these``, from drawing the people
    of these studies. ``improved``: share of studies whose NLL fell, with its Wilson interval over studies.
    """

    kind: str
    studies: int
    nll_base: float
    nll_centaur: float
    d: float
    d_low: float
    d_high: float
    d_sem: float
    improved: float
    d_low_these: float
    d_high_these: float
    improved_low: float
    improved_high: float


def study_gains(
    kind: str,
    base: ScoreRun,
    centaur: ScoreRun,
    sessions: Iterable[Transcript],
    training: Iterable[Transcript] = (),
    n_resamples: int = 2000,
    seed: int = 0,
    own_studies: Mapping[str, Study] | None = None,
) -> tuple[list[StudyGain], Summary]:
    """Gains per study and over them, from two models' scores of ``sessions``; ``training``: for the marginals.

    ``own_studies``: the user's own modules, by which answers have a meaning.
    """
    pair = compare(base, centaur)
    effects = estimate_effects([pair], n_resamples, seed)
    has_options = {of.study: of.n_with_options == of.sums_PK[:, 0].sum() for of in pair.studies}
    scored = {of.study: of.responses() for of in join_scores(base.folder, centaur.folder)}
    judged_on, fitted = _by_study(sessions), _by_study(training)
    gains = [
        StudyGain(
            kind,
            e.name,
            e.n_participants,
            e.n_responses,
            nll_base=e.nll_first,
            nll_centaur=e.nll_second,
            d=e.d.value,
            d_low=e.d.low,
            d_high=e.d.high,
            nll_uniform=e.chance if has_options[e.name] else math.nan,
            nll_marginal=marginal_nll(fitted.get(e.name, []), judged_on[e.name], own_studies, scored[e.name]),
            q=e.q,
        )
        for e in effects
        if e.level == "study" and e.n_responses
    ]
    overall = effects[0]
    improved = accuracy([gain.nll_centaur < gain.nll_base for gain in gains])
    return gains, Summary(
        kind,
        len(gains),
        nll_base=overall.nll_first,
        nll_centaur=overall.nll_second,
        d=overall.d.value,
        d_low=overall.d.low,
        d_high=overall.d.high,
        d_sem=standard_error([gain.d for gain in gains]),
        improved=improved.value,
        d_low_these=overall.d_these.low,
        d_high_these=overall.d_these.high,
        improved_low=improved.low,
        improved_high=improved.high,
    )


def find_gains(
    asked: GeneralisationArguments,
    gains: Sequence[StudyGain],
    summaries: Sequence[Summary],
    novelty: Sequence[Likeness] = (),
    notes: Sequence[str] = (),
) -> Finding:
    """What an adapter gains on people and on studies that it was not trained on, as table, figure and sentences.

    ``novelty``: what the novel studies share with those trained on. ``notes``: what else is to be known.
    """
    near = [one.as_dict() for one in novelty]
    likeness = [likeness_in_words(gains, novelty)] if novelty else []
    rows, over_studies = [*map(asdict, gains)], [*map(asdict, summaries)]
    contrast = _contrast(asked.base, asked.adapter)
    return Finding(
        tables={"studies.csv": pd.DataFrame(rows)} | ({"novelty.csv": pd.DataFrame(near)} if near else {}),
        record={
            "summaries": over_studies,
            "studies": rows,
            "novelty": near,
            "likeness": likeness,
            "notes": list(notes),
        },
        figures={"gains": gain_forest(rows, over_studies, contrast)},
        metrics=[
            (
                None,
                {f"d/{gain.kind}/{gain.study}": gain.d for gain in gains}
                | {f"effect/d/{s.kind}": s.d for s in summaries}
                | {f"effect/d_low/{s.kind}": s.d_low for s in summaries}
                | {f"effect/d_high/{s.kind}": s.d_high for s in summaries},
            )
        ],
        shown=[
            gain_table(pd.DataFrame(rows)),
            *novelty_tables(near),
            *gain_answers(rows, over_studies, contrast),
            *likeness,
            *notes,
        ],
    )


def _contrast(base: str, centaur: str) -> Contrast:
    """base − centaur, by short names where these tell them apart."""
    short = Contrast(model_label(base), model_label(centaur))
    return short if short.first != short.second else Contrast(base, centaur)


def gain_table(gains: pd.DataFrame) -> Table:
    """A row per study, from the table in ``studies.csv``."""
    columns = {"study": "study", "kind": "judged on", "d": "d(base − centaur)", "participants": "people"}
    columns |= {"responses": "responses", "nll_base": "NLL base", "nll_centaur": "centaur"}
    columns |= {"nll_uniform": "uniform", "nll_marginal": "marginal"}
    shown = gains.assign(kind=gains["kind"].map(lambda kind: KINDS.get(kind, kind)))
    return table_of("Studies", shown, columns, _BASELINES, signed=["d"])


def novelty_tables(novelty: Sequence[Mapping[str, Any]]) -> Iterator[Table]:
    """How novel the novel studies are, a row each, from ``run.json``; nothing where there are none."""
    if novelty:
        rows = [
            [
                *(one["study"], one["training_study"]),
                *(f"{one[f'shared_{what}']:,} of {one[what]:,}" for what in ("people", "items")),
                *(number(one["instructions"], decimals=2), one["catalog"] or None, "yes" if one["sibling"] else "no"),
            ]
            for one in novelty
        ]
        columns = ("novel study", "nearest trained on", "shared people", "items", "instructions", "catalog", "sibling")
        yield rows_of("Novel studies", columns, rows, _NOVELTY)


def likeness_in_words(gains: Sequence[StudyGain], novelty: Sequence[Likeness]) -> str:
    """Whether the adapter gains more on novel studies that are more like one that it was trained on."""
    d = {gain.study: gain.d for gain in gains if gain.kind == "novel"}
    judged = [one for one in novelty if math.isfinite(d.get(one.study, math.nan))]
    slope = slope_over_studies([one.similarity for one in judged], [d[one.study] for one in judged])
    about = "gain (d) on novel studies by how alike the nearest training study is (0: nothing of its text, 1: all)"
    if len(judged) >= FEWEST and len({one.similarity for one in judged}) == 1:
        return f"{about}: the {len(judged)} novel studies do not differ in it"
    if not slope.is_defined:
        return f"{about}: a slope needs {FEWEST} novel studies that differ in it, and there are {len(judged)}"
    return f"{about}: {in_words(slope, _SLOPE)}, over {len(judged)} studies"


_SLOPE = Quantity("slope", is_difference=True)


def gain_answers(gains: Sequence[Gain], summaries: Sequence[Gain], contrast: Contrast) -> Iterator[str]:
    """A sentence for held-out participants and one for novel studies."""
    for summary in summaries:
        kind = str(summary["kind"])
        of_kind = [gain for gain in gains if gain["kind"] == kind]
        studies = {
            str(gain["study"]): replace(estimate_of(gain, "d"), n_units=int(gain["participants"])) for gain in of_kind
        }
        n = summary["studies"]
        said = f"on {KINDS.get(kind, kind)} ({n} {'study' if n == 1 else 'studies'}), "
        d = estimate_of(summary, "d")
        these = Estimate(d.value, *(_number(summary.get(f"d_{end}_these")) for end in ("low", "high")))
        said += verdict_over(contrast, d, studies, these=these)
        if (n_d := sum(one.is_defined for one in studies.values())) < len(studies):
            said += f" (d is defined in {n_d} of them)"
        error = number(summary.get("d_sem"))
        known = f"; standard error over studies {error}" if error != NOTHING else ""
        between = [_number(summary.get(f"improved_{end}")) for end in ("low", "high")]
        wilson = f" ({INTERVAL} {percent(between[0])} to {percent(between[1])})" if math.isfinite(between[0]) else ""
        yield f"{said}{known}; the NLL fell in {percent(summary['improved'])} of the studies{wilson}"


def standard_error(values: Sequence[float]) -> float:
    """SD (ddof 1) over the square root of the number of finite values; NaN with fewer than two."""
    finite = [value for value in values if math.isfinite(value)]
    return float(np.std(finite, ddof=1) / math.sqrt(len(finite))) if len(finite) > 1 else math.nan


def _by_study(sessions: Iterable[Transcript]) -> dict[str, list[Transcript]]:
    found: dict[str, list[Transcript]] = defaultdict(list)
    for transcript in sessions:
        found[transcript.study].append(transcript)
    return found


_LINES = f"; filled: q < .05; of the mean, thin: {STUDIES_LIKE_THESE}, thick: {NEW_PEOPLE}."


def section(run: Run) -> Section:
    """What an adapter gains on people and on studies that it never saw."""
    contrast = _contrast(*(str(run.config.get(name, name)) for name in ("base", "adapter")))
    base, centaur = contrast.names
    gains, summaries = pd.DataFrame(run.about["studies"]), run.about["summaries"]
    said = run.about.get("likeness") or []
    numbers = gains.select_dtypes("number").columns.difference(["participants", "responses"])
    figure = gain_forest(run.about["studies"], summaries, contrast)
    rows, kinds = gain_rows(run.about["studies"], summaries)
    chart = chart_of(rows, D_AXIS, kinds, ends=ends(contrast))
    gains = gains.astype(dict.fromkeys(["d", "d_low", "d_high", *numbers], float))
    scored = [Run(folder, read_json(folder / "run.json"), {}) for folder in sorted(run.folder.glob("*/"))]
    compared = [model.get("fingerprint") for model in run.about.get("models", ())]  # beside what an earlier call scored
    scored = [part for part in scored if part.about.get("job") == "score"]
    scored = [part for part in scored if not compared or part.about["model"].get("fingerprint") in compared]
    return Section(
        title=f"{centaur} on people and studies that it never saw",
        question=f"Does {centaur}, trained on people, predict other people, and other studies, better than {base}?",
        answers=tuple(map(_sentence, [*gain_answers(run.about["studies"], summaries, contrast), *said])),
        explanation=(
            f"Per study, d is the mean NLL of {base} minus that of {centaur} on the same responses, in units of the "
            f"standard deviation of NLLs over responses. Above zero, people are predicted worse by {base}.",
            NLL,
            INTERVALS,
        ),
        figures=(
            replace(_figure("gains", f"Cohen's d of each study, with {INTERVAL}s{_LINES}", figure), chart=chart),
            *folder_pictures([run], _OWN_of_jobs),
        ),
        tables=(
            gain_table(gains),
            *novelty_tables(run.about.get("novelty") or ()),
            *coverage_tables([part.folder.name for part in scored], scored),
            *folder_tables([run], _OWN_of_jobs | {"novelty"}),
        ),
        provenance=(
            *facts_of(run),
            *dict.fromkeys(fact for part in scored for fact in facts_of(part) if fact[0] == "model"),
        ),
        commands=(command(run),),
    )


def estimate_of(row: Gain, name: str) -> Estimate:
    """The estimate ``name`` of a row of a table or of ``run.json``, where null stands for NaN."""
    return Estimate(*(_number(row.get(key)) for key in (name, f"{name}_low", f"{name}_high")))


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


ANALYSIS = Analysis("generalisation", DESCRIPTION, GeneralisationArguments, section)
