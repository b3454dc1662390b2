"""One study: simulated sessions beside people's, on every axis, each distance beside its floor.

A simulated participant that is a person's name with ``#r`` and a number is compared with that person's session, which
was asked the same questions. Where fewer than half of them are, all are people of their own, with one replicate each.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from centaurlab.analyses.behaviour import Behaviour, Cells, features_of, joined
from centaurlab.data.transcripts import Transcript
from centaurlab.stats.agreement import agreement_of_tests, hedges_g, jensen_shannon, simbench_score
from centaurlab.stats.arguments import EstimateArguments
from centaurlab.stats.estimate import FloatArray
from centaurlab.stats.fidelity import (
    EffectFidelity,
    Fidelity,
    Sessions,
    effect_fidelity,
    fidelity,
    holm,
    individual_distance,
    sd_ratio,
    total_variation,
)

ALPHA = 0.05
_T = TypeVar("_T")
_REPLICATE = re.compile(r"(.*)#r(\d+)", re.DOTALL)
_FEATURES = 20
EFFECT_COLUMNS = (
    "effect",
    *(f"{side}{end}" for side in ("people", "model", "difference") for end in ("", "_low", "_high")),
    *("ratio", "margin", "p", "p_holm", "people_g", "model_g", "model_p", "pas", "verdict"),
)
CELL_COLUMNS = ("axis", "item", "answer", "people_answers", "model_answers", "people_share", "model_share")

# N: people, M: simulated sessions, R: replicates, K: numbers of a session, C: cells.


@dataclass(frozen=True)
class StudyFidelity:
    """Rows of three tables: distances by axis, effects, and shares of answers (``cells``)."""

    distances: list[dict[str, Any]]
    effects: list[dict[str, Any]]
    cells: list[dict[str, Any]]


@dataclass(frozen=True)
class _Matched:
    """People and those that stand in for them: each its own where ``is_paired``, else all for all.

    ``n_sessions``: of the model that are compared, which several of a person make one of. ``people_left_out``: people's
    sessions of experiments that the model was never in.
    """

    people: list[Behaviour]
    simulated: list[list[Behaviour]]
    is_paired: bool
    n_sessions: int
    people_left_out: int = 0

    def sessions(self, people: Sequence[Sequence[float]], model: Sequence[Sequence[Sequence[float]]]) -> Sessions:
        """K numbers of each session as arrays."""
        n, m, r, k = len(people), len(model), len(model[0]), len(people[0])
        return Sessions(np.array(people, float).reshape(n, k), np.array(model, float).reshape(m, r, k), self.is_paired)


def compare_study(
    people: Sequence[Behaviour],
    model: Sequence[Behaviour],
    permutations: int,
    estimates: EstimateArguments,
    fit: Callable[[Sequence[Transcript]], FloatArray | None] | None = None,
) -> StudyFidelity:
    """Every axis and effect of a study; p values are adjusted for all of them (Holm).

    ``fit`` gives parameters of a cognitive model (N, P) of sessions, None where the study has no model.
    """
    matched = _matched(people, model)
    in_order = [*matched.people, *(session for of in matched.simulated for session in of)]
    about = {"people": len(matched.people), "sessions": matched.n_sessions, "paired": matched.is_paired}
    about |= {"left_out": len(model) - matched.n_sessions, "people_left_out": matched.people_left_out}
    rows: list[dict[str, Any]] = []
    cell_rows: list[dict[str, Any]] = []
    for axis in ("marginal", "dynamics"):
        cells = sorted({cell for s in in_order for cell in getattr(s, axis)})
        items = {item: number for number, item in enumerate(dict.fromkeys(item for item, _ in cells))}
        item_C = np.array([items[item] for item, _ in cells], np.int64)
        counts = matched.sessions(
            [_counts(getattr(s, axis), cells) for s in matched.people],
            [[_counts(getattr(s, axis), cells) for s in of] for of in matched.simulated],
        )
        found = fidelity(counts, total_variation(item_C), permutations, estimates.resamples, estimates.seed)
        people_C, model_C = counts.people_NK.sum(0), counts.model_NRK.sum((0, 1))
        beside = {"jsd_nats": jensen_shannon(people_C, model_C, item_C)}
        if axis == "marginal":
            unchosen = sorted({cell for session in in_order for cell in session.offered}.difference(cells))
            of_C = np.append(item_C, np.array([items[item] for item, _ in unchosen], np.int64))
            none_C = np.zeros(len(unchosen))
            beside["simbench"] = simbench_score(np.append(people_C, none_C), np.append(model_C, none_C), of_C)
        rows.append({"axis": axis} | _distance_row(found) | beside | about)
        cell_rows += _cell_rows(axis, cells, item_C, people_C, model_C)
    names = _feature_names(in_order)
    differ_in = {"individuals": np.array(features_of(in_order, names))}
    transcripts = [transcript for one in in_order for transcript in one.transcripts]
    are_known = all(one.transcripts for one in in_order)
    if fit is not None and are_known and (fitted_SP := fit(transcripts)) is not None:
        ends = np.cumsum([len(one.transcripts) for one in in_order])
        differ_in["parameters"] = np.array([_finite_mean(of) for of in np.split(fitted_SP, ends[:-1])])
    for axis, number_NK in differ_in.items():
        n, m, r = len(matched.people), len(matched.simulated), len(matched.simulated[0])
        model_MRK = number_NK[n:].reshape(m, r, number_NK.shape[1])
        numbers = Sessions(number_NK[:n], model_MRK, matched.is_paired)
        rows.append({"axis": axis} | _individuals(numbers, permutations, estimates) | about)
    compared = _effects(matched)
    adjusted = holm([*(row["p"] for row in rows), *(one.difference.p for one, _, _ in compared.values())])
    for row, p in zip(rows, adjusted, strict=False):
        row["p_holm"] = p
        # Where no two people met the same items, an exchange of a person and the model changes no distance either.
        tells_nothing = np.isnan(p) or np.isnan(row["floor"])
        row["verdict"] = "differs" if p < ALPHA else "cannot be told" if tells_nothing else "not told apart"
    effects = [
        {"effect": name, "ratio": one.ratio, "margin": one.margin, "p": one.difference.p, "p_holm": p}
        | {
            f"{side}{end}": value
            for side, estimate in (("people", one.people), ("model", one.model), ("difference", one.difference))
            for end, value in (("", estimate.value), ("_low", estimate.low), ("_high", estimate.high))
        }
        | _tests(people_N, model_NR)
        | {"verdict": one.verdict(p < ALPHA)}
        for (name, (one, people_N, model_NR)), p in zip(compared.items(), adjusted[len(rows) :], strict=True)
    ]
    return StudyFidelity(rows, effects, cell_rows)


def _individuals(numbers: Sessions, permutations: int, estimates: EstimateArguments) -> dict[str, float]:
    found = fidelity(numbers, individual_distance, permutations, estimates.resamples, estimates.seed)
    ratio = sd_ratio(numbers, estimates.resamples, estimates.seed)
    return _distance_row(found) | {"sd_ratio": ratio.value, "sd_ratio_low": ratio.low, "sd_ratio_high": ratio.high}


def _effects(matched: _Matched) -> dict[str, tuple[EffectFidelity, FloatArray, FloatArray]]:
    """Each named effect, and its values of people (N,) and of simulated ones (M, R)."""
    found = {}
    for name in matched.people[0].effects if matched.people else ():
        if all(name in session.effects for session in matched.people):
            people_N = np.array([session.effects[name] for session in matched.people])
            model_NR = np.array([[session.effects.get(name, np.nan) for session in of] for of in matched.simulated])
            found[name] = effect_fidelity(people_N, model_NR, matched.is_paired), people_N, model_NR
    return found


def _tests(people_N: FloatArray, model_NR: FloatArray) -> dict[str, float]:
    """What others say of an effect of one session each: the mean over replicates, of p the median."""
    replicates = model_NR.T
    return {
        "people_g": hedges_g(people_N),
        "model_g": float(np.mean([hedges_g(of) for of in replicates])),
        "model_p": float(np.median([effect_fidelity(people_N, of[:, None], False).model.p for of in replicates])),
        "pas": float(np.mean([agreement_of_tests(people_N, of) for of in replicates])),
    }


def _finite_mean(values_RX: FloatArray) -> FloatArray:
    """(X,) means over the rows that have a value."""
    with np.errstate(all="ignore"):
        means_X: FloatArray = np.nansum(values_RX, 0) / np.isfinite(values_RX).sum(0)
    return means_X


def _matched(people: Sequence[Behaviour], model: Sequence[Behaviour]) -> _Matched:
    """Each person with those that stand in for it, where all simulated sessions do; as many as each session has."""
    known = {(session.key.experiment, session.key.participant): session for session in people}
    groups: dict[tuple[str, str], list[Behaviour]] = {}
    for session in model:
        name = _REPLICATE.fullmatch(session.key.participant)
        groups.setdefault((session.key.experiment, name[1] if name else session.key.participant), []).append(session)
    own = {
        person: of
        for person, of in groups.items()
        if person in known and all(_REPLICATE.fullmatch(one.key.participant) for one in of)
    }
    if 2 * len(own) < len(groups) or not groups:
        sides = list(people), [of[0] for of in groups.values()]
        both = set.intersection(*({session.key.experiment for session in side} for side in sides))
        asked, acted = ([session for session in side if session.key.experiment in both or not both] for side in sides)
        simulated = [[joined(of)] for of in _by_person(acted, acted)]
        of_people = [joined(of) for of in _by_person(asked, asked)]
        return _Matched(of_people, simulated, False, len(acted), len(people) - len(asked))
    least = min(map(len, own.values()))
    asked = [known[person] for person in own]
    replicates = [of[:least] for of in own.values()]
    simulated = [[joined(run) for run in zip(*of, strict=True)] for of in _by_person(asked, replicates)]
    return _Matched([joined(of) for of in _by_person(asked, asked)], simulated, True, least * len(own))


def _by_person(sessions: Sequence[Behaviour], of_sessions: Sequence[_T]) -> list[list[_T]]:
    """What belongs to the sessions of each person; a session that says of nobody whose it is is somebody's own."""
    found: dict[Any, list[_T]] = {}
    for session, of in zip(sessions, of_sessions, strict=True):
        found.setdefault(session.person or session.key, []).append(of)
    return list(found.values())


