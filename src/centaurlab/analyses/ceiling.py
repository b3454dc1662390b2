"""How far any model can go: the bracket of each item study, and where models stand between chance and its ends.

The job reads the people (``jobs/ceiling.py``); models are folders of scores of the same responses.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pandas as pd

from centaurlab.analyses.analysis import Analysis, Finding
from centaurlab.analyses.finished import Run, command, facts_of, folder_pictures, has_table, read_table
from centaurlab.cognitive.ceiling import FEW_PEOPLE, FEWEST, Ceiling
from centaurlab.display.figures.style import GREY, INK, LIGHT, SERIES, model_labels, new_figure, short, styled
from centaurlab.display.section import Section
from centaurlab.display.tables import Table, table_of
from centaurlab.results.run import ScoreRun
from centaurlab.results.table import NLL, RESPONSE, SESSION
from centaurlab.runtime.errors import UserError
from centaurlab.stats.estimate import Estimate
from centaurlab.stats.words import INTERVAL, cells

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DESCRIPTION = """How predictable are people? The NLL that no model can go below that does not know the person.

examples:
  centaurlab ceiling --data starter --output_dir runs/ceiling
  centaurlab ceiling --data starter --models runs/gemma runs/baselines/adaptive --output_dir runs/ceiling

Where many people meet the same items: a lower bound (entropy of the answers) and what predicting each person from the
others at the item achieves; the truth lies between. With --models, folders of scores on this data: how complete each
is, 0 at chance and 1 at either end. A model that learns who a person is may pass 1.
Output: ceiling.csv, completeness.csv (with --models), run.json, figures.
"""
_NOTE = (
    f"bound and achieved: the truth lies between; intervals over people, of {FEWEST} or more. person: achieved by who "
    f"knows the person's other answers, where answers are steps of one scale; its interval needs {FEW_PEOPLE} people."
)


@dataclass
class CeilingArguments:
    """Which models are placed between chance and ceiling, and where the result goes."""

    output_dir: str = field(metadata={"help": "folder for ceiling.csv, completeness.csv and run.json"})
    models: list[str] = field(
        default_factory=list, metadata={"help": "folders of scores on this data; six at most, none is needed"}
    )

    def __post_init__(self) -> None:
        if len(self.models) > len(SERIES):
            raise UserError(f"--models names {len(self.models)} folders; a figure tells {len(SERIES)} apart at most")


def find_ceiling(ceilings: Sequence[Ceiling], without: Sequence[str], runs: Mapping[str, ScoreRun]) -> Finding:
    """The bracket of each study and the completeness of each model; ``without``: studies that have no items."""
    if not ceilings:
        raise UserError(f"no ceiling, as no item with options is met by two people: {', '.join(without)}")
    frame = pd.DataFrame(map(_row, ceilings))
    places = pd.DataFrame(
        [row for name, run in runs.items() for row in _places(name, run, ceilings)],
        columns=["study", "model", "nll", "completeness_of_bound", "completeness_of_achieved", "responses"],
    )
    said = [_sentence(one) for one in ceilings]
    if without:
        said.append(f"no ceiling, as no item with options is met by two people: {', '.join(without)}")
    narrow = [one.study for one in ceilings if not one.is_wide]
    verdict = (
        f"{len(narrow)} of {len(ceilings)} item studies have enough people per item to say how predictable people are"
        + (f": {', '.join(narrow)}" if narrow else "")
    )
    tables = {"ceiling.csv": frame} | ({"completeness.csv": places} if runs else {})
    shown = [_brackets(frame.drop(columns="chao_shen"))]
    if runs:
        shown.append(table_of("Completeness: 0 at chance, 1 at the end named", places))
    return Finding(
        tables=tables,
        record={"verdict": verdict, "notes": said},
        figures={"ceiling": ceiling_figure(ceilings, places)},
        shown=[*shown, *said, verdict],
    )


def _brackets(frame: pd.DataFrame) -> Table:
    return table_of("Ceiling (nats per response)", frame, note=_NOTE, no_interval="too few people")


def _row(one: Ceiling) -> dict[str, object]:
    return {
        "study": one.study,
        "chance": one.chance,
        "bound": one.bound.value,
        "bound_low": one.bound.low,
        "bound_high": one.bound.high,
        "achieved": one.achieved.value,
        "achieved_low": one.achieved.low,
        "achieved_high": one.achieved.high,
        "person": one.person.value,
        "person_low": one.person.low,
        "person_high": one.person.high,
        "chao_shen": one.chao_shen,
        "items": one.n_items,
        "people_per_item": one.people_per_item,
        "people": one.n_people,
        "responses": len(one.responses),
        "too_few": one.is_wide,
    }


def _sentence(one: Ceiling) -> str:
    known = f"; who knows the person's other answers, too, achieves {_with_interval(one.person)}"
    known = known if one.person.is_defined else ""
    few = ": too few people per item to say it more narrowly" if one.is_wide else ""
    return (
        f"{one.study}: {_with_interval(one.bound)} is the least that can be expected of a model that does not know "
        f"the person, and {_with_interval(one.achieved)} is achieved, with {one.people_per_item:g} people at the "
        f"median item{few}{known}"
    )


def _with_interval(end: Estimate) -> str:
    value, interval = cells(end, signed=False)
    return f"{value} ({INTERVAL} {interval})" if end.has_interval else f"{value} (too few people for an interval)"


def _places(name: str, run: ScoreRun, ceilings: Sequence[Ceiling]) -> list[dict[str, object]]:
    """A model's NLL on the responses at items, study by study; responses that it did not score are left out."""
    table = run.table([NLL]).to_pandas()
    keys = zip(*(table[column].astype(str) for column in SESSION), table[RESPONSE], strict=True)
    nll_of = dict(zip(keys, table[NLL], strict=True))
    rows = []
    for one in ceilings:
        asked = [(key.study, key.experiment, key.participant, response) for key, response in one.responses]
        found = [float(nll_of[key]) for key in asked if key in nll_of]
        if not found:
            continue
        if len(found) < len(asked):  # the ends are of all responses: others may be easier
            rows.append(dict(study=one.study, model=name, nll=math.nan, responses=len(found)))
            continue
        nll = sum(found) / len(found)
        low, high = one.completeness(nll)
        about = {"completeness_of_bound": low, "completeness_of_achieved": high, "responses": len(found)}
        rows.append({"study": one.study, "model": name, "nll": nll} | about)
    return rows


