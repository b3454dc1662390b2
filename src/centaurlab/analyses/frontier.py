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
from centaurlab.stats.effect_table import interval_of
from centaurlab.stats.effects import Effect
from centaurlab.stats.estimate import Accuracy, Estimate
from centaurlab.stats.words import listed, no_interval, percent

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


_LIKELY = 0.05
"""Of the resamples, in which a model is on the frontier: named even if it is not."""


@dataclass(frozen=True)
class Standing:
    """A model against the base: ``overall`` is its effect over all studies, None for the base model itself."""

    name: str
    model: str
    overall: Effect | None
    accuracy: Accuracy


def find_frontier(
    standings: Sequence[Standing], record: Mapping[str, Any], p_frontier: Sequence[float], note: str = ""
) -> Finding:
    """Models side by side as table, figure and sentence; ``record``: what ``run.json`` says of them besides.

    ``p_frontier``: of each, in what share of joint resamples it is on the frontier. ``note``: what is left out.
    """
    table = frontier_table(standings).assign(p_frontier=list(p_frontier))
    metrics: dict[str, float] = {}
    for row in table.to_dict("records"):
        metrics |= {f"d/{row['name']}": row["d"], f"assistant/{row['name']}": row["accuracy"]}
        metrics[f"nll/{row['name']}"] = row["nll"]
    said = "; ".join(filter(None, [verdict(table), note]))
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
        d, these = (s.overall.d, s.overall.d_these) if s.overall else (Estimate(0.0, 0.0, 0.0),) * 2
        nll = s.overall.nll_first if s.overall else _base_nll(standings)
        row = {"name": s.name, "model": s.model, "d": d.value, "d_low": d.low, "d_high": d.high, "nll": nll}
        ends = {"d_low_these": these.low, "d_high_these": these.high}
        rows.append({**row, **accuracy_columns(s.accuracy), **ends})
    table = pd.DataFrame(rows)
    table.insert(len(table.columns) - 2, "on_frontier", on_frontier(table["accuracy"].tolist(), table["d"].tolist()))
    table["studies"] = next((s.overall.n_studies_d for s in standings if s.overall), 0)
    return table


def on_frontier(accuracy: Sequence[float], d: Sequence[float]) -> list[bool]:
    """Whether each point is not dominated: higher accuracy is better, lower d is better; without a d it is not told."""
    points = list(zip(accuracy, d, strict=True))
    return [y == y and not any(a >= x and e <= y and (a, e) != (x, y) for a, e in points) for x, y in points]


def verdict(table: pd.DataFrame) -> str:
    """Which models are on the frontier, and which predict people clearly worse or better than the base, in words."""
    base, *others = table.to_dict("records")
    front = [str(row["name"]) for row in table.to_dict("records") if row["on_frontier"]]
    sure = dict(zip(table["name"].astype(str), table["p_frontier"], strict=True)) if "p_frontier" in table else {}
    sure = {name: p for name, p in sure.items() if p == p}
    named = [f"{name} (in {percent(sure[name])} of joint resamples)" if name in sure else name for name in front]
    parts = [f"on the frontier, where no other is at least as good in both: {listed(named)}"]
    likely = [f"{name} ({percent(p)})" for name, p in sure.items() if name not in front and p > _LIKELY]
    parts += [f"others that are on it in some resamples: {listed(likely)}"] if likely else []
    is_one = base["studies"] == 1
    said: dict[str, list[str]] = {}
    for row in others:
        like, these = Estimate(row["d"], row["d_low"], row["d_high"]), interval_of(row, "d", "these")
        judged = [d for d in ([these] if is_one else [like, these]) if d.has_interval]
        word = "worse" if row["d"] > 0 else "better"
        if not judged:
            units = "people" if is_one else "studies"
            sentence = f"of {{}}, whether it differs from {{}} cannot be told ({no_interval(units, these)})"
        elif (is_one or like.has_interval) and all(d.excludes_zero for d in judged):
            sentence = f"people are predicted {word} by {{}} than by {{}}"
        elif these.excludes_zero:
            sentence = f"in these studies people are predicted {word} by {{}} than by {{}}, of others it cannot be said"
        else:
            sentence = "no clear difference of {} from {}"
        said.setdefault(sentence, []).append(str(row["name"]))
    parts += [sentence.format(listed(names), base["name"]) for sentence, names in sorted(said.items(), key=_order)]
    parts += ["all of it by the people of one study, which says nothing of others"] if is_one else []
    return "; ".join(parts)


def _order(sentence: tuple[str, list[str]]) -> int:
    """Differences before what is not clear; those of all studies before those of these."""
    starts = ("people are predicted worse", "people are predicted better", "in these studies", "no clear", "of")
    return next(i for i, start in enumerate(starts) if sentence[0].startswith(start))


def _base_nll(standings: Sequence[Standing]) -> float:
    return next((s.overall.nll_second for s in standings if s.overall), float("nan"))


ANALYSIS = Analysis("frontier", DESCRIPTION, FrontierArguments, any_section)
