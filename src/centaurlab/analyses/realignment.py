"""How many people does it take to realign a model? The NLL of held-out people by number of others learned from.

The job makes a run of each method, number of people and order of people (``jobs/realignment.py``); here they become
curves, the numbers at which these reach a line, and power laws.
"""

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from centaurlab.analyses.analysis import Analysis, Finding
from centaurlab.analyses.finished import Run, command, facts_of, folder_pictures, read_table
from centaurlab.display.figures.curves import Line, people_curves
from centaurlab.display.section import INTERVALS, NLL, Section
from centaurlab.display.tables import Table, table_of
from centaurlab.results.run import ScoreRun, check_same, scored_data, scored_models
from centaurlab.results.table import NLL as NLL_COLUMN
from centaurlab.results.table import PERSON, RESPONSE, SESSION, STUDY, person_names
from centaurlab.runtime.errors import UserError
from centaurlab.stats.arguments import EstimateArguments
from centaurlab.stats.estimate import Accuracy, Estimate, FloatArray
from centaurlab.stats.realignment import Points, Reached, curve_points, power_law, reached
from centaurlab.stats.words import INTERVAL, Quantity, in_words, number, percent

if TYPE_CHECKING:
    from matplotlib.figure import Figure

METHODS = {
    "lora": "a LoRA adapter trained on their sessions",
    "context": "their sessions before that of the person who is predicted",
    "recalibration": "a temperature and a share of their marginal, fitted to their scores",
    "baseline": "the adaptive cognitive baseline, without a language model",
}
"""What is learned of people, and how."""

MODEL, BASE, EVERYBODY = "model", "base", "everybody"
"""Runs beside those: the model as it is, its base, and the adaptive baseline that learned of all training people."""

LINES = {BASE: "the base model", EVERYBODY: "the adaptive baseline of all training people"}
ALL_STUDIES = "all studies"
_GAIN = Quantity("gain", "nats per response", is_difference=True)

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
Output: realignment.csv, reached.csv, laws.csv, assistant.csv, run.json, a figure, folders of scores and adapters.
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
        if min(self.people, default=0) < 0 or max(self.people, default=0) < 1:
            raise UserError("--people are numbers of people, one of them above 0")
        if not self.orders or min(self.orders) < 0 or len(set(self.orders)) < len(self.orders):
            raise UserError("--orders are seeds, at least 0 and each once")
        if self.items < 0 or not (self.passes > 0 and math.isfinite(self.passes)):
            raise UserError("--items must be at least 0, and --passes above 0")

    @property
    def sizes(self) -> tuple[int, ...]:
        """The numbers of people above 0."""
        return tuple(sorted({n for n in self.people if n}))


@dataclass(frozen=True)
class Learned:
    """One run: the scores of held-out people after learning from ``n`` others in an order.

    ``model``: the one with these weights, where they are not those of another run; ``accuracy``: how good an assistant
    it is, where it was asked.
    """

    method: str
    n: int
    order: int
    run: ScoreRun
    model: str | None = None
    accuracy: Accuracy | None = None

    @property
    def point(self) -> tuple[str, int]:
        """The point of a curve that it is of."""
        return self.method, self.n


def find_realignment(
    asked: RealignmentArguments,
    learned: Sequence[Learned],
    estimates: EstimateArguments,
    record: Mapping[str, Any],
    notes: Sequence[str] = (),
) -> Finding:
    """Curves as tables, figures and sentences; ``learned`` has a run of ``MODEL`` with n = 0."""
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
    notes = [*notes, *([f"{n_left_out:,} responses that not every run scored are left out"] if n_left_out else [])]
    tables = {"realignment.csv": table, "reached.csv": at_lines, "laws.csv": laws}
    return Finding(
        tables=tables | ({"assistant.csv": assistant} if len(assistant) else {}),
        record={
            "verdict": "; ".join(said),
            "verdicts": said,
            "notes": list(notes),
            "data": scored_data([learned[0].run]),
            "models": scored_models({f"{one.method}, {one.n} people, order {one.order}": one.run for one in learned}),
            **record,
        },
        figures={"curves": curve_figure(table)},
        metrics=_metrics(table, assistant),
        shown=[shown_table(table), shown_reached(at_lines), *_shown_assistant(assistant), *notes, *said],
    )


