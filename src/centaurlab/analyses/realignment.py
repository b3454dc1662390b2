"""How many people does it take to realign a model? The NLL of held-out people by number of others learned from.

The job makes a run of each method, number of people and order of people (``jobs/realignment.py``); here they become
curves, the numbers at which these reach a line, and power laws.
"""

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pandas as pd

from centaurlab.analyses.analysis import Analysis, Finding
from centaurlab.analyses.finished import Run, command, facts_of, folder_pictures, has_table, read_table
from centaurlab.analyses.realigned import (
    ALL_STUDIES,
    LINES,
    METHODS,
    Learned,
    assistant_table,
    curve_table,
    curves_of,
    law_table,
    reached_table,
    sums_of,
)
from centaurlab.display.figures.curves import Line, people_curves
from centaurlab.display.section import INTERVALS, NLL, Section
from centaurlab.display.tables import Table, table_of
from centaurlab.results.run import check_same, scored_data, scored_models
from centaurlab.runtime.errors import UserError
from centaurlab.stats.arguments import EstimateArguments
from centaurlab.stats.estimate import UNKNOWN
from centaurlab.stats.realignment import Points, Reached, curve_points, reached
from centaurlab.stats.words import INTERVAL, Quantity, in_words, no_interval, number, percent

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_GAIN = Quantity("gain", "nats per response", is_difference=True)

_ONE_ORDER = "no interval has whom one learned from: it was one order of people; --orders 0 1 2 takes three"

DESCRIPTION = """How many people does it take to realign a model? NLL of held-out people by number of others.

examples:
  centaurlab realignment --model runs/demo/post-trained --data starter --studies smith2018abortion --people 0 2 8 32 \\
      --max_participants 8 --output_dir runs/realignment
  centaurlab realignment --model gemma-3-270m --data starter --studies smith2018abortion --methods recalibration \\
      baseline --people 0 1 2 4 8 16 32 --orders 0 1 2 --output_dir runs/realignment-cheap
  accelerate launch -m centaurlab realignment --model runs/posttrain --base Qwen/Qwen3-8B-Base \\
      --data marcelbinz/Psych-201 --studies flesch2018comparing --train_config my-lora.yaml --output_dir runs/curve

Of each study the held-out people (--participants test elsewhere; --max_participants of them) are predicted after
learning from the first n of the others in a seeded order (--orders: several), by four methods: lora (an adapter trained
by 'centaurlab train'), context (their sessions before the person's, as far as the window reaches), recalibration (a
temperature and a share of their marginal: two parameters), baseline (the adaptive cognitive model, no language model).
n* is where a curve reaches the base model, or the adaptive baseline that learned from all other people. Every run is
a folder of its own: the same command goes on where it was interrupted, and does nothing twice.
With --simulate models also answer in people's place: how far is what they answer from what people do ('centaurlab
fidelity')? Output: realignment.csv, reached.csv, laws.csv, assistant.csv, fidelity.csv, run.json, a figure, and the
folders of scores, adapters and simulated sessions.
"""


