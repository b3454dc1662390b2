"""A folder of scores as a table to look at."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import pandas as pd

from centaurlab.analyses.finished import (
    Run,
    _figure,
    _OWN_of_jobs,
    command,
    coverage_tables,
    facts_of,
    folder_pictures,
    folder_tables,
)
from centaurlab.display.chart import chart_of
from centaurlab.display.figures.curves import session_curves
from centaurlab.display.figures.intervals import Row, nll_rows
from centaurlab.display.figures.style import SERIES, model_label
from centaurlab.display.section import INTERVALS, Card, ReportFigure, Section
from centaurlab.display.section import NLL as NLL_IN_WORDS
from centaurlab.display.tables import Table, table_of
from centaurlab.display.terminal import show
from centaurlab.results.joined import CommonResponses
from centaurlab.results.record import ScoreRecord
from centaurlab.results.run import ScoreRun, check_same, read_run
from centaurlab.results.table import NLL, RESPONSE, SCORES, SESSION, STUDY
from centaurlab.runtime.errors import UserError
from centaurlab.stats.answers import ALL, ANSWER_COLUMNS, Answers, answer_kinds, tail_notes
from centaurlab.stats.estimate import UNKNOWN
from centaurlab.stats.means import MEAN_COLUMNS, MeanNll, mean_nlls
from centaurlab.stats.sequential import sample_note
from centaurlab.stats.words import (
    INTERVAL,
    NEW_PEOPLE,
    NOTHING,
    STUDIES_LIKE_THESE,
    cells,
    in_words,
    number,
    percent,
)
from centaurlab.stats.words import NLL as MEAN_NLL


def print_run(folder: Path) -> None:
    """Print a score run's table: per study NLL, accuracy and what became of the responses."""
    run = read_run(folder)
    sampled, speed = sample_note(run.about), run.record.speed
    lines = [f"a sample: {sampled}"] if sampled else []
    if speed:
        lines.append(
            f"{speed.tokens:,} tokens ({speed.tokens_computed_now:,} computed now, {speed.tokens_reused:,} in shared "
            f"prefixes) at {speed.tokens_per_second:,.0f} tokens/s per process, {speed.processes} process(es); "
            f"peak memory {speed.peak_memory_bytes / 2**30:.1f} GiB"
        )
    answers = answer_kinds(run.table([NLL], ANSWER_COLUMNS))
    lines += [f"note: {note}" for note in tail_notes(answers)]
    show(run_table(run.record), *answer_tables([run.model], [answers]), *lines, f"scores: {folder / SCORES}")


def answer_tables(names: Sequence[str], of_each: Sequence[Sequence[Answers]]) -> list[Table]:
    """One-token and longer answers of the studies that have both, and what guessing would give, of each model."""
    tables = []
    for name, answers in zip(names, of_each, strict=True):
        rows = [{"study": a.study, "answers": a.kind, "NLL": a.nll, "chance": a.chance} | _counts(a) for a in answers]
        mixed = {a.study for a in answers if a.kind != ALL}
        frame = pd.DataFrame([row for row in rows if row["study"] in mixed])
        if len(frame):
            tables.append(table_of(f"Kinds of answers: {name}", frame, note=_CHANCE))
    return tables


def _counts(answers: Answers) -> dict[str, int]:
    return {"responses": answers.n_responses, "with options": answers.n_with_options}


_TENTHS = 10
_WORST = 20
_NLL_AXIS = "NLL (nats per response; lower: closer to people)"
_CHANCE = "chance: NLL of guessing among the options, over the responses that have options"


_OPTIONS = (
    "options by: how it is known what could be answered (module: the study's own, whatever was answered); no choice: "
    "sessions without options of known probability, which a diagnosis leaves out"
)


def rules_in_words(rules: Mapping[str, int]) -> str:
    """By which rule it is known what could be answered; of several, with how many sessions each."""
    if len(rules) == 1:
        return next(iter(rules))
    return ", ".join(f"{rule} ({n:,})" for rule, n in sorted(rules.items()))


