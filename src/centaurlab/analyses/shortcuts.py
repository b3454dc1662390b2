"""What a model still predicts when the task is taken away: the battery's conditions against sessions as they were told.

The job tells the sessions anew and scores them (``jobs/shortcuts.py``); here the same responses are joined over
conditions and models, and what each condition costs and explains is put into tables, figures and sentences.
"""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from centaurlab.analyses.analysis import Analysis, Finding
from centaurlab.analyses.finished import Run, command, facts_of, folder_pictures, read_table
from centaurlab.display.figures.intervals import Row, change_rows
from centaurlab.display.figures.style import SERIES, model_labels
from centaurlab.display.section import INTERVALS, NLL, Section
from centaurlab.display.tables import Table, table_of
from centaurlab.results.run import ScoreRun, is_score_folder, scored_models
from centaurlab.results.table import N_OPTIONS, RESPONSE, SESSION, person_names
from centaurlab.results.table import NLL as NLL_COLUMN
from centaurlab.runtime.errors import UserError
from centaurlab.stats.arguments import EstimateArguments
from centaurlab.stats.estimate import Estimate
from centaurlab.stats.shortcuts import ALL_STUDIES, Cost, ToldTwice, costs
from centaurlab.stats.words import Quantity, in_words, listed

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WORDS = {
    "no_instructions": "no instructions",
    "length_control": "neutral text for instructions",
    "misleading": "misleading instructions",
    "answers_only": "answers only",
    "no_history": "no history",
    "foreign_history": "another's history",
    "shuffled_trials": "trials shuffled",
    "no_stimulus": "another trial's stimulus",
    "swapped_options": "options swapped",
}
"""Each condition in words."""

NAMED, OTHERS = "misleading: the option named", "misleading: other options"
"""The responses of a misleading instruction that are as it says, and the rest: who follows it gains on the former."""

DESCRIPTION = """Is it the task? What a model still predicts when the task is taken away, told wrongly or swapped.

examples:
  centaurlab shortcuts --model gemma-3-270m --data starter --max_participants 4 --output_dir runs/shortcuts
  centaurlab shortcuts --model BASE POST CENTAUR --data marcelbinz/Psych-201-test --output_dir runs/shortcuts \\
      --conditions answers_only swapped_options

Conditions: no_instructions, length_control (neutral text of the same length in their place), misleading (an
instruction to answer always the same), answers_only, no_history, foreign_history (another person's trials before each
trial), shuffled_trials, no_stimulus (another trial's), swapped_options (their names reversed in the text, answers
kept); or all. Three sessions of each are shown before anything is scored, and so is what a condition cannot be applied
to. All is compared with the sessions as told, on the same responses. Cost: nats per response; share: how much of what
the model predicts beyond chance is left in the condition; task use: what swapped options cost.
Output: shortcuts.csv, audit.csv, inapplicable.csv, run.json, figures, and the folders of scores.
"""

COST = Quantity("cost", "nats per response", is_difference=True)
TASK_USE = Quantity("task use", "nats per response", is_difference=True)
MORE = Quantity("difference", "nats per response", is_difference=True)
SHARE = Quantity("share")
BEYOND = Quantity("chance − NLL", "nats per response", is_difference=True)
_KEYS = [*SESSION, RESPONSE]
_SWAPPED = WORDS["swapped_options"]


@dataclass
class ShortcutArguments:
    """Which models, in which conditions."""

    model_name_or_path: list[str] = field(
        metadata={"help": "one model or several; the others are held against the first"}
    )
    output_dir: str = field(metadata={"help": "folder for shortcuts.csv, audit.csv, run.json and scores"})
    conditions: list[str] = field(
        default_factory=lambda: ["all"], metadata={"help": f"all, or some of {', '.join(WORDS)}"}
    )

    def __post_init__(self) -> None:
        for name in self.model_name_or_path:
            if is_score_folder(Path(name)):
                raise UserError(f"{name} is a folder of scores; name the model, to score it in every condition")
        if len(self.model_name_or_path) > len(SERIES):
            raise UserError(
                f"--model_name_or_path names {len(self.model_name_or_path)} models; a figure tells {len(SERIES)} apart"
            )
        for name in self.conditions:
            if name not in (*WORDS, "all"):
                raise UserError(f"--conditions {name!r} is no condition; choose all, or some of {', '.join(WORDS)}")

    @property
    def chosen(self) -> list[str]:
        """The conditions, in the battery's order."""
        return [name for name in WORDS if "all" in self.conditions or name in self.conditions]


