"""A folder of scores as a table to look at."""

from collections.abc import Sequence
from dataclasses import asdict
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
from centaurlab.display.figures.intervals import Row, nll_rows
from centaurlab.display.figures.style import SERIES, model_label
from centaurlab.display.section import INTERVALS, NLL, Section
from centaurlab.display.tables import Table, table_of
from centaurlab.display.terminal import show
from centaurlab.results.record import ScoreRecord
from centaurlab.results.run import ScoreRun, check_same, read_run
from centaurlab.results.table import SCORES
from centaurlab.runtime.errors import UserError
from centaurlab.stats.means import MEAN_COLUMNS, MeanNll, mean_nlls
from centaurlab.stats.sequential import sample_note
from centaurlab.stats.words import INTERVAL, in_words
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
    show(run_table(run.record), *lines, f"scores: {folder / SCORES}")


def run_table(record: ScoreRecord) -> Table:
    """What a run of scoring says of itself as a table: a row per study, the mean over studies below."""
    counted = ("responses", "scored", "cut", "empty", "failed")
    rows: list[dict[str, object]] = [{"study": "mean over studies", "NLL": record.nll_mean}]
    for study, about in record.data.studies.items():
        row = {"study": study, "NLL": about.nll, "accuracy": about.accuracy, "sessions": about.sessions}
        coverage = asdict(record.coverage[study])
        rows.append(row | {name: coverage[name] for name in counted})
    frame = pd.DataFrame(rows, columns=["study", "NLL", "accuracy", "sessions", *counted], dtype=object)
    title = f"{record.model.name} on {record.data.name} ({record.protocol.name} protocol)"
    note = "NLL: nats, mean over responses, lower is more human-like; accuracy: single-token responses only"
    return table_of(title, frame, note=note, n_summary=1)


def scores_section(runs: Sequence[Run]) -> Section:
    """How well models predict people, all on the same data."""
    if len(runs) > len(SERIES):
        raise UserError(f"one report shows at most {len(SERIES)} score runs; name fewer of the {len(runs)}")
    scored = [read_run(run.folder) for run in runs]
    check_same(scored)
    names = _labels(scored)
    means = [mean_nlls(run.table(MEAN_COLUMNS)) for run in scored]
    data = scored[0].record.data.name
    rows = [
        Row("mean over studies", mean.nll, i, is_summary=True, these=mean.nll_these)
        if mean.level == "overall"
        else Row(mean.name, mean.nll, i)
        for i, of_run in enumerate(means)
        for mean in of_run
    ]
    caption = f"Mean NLL of each study on {data}, with {INTERVAL}s."
    answers = [f"{_mean_answer(name, of_run)}." for name, of_run in zip(names, means, strict=True)]
    if len(runs) > 1:
        answers.append(
            "Whether two models differ is seen on the same responses: compare them with 'centaurlab misalignment'."
        )
    figure = nll_rows(rows, names, f"{names[0]} on {data}" if len(names) == 1 else f"Models on {data}")
    return Section(
        title=f"Scores on {data}",
        question=f"How well {'do models' if len(runs) > 1 else f'does {names[0]}'} predict what people did in {data}?",
        answers=tuple(answers),
        explanation=(NLL, INTERVALS),
        figures=(_figure("nll", caption, figure), *folder_pictures(runs, _OWN_of_jobs)),
        tables=(*map(nll_table, names, means), *coverage_tables(names, runs), *folder_tables(runs, _OWN_of_jobs)),
        provenance=tuple(fact for run in runs for fact in facts_of(run)),
        commands=tuple(command(run) for run in runs),
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