def run_table(record: ScoreRecord) -> Table:
    """What a run of scoring says of itself as a table: a row per study, the mean over studies below."""
    counted = ("responses", "scored", "cut", "empty", "failed")
    rows: list[dict[str, object]] = [{"study": "mean over studies", "NLL": record.nll_mean}]
    for study, about in record.data.studies.items():
        row = {"study": study, "NLL": about.nll, "accuracy": about.accuracy, "sessions": about.sessions}
        coverage = asdict(record.coverage[study])
        known = {"options by": rules_in_words(about.option_rules)} if about.option_rules else {}
        if about.option_rules and about.sessions:
            known["no choice"] = percent(about.sessions_without_options / about.sessions)
        rows.append(row | {name: coverage[name] for name in counted} | known)
    said = ["options by", "no choice"] if any(about.option_rules for about in record.data.studies.values()) else []
    frame = pd.DataFrame(rows, columns=["study", "NLL", "accuracy", "sessions", *counted, *said], dtype=object)
    title = f"{record.model.name} on {record.data.name} ({record.protocol.name} protocol)"
    note = "NLL: nats, mean over responses, lower is more human-like; accuracy: single-token responses only"
    if said:
        note += f"; {_OPTIONS}"
    if n_images := sum(coverage.images for coverage in record.coverage.values()):
        note += f"; {n_images:,} images that the texts name were not shown to the model"
    return table_of(title, frame, note=note, n_summary=1)


def scores_section(runs: Sequence[Run], is_compared: bool = False) -> Section:
    """How well models predict people, all on the same data; ``is_compared``: the report also says how they differ."""
    if len(runs) > len(SERIES):
        raise UserError(f"one report shows at most {len(SERIES)} score runs; name fewer of the {len(runs)}")
    scored = [read_run(run.folder) for run in runs]
    check_same(scored)
    names = _labels(scored)
    common = CommonResponses(run.folder for run in scored)
    cut = {study for run in scored for study, coverage in run.record.coverage.items() if coverage.cut}
    means, answers, curves = [], [], []
    for run in scored:  # one table after the other is in memory
        table = common.of_table(run.table(MEAN_COLUMNS, ANSWER_COLUMNS))
        means.append(mean_nlls(table))
        answers.append(answer_kinds(table))
        frame = table.select([*SESSION, RESPONSE, NLL]).to_pandas()
        curves.append(nll_by_tenth(frame[~frame[STUDY].isin(cut)]))
    data = scored[0].record.data.name
    rows = [
        Row("mean over studies", mean.nll, i, is_summary=True, these=mean.nll_these)
        if mean.level == "overall"
        else Row(mean.name, mean.nll, i)
        for i, of_run in enumerate(means)
        for mean in of_run
    ]
    caption = f"Mean NLL of each study on {data}, in nats per response, with {INTERVAL}s"
    if len(rows) > 2 * len(runs):
        caption += f"; of the mean, thin: {STUDIES_LIKE_THESE}, thick: {NEW_PEOPLE}"
    if common.left_out:
        caption += f", over the {common.n:,} responses that all models scored"
    said = [f"{_mean_answer(name, of_run)}." for name, of_run in zip(names, means, strict=True)]
    said += [f"{name}: {note}." for name, of_run in zip(names, answers, strict=True) for note in tail_notes(of_run)]
    if common.note:
        said.append(f"{common.note[0].upper()}{common.note[1:]}.")
    if len(runs) > 1 and not is_compared:
        said.append(
            "Whether two models differ is seen on the same responses: compare them with 'centaurlab misalignment'."
        )
    drawn = nll_rows(rows, names, f"{names[0]} on {data}" if len(names) == 1 else f"Models on {data}")
    chart = chart_of(rows, _NLL_AXIS, names, is_signed=False, ends="← closer to people")
    figure = replace(_figure("nll", f"{caption}.", drawn), chart=chart)
    return Section(
        title=f"Scores on {data}",
        question=f"How well {'do models' if len(runs) > 1 else f'does {names[0]}'} predict what people did in {data}?",
        answers=tuple(said),
        explanation=(NLL_IN_WORDS, INTERVALS),
        figures=(figure, *_over_sessions(names, curves, bool(cut)), *folder_pictures(runs, _OWN_of_jobs)),
        tables=(
            *([side_by_side(names, means, common.note)] if len(runs) > 1 else []),
            *map(nll_table, names, means),
            *answer_tables(names, answers),
            *map(worst_table, names, scored),
            *coverage_tables(names, runs),
            *folder_tables(runs, _OWN_of_jobs),
        ),
        provenance=tuple(fact for run in runs for fact in facts_of(run)),
        commands=tuple(command(run) for run in runs),
        cards=_cards(names, means),
    )