def find_shortcuts(
    as_told: Mapping[str, ScoreRun],
    conditions: Mapping[str, Mapping[str, ScoreRun]],
    estimates: EstimateArguments,
    as_named: AbstractSet[tuple[str, str, str, int]] = frozenset(),
) -> Finding:
    """Costs and shares of each condition as tables, figures and sentences.

    ``as_told``: the runs by model; ``conditions``: those of each condition. ``as_named``: the responses, by session and
    number, that are what the misleading instruction asks for.
    """
    told = {model: _responses(run) for model, run in as_told.items()}
    found = {}
    for name, runs in conditions.items():
        joined = _joined(told, {model: _responses(run) for model, run in runs.items()})
        parts = {WORDS[name]: joined}
        if name == "misleading" and as_named:
            is_named = pd.Series(
                [key in as_named for key in joined[_KEYS].itertuples(index=False, name=None)], joined.index
            )
            parts |= {NAMED: joined[is_named], OTHERS: joined[~is_named]}
        for words, rows in parts.items():
            if len(rows):
                of_models = costs(_told_twice(rows, len(told)), estimates.resamples, estimates.seed)
                found[words] = dict(zip(as_told, of_models, strict=True))
    n_studies = next(iter(told.values()))["study"].nunique()
    cut = [WORDS[name] for name in conditions if WORDS[name] not in found]
    if not found:
        raise UserError(f"no response was scored by every model as told and with {listed(cut)}; raise --max_length")
    said = verdicts(found, n_studies)
    if cut:
        said.append(f"no response was scored by every model as told and with {listed(cut)}; see --max_length")
    table = shortcut_table(found)
    first = next(iter(as_told.values()))
    return Finding(
        tables={"shortcuts.csv": table},
        record={
            "verdict": "; ".join(said),
            "verdicts": said,
            "data": {key: first.about["data"][key] for key in ("name", "fingerprint", "studies")},
            "models": scored_models(as_told),
            "scores": {
                name: {model: str(run.folder) for model, run in runs.items()}
                for name, runs in {"as_told": as_told, **conditions}.items()
            },
        },
        figures=figures_of(found, n_studies),
        metrics=[(None, _metrics(found))],
        shown=[*shown_tables(table), *said],
    )


def _responses(run: ScoreRun) -> pd.DataFrame:
    frame: pd.DataFrame = run.table([NLL_COLUMN, N_OPTIONS]).to_pandas()
    frame = frame.astype(dict.fromkeys(SESSION, str))
    frame["who"] = person_names(frame)
    return frame[[*_KEYS, "who", NLL_COLUMN, N_OPTIONS]]


