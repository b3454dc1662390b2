"""Human-likeness and assistant accuracy along a training run: one point per checkpoint, the base model at step 0."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from centaurlab.analyses.analysis import Analysis, Finding
from centaurlab.analyses.finished import any_section
from centaurlab.display.figures.posttraining import trajectory_figure
from centaurlab.display.tables import table_of
from centaurlab.runtime.errors import UserError
from centaurlab.stats.contrast import Contrast
from centaurlab.stats.effects import Effect
from centaurlab.stats.estimate import Accuracy, Estimate
from centaurlab.stats.words import ACCURACY, in_words, listed, number, percent, verdict_of

DESCRIPTION = """Follow a training run: how well each checkpoint predicts people, and how good an assistant it is.

examples:
  centaurlab trajectory --run runs/posttrain --data starter --participants test --max_participants 4 \\
      --output_dir runs/trajectory
  accelerate launch -m centaurlab trajectory --run runs/posttrain --data marcelbinz/Psych-201-test --every 5 \\
      --output_dir runs/trajectory-201

Scores the base model and every checkpoint once; given again, only what is missing. d > 0: the checkpoint predicts
people worse than the base model. Assistant accuracy: share of held-out starter-assistant items whose right answer is
more probable than the wrong one (guessing: 0.5). Also follows runs of 'centaurlab train'.
Output: trajectory.csv, figures/, run.json, and the folders of scores.
"""


@dataclass
class TrajectoryArguments:
    """Which run is followed, and how closely."""

    run: str = field(metadata={"help": "folder of 'centaurlab posttrain' or 'centaurlab train', with its checkpoints"})
    output_dir: str = field(metadata={"help": "folder for trajectory.csv, the figure, run.json and scores"})
    base: str | None = field(default=None, metadata={"help": "base model (default: the one that the run names)"})
    every: int = field(default=1, metadata={"help": "only every so manieth checkpoint, and the last"})
    items: int = field(default=200, metadata={"help": "held-out starter-assistant items; 0: do not ask the assistant"})

    def __post_init__(self) -> None:
        if self.every < 1 or self.items < 0:
            raise UserError("--every must be at least 1, and --items at least 0")


@dataclass(frozen=True)
class Point:
    """A checkpoint against the base model: d > 0 where it predicts people worse. Step 0, the base, has no effects.

    ``accuracy`` is None where the assistant was not asked.
    """

    step: int
    model: str
    effects: Sequence[Effect]
    accuracy: Accuracy | None


def trajectory_table(points: Sequence[Point]) -> pd.DataFrame:
    """A row per step and level ('overall', each domain, each study); NLLs in nats per response."""
    with_effects = next(point for point in points if point.effects)
    rows = []
    for point in points:
        for effect in point.effects or with_effects.effects:
            row = {"step": point.step, "model": point.model, "level": effect.level, "name": effect.name}
            if point.effects:
                row |= {"nll": effect.nll_first, "d": effect.d.value, "d_low": effect.d.low, "d_high": effect.d.high}
            else:
                row |= {"nll": effect.nll_second, "d": 0.0, "d_low": 0.0, "d_high": 0.0}
            row |= {"responses": effect.n_responses, "participants": effect.n_participants}
            these = effect.d_these if point.effects else Estimate(0.0, 0.0, 0.0)
            ends = {"d_low_these": these.low, "d_high_these": these.high}
            ends |= {"q": effect.q if point.effects and effect.level == "study" else math.nan}
            if point.accuracy:
                row |= {f"assistant_{name}": value for name, value in accuracy_columns(point.accuracy).items()}
            rows.append(row | ends)
    return pd.DataFrame(rows)


def accuracy_columns(accuracy: Accuracy) -> dict[str, float]:
    """Its value as ``accuracy``, with interval and number of items."""
    return {
        "accuracy": accuracy.value,
        "accuracy_low": accuracy.low,
        "accuracy_high": accuracy.high,
        "items": accuracy.n,
    }


def metrics_at(point: Point, table: pd.DataFrame) -> dict[str, float]:
    """Names and values of a step for ``metrics.jsonl``."""
    rows = table[table["step"] == point.step]
    metrics: dict[str, float] = {}
    for row in rows.itertuples():
        name = "mean" if row.level == "overall" else f"{row.level}/{row.name}"
        metrics[f"nll/{name}"] = float(row.nll)  # type: ignore[arg-type]
        metrics["d/overall" if row.level == "overall" else f"d/{name}"] = float(row.d)  # type: ignore[arg-type]
    return metrics | ({"assistant/accuracy": point.accuracy.value} if point.accuracy else {})


def find_trajectory(
    points: Sequence[Point], record: Mapping[str, Any], p_frontier: Sequence[float] | None = None, note: str = ""
) -> Finding:
    """The points of a run as table, figure and sentence; ``record``: what ``run.json`` says of them besides.

    ``p_frontier``: of each point, in what share of joint resamples no other is at least as good an assistant and as
    near to people, and better in one; None where the assistant was not asked. ``note``: what is left out.
    """
    table = trajectory_table(points)
    sure = dict(zip((point.step for point in points), p_frontier or (), strict=False))
    if sure:
        table["p_frontier"] = [sure[step] for step in table["step"]]
    overall = table[table["level"] == "overall"].drop(columns=["model", "level", "name"])
    shown = table_of("Checkpoints against the base model, over all studies", overall, signed=["d"])
    said = verdict(points[0], points[-1])
    if any(p == p for p in sure.values()):
        each = [f"step {step} in {percent(p)}" for step, p in sure.items()]
        said += f". On the frontier of the two qualities, of joint resamples: {listed(each)}"
    said += f". {note[:1].upper()}{note[1:]}" if note else ""
    return Finding(
        tables={"trajectory.csv": table},
        record={"verdict": said, **record},
        figures={"trajectory": trajectory_figure(table)},
        metrics=[(point.step, metrics_at(point, table)) for point in points],
        shown=[shown, said],
    )


def verdict(first: Point, last: Point) -> str:
    """What happened from the base model to the last checkpoint, in a sentence.

    The assistant is called better or worse where the two intervals do not overlap.
    """
    overall = last.effects[0]
    contrast = Contrast(f"the checkpoint of step {last.step}", "the base model")
    nlls = f"NLL {number(overall.nll_second)} before, {number(overall.nll_first)} after"
    people = f"{verdict_of(last.effects, contrast)}; {nlls}"
    if not (first.accuracy and last.accuracy):
        return people
    if last.accuracy.low > first.accuracy.high:
        assistant = "a better assistant than"
    elif last.accuracy.high < first.accuracy.low:
        assistant = "a worse assistant than"
    else:
        assistant = "neither clearly a better nor a worse assistant than"
    accuracies = (in_words(one.as_estimate(), ACCURACY) for one in (first.accuracy, last.accuracy))
    return f"{people}. It is {assistant} the base model ({' before, '.join(accuracies)} after)"


ANALYSIS = Analysis("trajectory", DESCRIPTION, TrajectoryArguments, any_section)
