"""Models by two qualities at once: how well they predict people, and how good assistants they are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from centaurlab.analyses.analysis import Analysis, Finding
from centaurlab.analyses.finished import any_section
from centaurlab.analyses.trajectory import accuracy_columns
from centaurlab.display.figures.posttraining import frontier_figure
from centaurlab.display.tables import table_of
from centaurlab.runtime.errors import UserError
from centaurlab.stats.effects import Effect
from centaurlab.stats.estimate import Accuracy, Estimate
from centaurlab.stats.words import listed, no_interval

DESCRIPTION = """Hold models against each other by two qualities: predicting people, and being a good assistant.

example:
  centaurlab frontier --base gemma-3-270m --data starter --participants test --max_participants 4 \\
      --models sft=runs/posttrain replay=runs/posttrain-replay kl=runs/posttrain-kl \\
      centaur=runs/centaur-after half=runs/interpolated/alpha-0.5 --output_dir runs/frontier

Each model is a name of its own and a model: NAME=MODEL. d is against the base model: below 0, people are predicted
better. Assistant accuracy: share of held-out starter-assistant items whose right answer is more probable than the
wrong one (guessing: 0.5). Given again, the same command computes only what is missing.
Output: frontier.csv, figures/, run.json, and the folders of scores.
"""


@dataclass
class FrontierArguments:
    """What is held against what."""

    base: str = field(metadata={"help": "base model: what d is against"})
    models: list[str] = field(metadata={"help": "NAME=MODEL, as many as wanted"})
    output_dir: str = field(metadata={"help": "folder for frontier.csv, the figure, run.json and scores"})
    items: int = field(default=200, metadata={"help": "held-out starter-assistant items"})

    def __post_init__(self) -> None:
        if self.items < 1:
            raise UserError(f"--items is {self.items}; it must be at least 1")


@dataclass(frozen=True)
class Standing:
    """A model against the base: ``overall`` is its effect over all studies, None for the base model itself."""

    name: str
    model: str
    overall: Effect | None
    accuracy: Accuracy


def find_frontier(standings: Sequence[Standing], record: Mapping[str, Any]) -> Finding:
    """Models side by side as table, figure and sentence; ``record``: what ``run.json`` says of them besides."""
    table = frontier_table(standings)
    metrics: dict[str, float] = {}
    for row in table.to_dict("records"):
        metrics |= {f"d/{row['name']}": row["d"], f"assistant/{row['name']}": row["accuracy"]}
        metrics[f"nll/{row['name']}"] = row["nll"]
    said = verdict(table)
    return Finding(
        tables={"frontier.csv": table},
        record={"verdict": said, **record},
        figures={"frontier": frontier_figure(table)},
        metrics=[(None, metrics)],
        shown=[
            table_of("Models by both qualities", table.drop(columns="model"), signed=["d"]),
            "d(model − base): below zero, people are predicted better by the model; accuracy: right answers on "
            "held-out items (guessing: 0.5)",
            said,
        ],
    )


def frontier_table(standings: Sequence[Standing]) -> pd.DataFrame:
    """A row per model; ``on_frontier``: no other is at least as good in both qualities and better in one."""
    rows = []
    for s in standings:
        d = (s.overall.d.value, s.overall.d.low, s.overall.d.high) if s.overall else (0.0, 0.0, 0.0)
        nll = s.overall.nll_first if s.overall else _base_nll(standings)
        row = {"name": s.name, "model": s.model, "d": d[0], "d_low": d[1], "d_high": d[2], "nll": nll}
        rows.append({**row, **accuracy_columns(s.accuracy)})
    table = pd.DataFrame(rows)
    table["on_frontier"] = on_frontier(table["accuracy"].tolist(), table["d"].tolist())
    return table


def on_frontier(accuracy: Sequence[float], d: Sequence[float]) -> list[bool]:
    """Whether each point is not dominated: higher accuracy is better, lower d is better."""
    points = list(zip(accuracy, d, strict=True))
    return [not any(a >= x and e <= y and (a, e) != (x, y) for a, e in points) for x, y in points]


def verdict(table: pd.DataFrame) -> str:
    """Which models are on the frontier, and which predict people clearly worse or better than the base, in words."""
    base, *others = table.to_dict("records")
    front = [str(row["name"]) for row in table.to_dict("records") if row["on_frontier"]]
    parts = [f"on the frontier, where no other is at least as good in both: {listed(front)}"]
    of = {str(row["name"]): Estimate(row["d"], row["d_low"], row["d_high"]) for row in others}
    said = {
        "people are predicted worse by {} than by {}": [name for name, d in of.items() if d.low > 0],
        "people are predicted better by {} than by {}": [name for name, d in of.items() if d.high < 0],
        "no clear difference of {} from {}": [n for n, d in of.items() if d.has_interval and not d.excludes_zero],
        f"of {{}}, whether it differs from {{}} cannot be told ({no_interval()})": [
            name for name, d in of.items() if not d.has_interval
        ],
    }
    parts += [sentence.format(listed(names), base["name"]) for sentence, names in said.items() if names]
    return "; ".join(parts)


def _base_nll(standings: Sequence[Standing]) -> float:
    return next((s.overall.nll_second for s in standings if s.overall), float("nan"))


ANALYSIS = Analysis("frontier", DESCRIPTION, FrontierArguments, any_section)