def _joined(as_told: Mapping[str, pd.DataFrame], condition: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Responses that every model scored in both."""
    models = list(as_told)
    joined = as_told[models[0]].rename(columns={NLL_COLUMN: "told 0"})
    for m, model in enumerate(models):
        if m:
            joined = joined.merge(
                as_told[model][[*_KEYS, NLL_COLUMN]].rename(columns={NLL_COLUMN: f"told {m}"}), on=_KEYS
            )
        joined = joined.merge(condition[model][[*_KEYS, NLL_COLUMN]].rename(columns={NLL_COLUMN: f"new {m}"}), on=_KEYS)
    return joined


def _told_twice(joined: pd.DataFrame, n_models: int) -> dict[str, ToldTwice]:
    """The responses by study."""
    found = {}
    for study, rows in joined.groupby("study", sort=True):
        told_MR, new_MR = (
            rows[[f"{side} {m}" for m in range(n_models)]].to_numpy(np.float64).T for side in ("told", "new")
        )
        n_options_R = rows[N_OPTIONS].to_numpy(np.float64, na_value=np.nan)
        chance_R = np.log(np.where(n_options_R > 0, n_options_R, np.nan))
        found[str(study)] = ToldTwice(pd.factorize(rows["who"])[0].astype(np.int64), chance_R, told_MR, new_MR)
    return found


Found = Mapping[str, Mapping[str, Sequence[Cost]]]
"""Costs by condition, in words, and model, over all studies first."""


def shortcut_table(found: Found) -> pd.DataFrame:
    """A row per condition, model and study, over all studies first; in nats per response."""
    return pd.DataFrame(
        {"condition": words, "model": model, "study": one.study}
        | {"nll_as_told": one.as_told, "nll_condition": one.condition}
        | _flat("cost", one.cost, one.cost_these)
        | _flat("share", one.share, one.share_these)
        | _flat("more", one.more, one.more_these)
        | {"q": one.q, "responses": one.n_responses, "people": one.n_participants}
        for words, of in found.items()
        for model, rows in of.items()
        for one in rows
    )


def _flat(name: str, estimate: Estimate, these: Estimate) -> dict[str, float]:
    ends = {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
    return ends | {f"{name}_low_these": these.low, f"{name}_high_these": these.high}


def verdicts(found: Found, n_studies: int) -> list[str]:
    """Of each model its task use and the largest shares, and what it loses more than the first one, in sentences.

    A condition that does not apply to all of the ``n_studies`` of the data says to how many, or to which.
    """
    said = []
    models = list(labels := model_labels(next(iter(found.values()))))
    for model in models:
        overall = {words: _one(of[model]) for words, of in found.items() if words not in (NAMED, OTHERS)}
        parts = []
        if _SWAPPED in overall:
            one = overall[_SWAPPED]
            where = _where(found[_SWAPPED][model], n_studies)
            parts.append(
                f"options swapped{where}, {_size(one.cost, one.cost_these, TASK_USE, of=found[_SWAPPED][model])}"
            )
        for words, one in overall.items():
            if words != _SWAPPED and one.share.is_defined:
                rows = found[words][model]
                these = None if len(rows) == 2 else one.share_these
                where = _where(rows, n_studies)
                parts.append(f"what is left with {words}{where}: {in_words(one.share, SHARE, _units(rows), these)}")
        if overall and not any(one.share.is_defined for one in overall.values()):
            beyond = next(iter(overall.values())).beyond
            why = "as it is not known what could have been answered"
            if beyond.is_defined:
                size = in_words(beyond, BEYOND, "people")
                why = f"as it does not surely predict these people better than chance ({size})"
            parts.append(f"no share can be given, {why}")
        said.append(f"{labels[model]}: {'; '.join(parts)}")
    for model in models[1:]:
        if _SWAPPED in found:
            rows = found[_SWAPPED][model]
            one = _one(rows)
            size = _size(one.more, one.more_these, MORE, of=rows)
            names = f"{labels[model]} minus that of {labels[models[0]]}{_where(rows, n_studies)}"
            said.append(f"task use of {names}: {size}")
    return said


def _one(rows: Sequence[Cost]) -> Cost:
    """Over all studies; of one study, that study, whose interval is of its people."""
    return rows[1] if len(rows) == 2 else rows[0]


def _where(rows: Sequence[Cost], n_studies: int) -> str:
    """To which of the data's studies a condition applies, or to how many; nothing where to all."""
    n = len(rows) - 1
    if n == n_studies:
        return ""
    return f" in {rows[1].study} alone" if n == 1 else f" ({n} of {n_studies} studies)"


def _units(rows: Sequence[Cost]) -> str:
    return "people" if len(rows) == 2 else "studies"


def _size(estimate: Estimate, these: Estimate, quantity: Quantity, of: Sequence[Cost]) -> str:
    return in_words(estimate, quantity, _units(of), None if len(of) == 2 else these)


def _metrics(found: Found) -> dict[str, float]:
    return {
        f"{what}/{model}/{name}": value
        for name, of in found.items()
        for model, rows in of.items()
        for what, value in (("cost", rows[0].cost.value), ("share", rows[0].share.value))
        if value == value
    }


def figures_of(found: Found, n_studies: int) -> "dict[str, Figure]":
    """Costs and shares of each condition by model, and task use by study."""
    models = list(next(iter(found.values())))
    names = list(model_labels(models).values())

    def rows(what: str) -> list[Row]:
        return [
            Row(words + _where(of[model], n_studies), getattr(one, what), m, these=getattr(one, f"{what}_these"))
            for words, of in found.items()
            if what == "cost" or words not in (NAMED, OTHERS)
            for m, model in enumerate(models)
            for one in [_one(of[model])]
            if getattr(one, what).is_defined
        ]

    cost = "cost (nats per response)\n← predicted better · predicted worse than as told →"
    figures = {"costs": change_rows(rows("cost"), names, "What each condition costs", cost)}
    if shares := rows("share"):
        left = "share of what is predicted beyond chance\nthat is left in the condition (0: none, 1: all)"
        figures["shares"] = change_rows(shares, names, "What shortcuts explain", left)
    if _SWAPPED in found:
        studies = [
            Row(
                "mean over studies" if one.study == ALL_STUDIES else one.study,
                one.cost,
                m,
                one.study == ALL_STUDIES,
                q=one.q,
                these=one.cost_these,
            )
            for m, model in enumerate(models)
            for one in found[_SWAPPED][model]
        ]
        figures["task_use"] = change_rows(studies, names, "Task use: what swapped options cost", cost)
    return figures


def shown_tables(table: pd.DataFrame) -> list[Table]:
    """What each condition costs and explains over all studies; where there is one study, in it."""
    one_study = table[table["study"] != ALL_STUDIES]["study"].nunique() == 1
    overall = table[(table["study"] != ALL_STUDIES) if one_study else (table["study"] == ALL_STUDIES)]
    overall = overall.assign(model=overall["model"].map(model_labels(table["model"])))
    columns = {"condition": "condition", "model": "model", "nll_as_told": "NLL as told", "nll_condition": "NLL"}
    columns |= {"cost": "cost", "share": "share", "responses": "responses", "people": "people"}
    studies = table[table["study"] != ALL_STUDIES].groupby("condition")["study"].nunique()
    if studies.nunique() > 1:  # a condition that does not apply everywhere
        overall, columns = overall.assign(studies=overall["condition"].map(studies)), columns | {"studies": "studies"}
    tables = [table_of("Conditions (nats per response)", overall, columns, signed=["cost"])]
    if overall["more"].notna().any():
        more = {"condition": "condition", "model": "model", "more": "more than the first model"}
        tables.append(table_of("Against the first model", overall[overall["more"].notna()], more, signed=["more"]))
    return tables


def section(run: Run) -> Section:
    """Whether it is the task that a model makes use of."""
    table = read_table(run, "shortcuts")
    refused = read_table(run, "inapplicable")
    studies = table[table["study"] != ALL_STUDIES].assign(model=lambda t: t["model"].map(model_labels(t["model"])))
    columns = {"study": "study", "condition": "condition", "model": "model", "cost": "cost", "share": "share"}
    return Section(
        title=f"Shortcuts on {run.about['data']['name']}",
        question="Is it the task that the model makes use of?",
        answers=tuple(f"{said}." for said in run.about["verdicts"]),
        explanation=(
            "Cost is the NLL in a condition minus that of the same responses as they were told; above zero, people are "
            "predicted worse. Share is how much of what the model predicts beyond chance (all options equally likely) "
            "is left; it is given where the model is better than chance. Task use is what swapped options cost: only "
            "who reads what the options mean gets worse.",
            NLL,
            INTERVALS,
        ),
        figures=folder_pictures([run]),
        tables=(
            *shown_tables(table),
            table_of("By study", studies, columns | {"responses": "responses"}, signed=["cost"]),
            table_of("What a condition cannot be applied to", refused),
            table_of("Three sessions of each condition", read_table(run, "audit")),
        ),
        provenance=tuple(facts_of(run)),
        commands=(command(run),),
    )


ANALYSIS = Analysis("shortcuts", DESCRIPTION, ShortcutArguments, section)