@styled
def ceiling_figure(ceilings: Sequence[Ceiling], places: pd.DataFrame) -> "Figure":
    """NLL of each model between chance (open circle) and the bracket (grey band), a line per study."""
    figure = new_figure(22 + 5 * len(ceilings))
    axes = figure.add_subplot()
    models = list(labels := model_labels(places["model"]))
    for y, one in enumerate(ceilings):
        axes.plot([one.bound.value, one.achieved.value], [y, y], color=LIGHT, linewidth=7, solid_capstyle="butt")
        axes.plot([one.achieved.value, one.chance], [y, y], color=LIGHT, linewidth=0.6)
        axes.plot([one.chance], [y], marker="o", markerfacecolor="white", color=GREY, markersize=3.5)
        for model, (colour, marker) in zip(models, SERIES, strict=False):
            at = places[(places["model"] == model) & (places["study"] == one.study)]["nll"]
            axes.plot(at, [y] * len(at), marker=marker, color=colour, markersize=3.5, linestyle="none")
    axes.set_yticks(range(len(ceilings)), [short(one.study, 26) for one in ceilings])
    axes.set_ylim(len(ceilings) - 0.5, -0.5)
    axes.set_xlim(left=0)
    axes.set_title("Chance (open), ceiling (grey band)" + (", models" if models else ""), color=INK)
    axes.set_xlabel("NLL (nats per response; lower: closer to people)")
    for model, (colour, marker) in zip(models, SERIES, strict=False):
        axes.plot([], [], marker=marker, color=colour, markersize=3.5, linestyle="none", label=labels[model])
    if models:
        figure.legend(loc="outside lower center", ncols=2)
    return figure


def section(run: Run) -> Section:
    """How predictable people are, and how far models get."""
    tables = [_brackets(read_table(run, "ceiling"))]
    if has_table(run, "completeness"):
        tables.append(table_of("Completeness", read_table(run, "completeness")))
    return Section(
        title="Ceiling",
        question="How predictable are people, and how far is that reached?",
        answers=(f"{run.about['verdict']}.", *(f"{note}." for note in run.about["notes"])),
        explanation=(
            "The bound is the entropy of the answers to an item; achieved is what predicting each person from the "
            "others gives. A model that learns who a person is may go below both.",
            "Completeness is (chance − NLL) / (chance − end), with either end.",
        ),
        figures=folder_pictures([run]),
        tables=tuple(tables),
        provenance=tuple(facts_of(run)),
        commands=(command(run),),
    )


ANALYSIS = Analysis("ceiling", DESCRIPTION, CeilingArguments, section)