@dataclass
class RealignmentArguments:
    """Which model, how many people, and how they are learned from."""

    model_name_or_path: str = field(metadata={"help": "the model to realign: a post-trained one, say, or its base"})
    output_dir: str = field(metadata={"help": "folder for realignment.csv, run.json, figures, scores and adapters"})
    base: str | None = field(
        default=None, metadata={"help": "base model, a line to reach (default: the one that the model's folder names)"}
    )
    people: list[int] = field(
        default_factory=lambda: [0, 2, 8, 32], metadata={"help": "numbers of people; 0 is always among them"}
    )
    methods: list[str] = field(
        default_factory=lambda: list(METHODS), metadata={"help": f"of {', '.join(METHODS)} (default: all)"}
    )
    orders: list[int] = field(
        default_factory=lambda: [0], metadata={"help": "seeds of the orders in which people are taken"}
    )
    items: int = field(default=200, metadata={"help": "held-out starter-assistant items; 0: do not ask the assistant"})
    simulate: int = field(
        default=0,
        metadata={"help": "fidelity: model, base and adapters answer held-out people's sessions so often; 0: not"},
    )
    yoked: bool = field(
        default=False,
        metadata={"help": "simulate: where feedback answers what was done, tell the model the person's"},
    )
    environment: str | None = field(
        default=None,
        metadata={"help": "simulate: a Python file of your own with ENVIRONMENTS, what follows (it is run)"},
    )
    max_new_tokens: int | None = field(default=None, metadata={"help": "simulate: of an answer of free words"})
    sessions_at_once: int | None = field(default=None, metadata={"help": "simulate: how many sessions share a pass"})
    train_config: str = field(
        default="recipes/configs/gemma-3-270m-starter.yaml",
        metadata={"help": "lora: YAML of 'centaurlab train'; model, data, people and evaluations are set here"},
    )
    passes: float = field(
        default=8.0, metadata={"help": "lora: at most so many passes over the sessions, within the YAML's max_steps"}
    )
    adapters: str | None = field(
        default=None, metadata={"help": "lora: folder of the adapters, which sweeps may share (default: in output_dir)"}
    )

    def __post_init__(self) -> None:
        for name in self.methods:
            if name not in METHODS:
                raise UserError(f"--methods is {name!r}; choose of {', '.join(METHODS)}")
        if min(self.people, default=0) < 0:
            raise UserError(f"--people has {min(self.people)}; numbers of people are at least 0")
        if not self.sizes:
            raise UserError("--people are numbers of people, one of them above 0")
        if not self.orders or min(self.orders) < 0 or len(set(self.orders)) < len(self.orders):
            raise UserError("--orders are seeds, at least 0 and each once")
        if self.simulate < 0:
            raise UserError(f"--simulate is {self.simulate}; give 0 for not at all")
        for name in ("yoked", "environment", "max_new_tokens", "sessions_at_once"):
            if getattr(self, name) and not self.simulate:
                raise UserError(f"--{name} is for models that act; give --simulate as well")
        if self.items < 0 or not (self.passes > 0 and math.isfinite(self.passes)):
            raise UserError("--items must be at least 0, and --passes above 0")

    @property
    def sizes(self) -> tuple[int, ...]:
        """The numbers of people above 0."""
        return tuple(sorted({n for n in self.people if n}))


def find_realignment(
    asked: RealignmentArguments,
    learned: Sequence[Learned],
    estimates: EstimateArguments,
    notes: Sequence[str] = (),
    acted: pd.DataFrame | None = None,
) -> Finding:
    """Curves as tables, figures and sentences.

    ``learned`` has a run of ``MODEL`` with n = 0. ``acted``: rows of ``analyses.fidelity`` with ``method``, ``n`` and
    ``order``, where models were let act.
    """
    check_same([one.run for one in learned], same_context=False)
    sums, n_left_out = sums_of([one.run for one in learned])
    runs: list[tuple[Hashable, int]] = [(one.point, one.order) for one in learned]
    overall, by_study = curve_points(sums, runs, estimates.resamples, estimates.seed)
    curves = curves_of([one.point for one in learned], asked.methods)
    lines = {name: (name, 0) for name in LINES if (name, 0) in overall.place}
    known = {ALL_STUDIES: overall, **by_study}
    table = curve_table(known, curves, lines, sums)
    at_lines = reached_table(known, curves, lines)
    laws = law_table(known, curves)
    assistant = assistant_table(learned)
    said = [*verdicts(overall, curves, lines), *_unfitted(laws)]
    if len({one.order for one in learned if one.n}) == 1:
        notes = [*notes, _ONE_ORDER]
    notes = [*notes, *([f"{n_left_out:,} responses that not every run scored are left out"] if n_left_out else [])]
    tables = {"realignment.csv": table, "reached.csv": at_lines, "laws.csv": laws}
    tables |= {"assistant.csv": assistant} if len(assistant) else {}
    tables |= {"fidelity.csv": acted} if acted is not None else {}
    return Finding(
        tables=tables,
        record={
            "verdict": "; ".join(said),
            "verdicts": said,
            "notes": list(notes),
            "data": scored_data([learned[0].run]),
            "models": scored_models({f"{one.method}, {one.n} people, order {one.order}": one.run for one in learned}),
        },
        figures={"curves": curve_figure(table)},
        metrics=_metrics(table, assistant, acted),
        shown=[
            shown_table(table),
            shown_reached(at_lines),
            *_shown_assistant(assistant),
            *_shown_acted(acted),
            *notes,
            *said,
        ],
    )