def sums_of(runs: Sequence[ScoreRun]) -> tuple[dict[str, FloatArray], int]:
    """By study (P, 1 + M): each person's number of responses that all runs scored, and Σ NLL in each run.

    And how many responses are left out, which some run did not score.
    """
    key = [*SESSION, RESPONSE]
    columns, who, seen = [], None, set()
    for number_of_run, run in enumerate(runs):
        frame = run.table([NLL_COLUMN]).to_pandas().astype(dict.fromkeys(SESSION, str))
        if who is None:
            who = frame.assign(**{PERSON: person_names(frame)}).set_index(key)[PERSON]
        columns.append(frame.set_index(key)[NLL_COLUMN].rename(number_of_run))
        seen.update(columns[-1].index)
    joined = pd.concat(columns, axis=1, join="inner").astype(np.float64)
    if not len(joined):
        raise UserError("no response was scored in every run; raise --max_length, or leave --methods context away")
    assert who is not None, "there is a run"
    joined = joined.assign(n=1.0, who=who.reindex(joined.index))
    sums = joined.groupby([STUDY, "who"])[["n", *range(len(runs))]].sum()
    by_study = {str(study): of.to_numpy(np.float64) for study, of in sums.groupby(level=STUDY)}
    return by_study, len(seen) - len(joined)


def curves_of(points: Sequence[tuple[str, int]], methods: Sequence[str]) -> dict[str, dict[int, Hashable]]:
    """By method the point of each number of people; 0 is the model as it is, but for the baseline."""
    curves: dict[str, dict[int, Hashable]] = {}
    for method in (one for one in METHODS if one in methods):
        found: dict[int, Hashable] = {n: (of, n) for of, n in points if of == method}
        curves[method] = {0: (MODEL, 0)} | found
    return {method: dict(sorted(curve.items())) for method, curve in curves.items() if len(curve) > 1}


def curve_table(
    known: Mapping[str, Points],
    curves: Mapping[str, Mapping[int, Hashable]],
    lines: Mapping[str, Hashable],
    sums: Mapping[str, FloatArray],
) -> pd.DataFrame:
    """A row per study, method and number of people; ``gain``: nats per response less than with nobody."""
    rows = []
    for study, points in known.items():
        of = list(sums.values()) if study == ALL_STUDIES else [sums[study]]
        counted = {"responses": int(sum(one[:, 0].sum() for one in of)), "held_out": sum(map(len, of))}
        for method, curve in {**curves, **{line: {0: point} for line, point in lines.items()}}.items():
            for n, point in curve.items():
                nll, nll_these = points.nll(point)
                row = {"study": study, "method": method, "people": n} | _columns("nll", nll, nll_these)
                gain, gain_these = points.change(curve[0], point)
                row |= _columns("gain", gain, gain_these) if n else _columns("gain", Estimate(math.nan))
                rows.append(row | {"gain_per_person": gain.value / n if n else math.nan} | counted)
    return pd.DataFrame(rows)


def _columns(name: str, estimate: Estimate, these: Estimate | None = None) -> dict[str, float]:
    other = these or estimate
    ends = {f"{name}_low": estimate.low, f"{name}_high": estimate.high}
    return {name: estimate.value} | ends | {f"{name}_low_these": other.low, f"{name}_high_these": other.high}


def reached_table(
    known: Mapping[str, Points], curves: Mapping[str, Mapping[int, Hashable]], lines: Mapping[str, Hashable]
) -> pd.DataFrame:
    """n* by study, method and line; infinite where a curve does not reach it with the numbers of people tried."""
    rows = []
    for study, points in known.items():
        for method, curve in curves.items():
            for line, point in lines.items():
                at = reached(points, curve, point)
                row = {"study": study, "method": method, "line": line, "n": at.n, "n_low": at.low, "n_high": at.high}
                rows.append(row | {"share_reached": at.share, "most_people": max(curve)})
    names = ["study", "method", "line", "n", "n_low", "n_high", "share_reached", "most_people"]
    return pd.DataFrame(rows, columns=names)