def _cards(names: Sequence[str], means: Sequence[Sequence[MeanNll]]) -> tuple[Card, ...]:
    """Each model's mean NLL with its interval, and what it was found on."""
    cards = []
    for name, of_run in zip(names, means, strict=True):
        overall, *studies = of_run
        value, interval = cells(studies[0].nll if len(studies) == 1 else overall.nll, signed=False)
        note = f"{INTERVAL} {interval}" if interval != NOTHING else "no interval"
        cards.append(Card(f"{name}, nats per response", value, note))
    overall, *studies = means[0]
    counts = {"studies": len(studies), "people": overall.n_participants, "responses": overall.n_responses}
    return (*cards, *(Card(what, number(count)) for what, count in counts.items()))


def side_by_side(names: Sequence[str], means: Sequence[Sequence[MeanNll]], note: str = "") -> Table:
    """The NLL of every study under each model, the means over studies below."""
    of_each = [{mean.name: mean.nll for mean in of_run} for of_run in means]
    rows: list[dict[str, object]] = []
    for mean in means[0]:
        row: dict[str, object] = {"study": mean.name}
        for i, by_study in enumerate(of_each):
            nll = by_study.get(mean.name, UNKNOWN)
            row |= {f"nll{i}": nll.value, f"nll{i}_low": nll.low, f"nll{i}_high": nll.high}
        rows.append(row | {"responses": mean.n_responses})
    columns = {"study": "study"} | {f"nll{i}": name for i, name in enumerate(names)} | {"responses": "responses"}
    return table_of("Models side by side: NLL", pd.DataFrame(rows), columns, note, n_summary=1)


def _over_sessions(names: Sequence[str], curves: Sequence[list[float] | None], any_cut: bool) -> list[ReportFigure]:
    """The NLL along the session of each model; none where no study has whole sessions of ten responses.

    Of a session that was cut nobody knows here where its tenths are.
    """
    known = [curve for curve in curves if curve]
    if len(known) < len(curves):
        return []
    caption = (
        "Mean NLL in each tenth of a person's session, averaged over the studies whose sessions have ten responses or "
        f"more{' and were not cut' if any_cut else ''}, which are the same at every point. 'centaurlab learning' gives "
        "intervals, and what is learned."
    )
    return [_figure("session", caption, session_curves(names, known))]


def nll_by_tenth(scores: pd.DataFrame) -> list[float] | None:
    """Mean NLL in each tenth of a session, mean over studies; sessions of fewer than ten responses are left out."""
    keys = ["study", "experiment", "participant"]
    ordered = scores.sort_values([*keys, "response"])
    sessions = ordered.groupby(keys, observed=True)[NLL]
    n_responses = sessions.transform("size")
    ordered = ordered.assign(tenth=sessions.cumcount() * _TENTHS // n_responses)[n_responses >= _TENTHS]
    if ordered.empty:
        return None
    by_study = ordered.groupby(["study", "tenth"], observed=True)[NLL].mean()
    return [float(value) for value in by_study.groupby("tenth").mean()]


def worst_table(name: str, run: ScoreRun) -> Table:
    """The responses that the model expected least."""
    scores = run.table([NLL]).to_pandas().nlargest(_WORST, NLL)
    columns = {one: one for one in ("study", "experiment", "participant", "response")} | {NLL: "NLL (nats)"}
    title = f"The {len(scores)} responses expected least: {name}"
    return table_of(
        title, scores, columns, "response: its number in the session, from 0; 'centaurlab view' shows the texts"
    )


def _mean_answer(name: str, means: Sequence[MeanNll]) -> str:
    """The mean over studies; of a single study, its own, by its people."""
    overall, *studies = means
    if len(studies) > 1:
        return f"{name}: over {len(studies)} studies, {in_words(overall.nll, MEAN_NLL, these=overall.nll_these)}"
    return f"{name}: in {studies[0].name}, {in_words(studies[0].nll, MEAN_NLL, 'people')}"


def _labels(runs: Sequence[ScoreRun]) -> list[str]:
    names = [model_label(run.model) for run in runs]
    names = names if len(set(names)) == len(names) else [run.model for run in runs]
    return names if len(set(names)) == len(names) else [str(run.folder) for run in runs]


def nll_table(name: str, means: Sequence[MeanNll]) -> Table:
    """NLL and accuracy of every study, the means over studies below."""
    frame = pd.DataFrame(
        {
            "study": mean.name,
            "NLL": mean.nll.value,
            "NLL_low": mean.nll.low,
            "NLL_high": mean.nll.high,
            "accuracy": mean.accuracy.value,
            "accuracy_low": mean.accuracy.low,
            "accuracy_high": mean.accuracy.high,
            "responses": mean.n_responses,
            "people": mean.n_participants,
        }
        for mean in means
    )
    return table_of(f"Studies: {name}", frame, note="accuracy: of single-token responses alone", n_summary=1)
