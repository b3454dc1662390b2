"""The tables of a report, and what else a run's folder holds to be shown."""

from collections.abc import Sequence

import pandas as pd

from centaurlab.effect_table import effects_table
from centaurlab.effects import Effect
from centaurlab.errors import UserError
from centaurlab.mean_nll import MeanNll
from centaurlab.report.content import ReportFigure, ReportTable, table_of
from centaurlab.report.folders import Run

_COVERAGE = ("sessions", "responses", "scored", "cut", "empty", "failed", "malformed")
_COVERAGE_NOTE = (
    "cut: beyond the context window; failed: memory did not suffice for the session, or the model gave a NaN or "
    "infinite number; malformed: an opening mark of a response that is never closed"
)


def nll_table(name: str, means: Sequence[MeanNll]) -> ReportTable:
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


def level_table(title: str, effects: Sequence[Effect], level: str) -> ReportTable:
    """The effects of a level, those over all studies below, as ``effects.csv`` has them."""
    chosen = [effect for effect in effects if effect.level in ("overall", level)]
    columns = {"name": level, "d": "d", "d_paired": "paired d", "nll_base": "NLL base", "nll_post": "NLL post"}
    columns |= {"n_responses": "responses", "n_participants": "people"}
    if level == "domain":
        columns |= {"n_studies": "studies"}
    return table_of(title, effects_table(chosen), columns, n_summary=sum(e.level == "overall" for e in chosen))


def pair_table(effects: Sequence[Effect]) -> ReportTable:
    """Effects over all studies of every pair, the averages over pairs below."""
    overall = [effect for effect in effects if effect.level == "overall"]
    columns = {"group_name": "post-trained", "base": "base", "n_pairs": "pairs", "d": "d", "d_paired": "paired d"}
    columns |= {"nll_base": "NLL base", "nll_post": "NLL post", "n_responses": "responses"}
    n_averages = sum(effect.group != "pair" for effect in overall)
    return table_of("Pairs and their averages", effects_table(overall), columns, n_summary=n_averages)


def coverage_tables(names: Sequence[str], runs: Sequence[Run]) -> list[ReportTable]:
    """What became of every response that stands in the text; models of which the same is true share a table."""
    found: dict[str, tuple[list[str], pd.DataFrame]] = {}
    for name, run in zip(names, runs, strict=True):
        sessions = {study: about["sessions"] for study, about in run.about["data"]["studies"].items()}
        rows = [
            {"study": study, "sessions": sessions[study], "failed": 0} | counts
            for study, counts in run.about["coverage"].items()
        ]
        frame = pd.DataFrame(rows, columns=["study", *_COVERAGE])
        found.setdefault(frame.to_json(), ([], frame))[0].append(name)
    return [
        table_of(
            f"Coverage: {', '.join(same)}",
            pd.concat([frame[[*_COVERAGE]].sum().to_frame().T.assign(study="all studies"), frame]),
            {name: name for name in ("study", *_COVERAGE)},
            _COVERAGE_NOTE,
            n_summary=1,
        )
        for same, frame in found.values()
    ]


def folder_tables(runs: Sequence[Run], but_not: frozenset[str] = frozenset()) -> tuple[ReportTable, ...]:
    """The other tables that lie in the folders, such as ``diagnosis.csv``, each under the name of its file."""
    found = []
    for path in (path for run in runs for path in sorted(run.folder.glob("*.csv"))):
        if path.stem in but_not:
            continue
        try:
            frame = pd.read_csv(path)
        except (OSError, ValueError) as error:
            raise UserError(f"{path} cannot be read as a table ({error}); delete it or make it again") from error
        found.append(table_of(_title(path.stem), frame))
    return tuple(found)


def folder_pictures(runs: Sequence[Run], but_not: frozenset[str] = frozenset()) -> tuple[ReportFigure, ...]:
    """The other figures that lie in the folders as PNG."""
    paths = [path for run in runs for path in sorted([*run.folder.glob("*.png"), *run.folder.glob("figures/*.png")])]
    return tuple(
        ReportFigure(path.stem, f"{_title(path.stem)}.", "png", path.read_bytes())
        for path in paths
        if path.stem not in but_not
    )


def _title(stem: str) -> str:
    words = stem.replace("_", " ").replace("nll", "NLL")
    return words[:1].upper() + words[1:]
