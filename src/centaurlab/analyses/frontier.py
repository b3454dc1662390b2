"""Models by two qualities at once: how well they predict people, and how good assistants they are."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from centaurlab.analyses.analysis import Analysis, Finding
from centaurlab.analyses.finished import any_section
from centaurlab.analyses.trajectory import accuracy_columns
from centaurlab.display.figures.posttraining import frontier_figure
from centaurlab.runtime.errors import UserError
from centaurlab.stats.effects import Effect
from centaurlab.stats.estimate import Accuracy
from centaurlab.stats.words import no_interval

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
            table.drop(columns="model").to_string(index=False, float_format="{:.3f}".format),
            "d below 0: predicts people better than the base; accuracy: right answers on held-out items (guess: 0.5)",
            said,
        ],
    )


def frontier_table(standings: Sequence[Standing]) -> pd.DataFrame:
    """A row per model; ``on_frontier``: no other is at least as good in both qualities and better in one."""
    rows = []
    for s in standings:
        d = (s.overall.d.value, s.overall.d.low, s.overall.d.high) if s.overall else (0.0, 0.0, 0.0)
        nll = s.overall.nll_post if s.overall else _base_nll(standings)
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
    parts = [f"on the frontier, where no other is at least as good in both: {_listed(front)}"]
    worse = [str(row["name"]) for row in others if row["d_low"] > 0]
    better = [str(row["name"]) for row in others if row["d_high"] < 0]
    for word, names in (("worse", worse), ("better", better)):
        if names:
            parts.append(f"{_listed(names)} predict{'s' * (len(names) == 1)} people {word} than {base['name']}")
    unknown = [str(row["name"]) for row in others if not math.isfinite(row["d_low"])]
    if open_ := [str(row["name"]) for row in others if row["name"] not in worse + better + unknown]:
        parts.append(f"these data do not tell {_listed(open_)} from {base['name']} in predicting people")
    if unknown:
        predict = f"{_listed(unknown)} predict{'s' * (len(unknown) == 1)}"
        parts.append(f"whether {predict} people worse than {base['name']} is not known ({no_interval('studies')})")
    return "; ".join(parts)


def _listed(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else names[0]


def _base_nll(standings: Sequence[Standing]) -> float:
    return next((s.overall.nll_base for s in standings if s.overall), float("nan"))


ANALYSIS = Analysis("frontier", DESCRIPTION, FrontierArguments, any_section)