def verdicts(points: Points, curves: Mapping[str, Mapping[int, Hashable]], lines: Mapping[str, Hashable]) -> list[str]:
    """Of each method what the most people gain, and where it reaches each line."""
    said = []
    for method, curve in curves.items():
        most = max(curve)
        gain, these = points.change(curve[0], curve[most])
        of_studies = (gain, _GAIN, "studies", these) if len(points.studies) > 1 else (these, _GAIN, "people")
        ends = [f"it {_at_line(reached(points, curve, lines[line]), name, most)}" for line, name in _named(lines)]
        said.append("; ".join([f"{method}, {most} people against none: {in_words(*of_studies)}", *ends]))
    return said


def _named(lines: Mapping[str, Hashable]) -> list[tuple[str, str]]:
    return [(line, name) for line, name in LINES.items() if line in lines]


def _at_line(at: Reached, name: str, most: int) -> str:
    sure = f" ({no_interval('people', UNKNOWN)})"
    if math.isfinite(at.share):
        ends = "" if at.low == at.high else f"{INTERVAL} {_people(at.low)} to {_people(at.high)}; "
        sure = f" ({ends}reached in {percent(at.share)} of resamples)"
    if math.isinf(at.n):
        return f"does not reach {name} with up to {most} people{sure}"
    if at.n == 0:
        return f"is not above {name} with nobody{sure}"
    return f"reaches {name} at n* = {_people(at.n)} people{sure}"


def _unfitted(laws: pd.DataFrame) -> list[str]:
    of_all = laws[laws["study"] == ALL_STUDIES]
    missing = of_all[of_all["a"].isna()]
    if not len(missing):
        return []
    few = missing[missing["sizes"] < 4]["method"].tolist()
    other = missing[missing["sizes"] >= 4]["method"].tolist()
    said = [f"no power law is fitted to {', '.join(few)}: it takes four numbers of people above 0"] if few else []
    return said + ([f"no power law fits {', '.join(other)}"] if other else [])


def _metrics(
    table: pd.DataFrame, assistant: pd.DataFrame, acted: pd.DataFrame | None
) -> list[tuple[int | None, dict[str, float]]]:
    """NLLs by number of people, which is the step, and, of the run, those with the most."""
    overall = table[table["study"] == ALL_STUDIES]
    steps: dict[int | None, dict[str, float]] = {}
    for row in overall.to_dict("records"):
        steps.setdefault(int(row["people"]), {})[f"nll/{row['method']}"] = float(row["nll"])
    for row in _means(assistant, ["method", "people"], "accuracy"):
        steps.setdefault(int(row["people"]), {})[f"assistant/{row['method']}"] = float(row["accuracy"])
    for row in _means(acted, ["method", "n", "axis"], "ratio"):  # axes have units of their own
        steps.setdefault(int(row["n"]), {})[f"fidelity/{row['method']}/{row['axis']}"] = float(row["ratio"])
    return sorted(steps.items(), key=lambda one: one[0] or 0)


def _means(table: pd.DataFrame | None, by: list[str], of: str) -> list[dict[Hashable, Any]]:
    if table is None or not len(table):
        return []
    return table.groupby(by, sort=False)[of].mean().reset_index().to_dict("records")


def curve_figure(table: pd.DataFrame) -> "Figure":
    """NLL by number of people of each method, over all studies, and the lines to reach."""
    overall = table[table["study"] == ALL_STUDIES]
    lines = []
    for method, of in overall.groupby("method", sort=False):
        low, high = (of[f"nll_{end}_these"].fillna(of["nll"]).tolist() for end in ("low", "high"))
        lines.append(Line(str(method), of["people"].tolist(), of["nll"].tolist(), low, high))
    return people_curves(
        [line for line in lines if line.name in METHODS],
        {LINES[line.name]: line.nll[0] for line in lines if line.name in LINES},
    )