def _counts(counted: Cells, cells: Sequence[tuple[str, str]]) -> list[float]:
    return [float(counted[cell]) for cell in cells]


def _cell_rows(
    axis: str, cells: Sequence[tuple[str, str]], item_C: np.ndarray, people_C: FloatArray, model_C: FloatArray
) -> list[dict[str, Any]]:
    """What share of the answers to each item each answer has."""
    totals = [np.bincount(item_C, weights=count_C)[item_C] for count_C in (people_C, model_C)] if cells else [[], []]
    with np.errstate(all="ignore"):
        shares = [count_C / np.asarray(of) for count_C, of in zip((people_C, model_C), totals, strict=True)]
    return [
        {"axis": axis, "item": item, "answer": answer, "people_answers": int(totals[0][n])}
        | {"model_answers": int(totals[1][n]), "people_share": shares[0][n], "model_share": shares[1][n]}
        for n, (item, answer) in enumerate(cells)
    ]


def _feature_names(sessions: Sequence[Behaviour]) -> list[str]:
    """What people may differ in: of many, the commonest of people and model together, which no exchange changes."""
    sums: dict[str, float] = {}
    for session in sessions:
        for name, value in session.features.items():
            sums[name] = sums.get(name, 0) + value
    return sorted(sorted(sums), key=lambda name: -sums[name])[:_FEATURES]


def _distance_row(found: Fidelity) -> dict[str, float]:
    value = found.distance.value
    bounds = {"distance": value, "distance_low": found.distance.low, "distance_high": found.distance.high}
    return bounds | {"floor": found.floor, "ratio": value / found.floor if found.floor else float("nan"), "p": found.p}
