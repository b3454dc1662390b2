"""Runs of learning from n people into tables: NLLs along curves, where these reach a line, power laws, assistants."""

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from centaurlab.results.run import ScoreRun
from centaurlab.results.table import NLL as NLL_COLUMN
from centaurlab.results.table import PERSON, RESPONSE, SESSION, STUDY, person_names
from centaurlab.runtime.errors import UserError
from centaurlab.stats.estimate import Accuracy, Estimate, FloatArray
from centaurlab.stats.realignment import Points, power_law, reached

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