def law_table(known: Mapping[str, Points], curves: Mapping[str, Mapping[int, Hashable]]) -> pd.DataFrame:
    """a, b and c of NLL = a + b n^−c by study and method; a dash where it is not fitted."""
    rows = []
    for study, points in known.items():
        for method, curve in curves.items():
            law = power_law(points, curve)
            row = {"study": study, "method": method, "sizes": sum(n > 0 for n in curve)}
            values = (law.a, law.b, law.c) if law else (Estimate(math.nan), math.nan, Estimate(math.nan))
            a, b, c = values
            row |= {"a": a.value, "a_low": a.low, "a_high": a.high, "b": b}
            rows.append(row | {"c": c.value, "c_low": c.low, "c_high": c.high})
    return pd.DataFrame(rows)


def assistant_table(learned: Sequence[Learned]) -> pd.DataFrame:
    """A row per run of which the assistant was asked; other methods leave the model's weights as they are."""
    return pd.DataFrame(
        {"method": one.method, "people": one.n, "order": one.order, "accuracy": one.accuracy.value}
        | {"accuracy_low": one.accuracy.low, "accuracy_high": one.accuracy.high, "items": one.accuracy.n}
        for one in learned
        if one.accuracy
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
    sure = ""
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


def _metrics(table: pd.DataFrame, assistant: pd.DataFrame) -> list[tuple[int | None, dict[str, float]]]:
    """NLLs by number of people, which is the step, and, of the run, those with the most."""
    overall = table[table["study"] == ALL_STUDIES]
    steps: dict[int | None, dict[str, float]] = {}
    for row in overall.to_dict("records"):
        steps.setdefault(int(row["people"]), {})[f"nll/{row['method']}"] = float(row["nll"])
    if len(assistant):
        for (method, n), of in assistant.groupby(["method", "people"]):
            steps.setdefault(int(str(n)), {})[f"assistant/{method}"] = float(of["accuracy"].mean())
    return sorted(steps.items(), key=lambda one: one[0] or 0)


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
    """Every point; all studies below."""
    shown = table if table["study"].nunique() > 2 else table[table["study"] != ALL_STUDIES]
    shown = shown.assign(gain=shown["gain"].where(shown["people"] > 0))
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
        | {"n*": _people(row["n"]), INTERVAL: _interval(row), "reached in": row["share_reached"]}
        for row in shown.to_dict("records")
    ]
    note = "n*: people with whom a curve reaches the line; between the numbers tried, linear in log(1 + n)"
    return table_of("Where the curves reach a line", pd.DataFrame(rows), note=note)


def _people(n: float) -> str:
    return "not reached" if math.isinf(n) else number(n, decimals=1)


def _interval(row: Mapping[Hashable, Any]) -> str:
    return "–" if math.isnan(row["n_low"]) else f"{_people(row['n_low'])} to {_people(row['n_high'])}"


def _shown_assistant(table: pd.DataFrame) -> list[Table]:
    note = "context and recalibration leave the weights, and so the assistant, as they are (model)"
    return [table_of("The assistant: right answers to held-out items", table, note=note)] if len(table) else []


def section(run: Run) -> Section:
    """How many people it takes."""
    table, at_lines = read_table(run, "realignment"), read_table(run, "reached")
    has_assistant = (run.folder / "assistant.csv").exists()
    return Section(
        title=f"Realignment by {run.about['data']['name']}",
        question="How many people does it take to realign the model?",
        answers=tuple(f"{said}." for said in run.about["verdicts"]),
        explanation=(
            "The same held-out people are predicted after learning from n others: "
            + "; ".join(f"{name}: {about}" for name, about in METHODS.items())
            + ". n* is where a curve reaches the base model, or the adaptive baseline that learned from all training "
            "people; its interval has percentiles of resamples of held-out people and of orders.",
            NLL,
            INTERVALS,
        ),
        figures=folder_pictures([run]),
        tables=(
            shown_table(table),
            shown_reached(at_lines),
            table_of("Power laws, NLL = a + b n^−c", read_table(run, "laws")),
            *_shown_assistant(read_table(run, "assistant") if has_assistant else pd.DataFrame()),
        ),
        provenance=tuple(facts_of(run)),
        commands=(command(run),),
    )


ANALYSIS = Analysis("realignment", DESCRIPTION, RealignmentArguments, section)