def shown_table(table: pd.DataFrame) -> Table:
    """Every point, and the lines, which are of no number of people; all studies below."""
    shown = table if table["study"].nunique() > 2 else table[table["study"] != ALL_STUDIES]
    people = shown["people"].astype(object).mask(shown["method"].isin(LINES))
    shown = shown.assign(
        gain=shown["gain"].where(shown["people"] > 0), people=people, method=shown["method"].replace(LINES)
    )
    columns = {"study": "study", "method": "method", "people": "people", "nll": "NLL", "gain": "gain"}
    columns |= {"gain_per_person": "gain per person", "held_out": "held out", "responses": "responses"}
    n_summary = int((shown["study"] == ALL_STUDIES).sum())
    note = "gain: nats per response less than with nobody, on the same held-out people"
    return table_of("NLL by number of people", shown, columns, note, n_summary=n_summary, signed=["gain"])


def shown_reached(table: pd.DataFrame) -> Table:
    """n* of every method and line."""
    shown = table if table["study"].nunique() > 2 else table[table["study"] != ALL_STUDIES]
    rows = [
        {"study": row["study"], "method": row["method"], "line": LINES[row["line"]]}
        | {"n*": _people(row["n"]), INTERVAL: _interval(row), "reached in resamples": _share(row["share_reached"])}
        for row in shown.to_dict("records")
    ]
    note = "n*: people with whom a curve reaches the line; between the numbers tried, linear in log(1 + n)"
    return table_of("Where the curves reach a line", pd.DataFrame(rows), note=note)


def _people(n: float) -> str:
    return "not reached" if math.isinf(n) else number(n, decimals=1)


def _interval(row: Mapping[Hashable, Any]) -> str:
    if math.isnan(row["n_low"]):
        return "–"
    low, high = _people(row["n_low"]), _people(row["n_high"])
    return low if low == high else f"{low} to {high}"


def _share(share: float) -> str:
    return "–" if math.isnan(share) else percent(share)


def _shown_assistant(table: pd.DataFrame) -> list[Table]:
    note = "context and recalibration leave the weights, and so the assistant, as they are (model)"
    return [table_of("The assistant: right answers to held-out items", table, note=note)] if len(table) else []


def _shown_acted(table: pd.DataFrame | None) -> list[Table]:
    if table is None:
        return []
    names = ("method", "n", "order", "study", "axis", "distance", "floor", "ratio", "verdict")
    note = (
        "distance of the model's own answers from people's, beside its floor, what two halves of the people are apart"
    )
    return [table_of("Fidelity, where the model acts", table, {name: name for name in names}, note)]


def section(run: Run) -> Section:
    """How many people it takes."""
    table, at_lines = read_table(run, "realignment"), read_table(run, "reached")
    known = {name: read_table(run, name) for name in ("assistant", "fidelity") if has_table(run, name)}
    return Section(
        title=f"Realignment by {run.about['data']['name']}",
        question="How many people does it take to realign the model?",
        answers=tuple(f"{said}." for said in run.about["verdicts"]),
        explanation=(
            "The same held-out people are predicted after learning from n others: "
            + "; ".join(f"{name}: {about}" for name, about in METHODS.items())
            + ". n* is where a curve reaches the base model, or the adaptive baseline that learned from all training "
            "people; its interval has percentiles of resamples of held-out people and of orders, as wide as those of "
            "NLLs are.",
            "Recalibration's marginal and the baseline know which answers there are, and a language model does not: "
            "what the baseline has with nobody is of no person, and so is that part of both methods' gains and n*.",
            NLL,
            INTERVALS,
        ),
        figures=folder_pictures([run]),
        tables=(
            shown_table(table),
            shown_reached(at_lines),
            table_of("Power laws, NLL = a + b n^−c", read_table(run, "laws")),
            *_shown_assistant(known.get("assistant", pd.DataFrame())),
            *_shown_acted(known.get("fidelity")),
        ),
        provenance=tuple(facts_of(run)),
        commands=(command(run),),
    )


ANALYSIS = Analysis("realignment", DESCRIPTION, RealignmentArguments, section)
