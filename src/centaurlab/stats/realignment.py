"""NLLs by number of people into a curve with intervals, the number at which it reaches a line, and its power law.

A point of the curve is the mean NLL of the same held-out people after learning from n others. Whom one learns from is a
draw as well: with several orders of people a resample draws orders beside held-out people, the same for all n.

Shapes: P held-out people, M runs (a method, a number of people and an order), C points, N numbers of people, B
resamples.
"""

import warnings
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from centaurlab.stats import bootstrap
from centaurlab.stats.estimate import CONFIDENCE, NAN, Estimate, FloatArray
from centaurlab.stats.scale import POSITIVE

_LEAST_SIZES = 4
"""Numbers of people above 0 that a law of three parameters is fitted to: one more than these."""
_REFITS = 200


@dataclass(frozen=True)
class Points:
    """The NLL at C points, and the same in B resamples; of one study, or the mean over studies.

    ``place``: which row a point is. ``nll`` has the interval for studies like these, ``these`` that for new people in
    these studies; of one study they are the same. ``value_C`` and ``replicate_CB`` are those of ``these``.
    """

    place: Mapping[Hashable, int]
    value_C: FloatArray
    replicate_CB: FloatArray
    draws: bootstrap.Draws
    studies: Sequence[bootstrap.Draws]

    def nll(self, point: Hashable) -> tuple[Estimate, Estimate]:
        """The NLL of a point with its two intervals."""
        columns = [self.place[point]]
        return (
            self.draws.estimate(columns=columns, scale=POSITIVE),
            bootstrap.over_these(self.studies, columns=columns).estimate(POSITIVE),
        )

    def change(self, first: Hashable, second: Hashable) -> tuple[Estimate, Estimate]:
        """NLL of the first point less that of the second, on the same people, with its two intervals."""
        parts = {self.place[first]: 1.0, self.place[second]: -1.0}
        if len(parts) == 1:
            return Estimate(0.0), Estimate(0.0)
        apart = [_difference(one, parts) for one in (self.draws, *self.studies)]
        return apart[0].estimate(), bootstrap.over_these(apart[1:]).estimate()


def curve_points(
    sums_by_study: Mapping[str, FloatArray], runs: Sequence[tuple[Hashable, int]], n_resamples: int, seed: int
) -> tuple[Points, dict[str, Points]]:
    """The points of a curve over all studies, and study by study.

    Parameters
    ----------
    sums_by_study : mapping of str to array (P, 1 + M)
        Of each held-out person the number of responses, then the sum of their NLLs in nats in each run.
    runs : sequence of (point, order)
        Which point and which order of people each of the M runs is of; a point's NLL is the mean over its orders.
    n_resamples, seed : int
        Of the bootstrap.

    Returns
    -------
    Points, dict of str to Points
        With ``draws`` of the studies' people and, overall, of studies.
    """
    place: dict[Hashable, int] = {point: i for i, point in enumerate(dict.fromkeys(point for point, _ in runs))}
    drawn = {}
    for study, sums_PK in sums_by_study.items():
        weight_P1M = np.repeat(sums_PK[:, :1, None], len(runs), axis=2)
        known = bootstrap.Study(sums_PK, _means, weight_P1M)
        of_runs = bootstrap.draw_people(known, n_resamples, bootstrap.generator(seed, "realignment", study))
        drawn[study] = _over_orders(of_runs, runs, place, bootstrap.generator(seed, "orders", study))
    by_study = {study: Points(place, one.value_QM[0], one.replicate_QMB[0], one, [one]) for study, one in drawn.items()}
    studies = list(drawn.values())
    overall = bootstrap.draw_studies(studies, lambda: bootstrap.generator(seed, "realignment"))
    replicate_CB = np.mean([one.replicate_QMB[0] for one in studies], axis=0)
    return Points(place, overall.value_QM[0], replicate_CB, overall, studies), by_study


def crossing(n_N: Sequence[int], nll_NB: FloatArray, line_B: FloatArray) -> FloatArray:
    """(B,) the least number of people at which a curve is no longer above a line; inf where it never is.

    Between the numbers tried the NLL is taken to change linearly with log(1 + n).
    """
    x_N = np.log1p(np.asarray(n_N, float))
    above_NB = nll_NB - line_B
    found_B = np.where(above_NB[0] <= 0, 0.0, np.inf)
    for i in range(1, len(x_N)):
        is_first_B = np.isinf(found_B) & (above_NB[i] <= 0)
        fall_B = np.where(is_first_B, above_NB[i - 1] - above_NB[i], 1.0)
        share_B = np.where(is_first_B, above_NB[i - 1] / fall_B, 0.0)
        found_B = np.where(is_first_B, np.expm1(x_N[i - 1] + share_B * (x_N[i] - x_N[i - 1])), found_B)
    return found_B


@dataclass(frozen=True)
class Reached:
    """n*, the number of people at which a curve reaches a line: inf, or the end of its interval, if it does not.

    ``share``: of the resamples in which it does; NaN ends where there is no interval.
    """

    n: float
    low: float
    high: float
    share: float


def reached(points: Points, curve: Mapping[int, Hashable], line: Hashable) -> Reached:
    """Where the curve, by number of people, reaches the point ``line``; percentiles of resamples of people and orders.

    Unlike an NLL, n* has no standard error: in some resamples it may not be there at all.
    """
    n_N, rows = sorted(curve), [points.place[curve[n]] for n in sorted(curve)]
    line_row = points.place[line]
    (value,) = crossing(n_N, points.value_C[rows, None], points.value_C[[line_row]])
    n_people = sum(int((one.weight_UQM[:, 0, line_row] > 0).sum()) for one in points.studies)
    if n_people <= len(points.studies):
        return Reached(float(value), NAN, NAN, NAN)
    found_B = crossing(n_N, points.replicate_CB[rows], points.replicate_CB[line_row])
    low, high = _ends(found_B)
    return Reached(float(value), low, high, float(np.isfinite(found_B).mean()))


@dataclass(frozen=True)
class PowerLaw:
    """NLL = a + b n^−c: what many people would reach, with its interval, and how fast."""

    a: Estimate
    b: float
    c: Estimate


def power_law(points: Points, curve: Mapping[int, Hashable]) -> PowerLaw | None:
    """Least squares over the numbers of people above 0; None where they are too few, or no such law fits.

    Intervals are percentiles of refits to resamples of held-out people and orders.
    """
    n_N = [n for n in sorted(curve) if n > 0]
    if len(n_N) < _LEAST_SIZES:
        return None
    rows = [points.place[curve[n]] for n in n_N]
    best = _fit(n_N, points.value_C[rows])
    if best is None:
        return None
    refits = [_fit(n_N, points.replicate_CB[rows, b]) for b in range(min(_REFITS, points.replicate_CB.shape[1]))]
    a_B, _, c_B = np.array([one for one in refits if one is not None] or [(NAN, NAN, NAN)]).T
    return PowerLaw(Estimate(best[0], *_ends(a_B)), best[1], Estimate(best[2], *_ends(c_B)))


def _fit(n_N: Sequence[int], nll_N: FloatArray) -> tuple[float, float, float] | None:
    from scipy.optimize import OptimizeWarning, curve_fit  # here: --help would wait for it

    def law(n: FloatArray, a: float, b: float, c: float) -> FloatArray:
        values: FloatArray = a + b * n**-c
        return values

    start = (float(nll_N[-1]), float(nll_N[0] - nll_N[-1]), 0.5)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", OptimizeWarning)  # of a covariance that is not used
            bounds = ([0.0, -np.inf, 0.05], [np.inf, np.inf, 5.0])
            (a, b, c), _ = curve_fit(law, np.asarray(n_N, float), nll_N, p0=start, bounds=bounds)
    except RuntimeError:  # no optimum was found
        return None
    return float(a), float(b), float(c)


def _ends(values_B: FloatArray) -> tuple[float, float]:
    """The percentiles between which 95 % of the values lie; values themselves, of which some may be infinite."""
    if np.isnan(values_B).any():
        return NAN, NAN
    below = (1 - CONFIDENCE) / 2
    low, high = (np.quantile(values_B, q, method=m) for q, m in ((below, "lower"), (1 - below, "higher")))  # type: ignore[call-overload]
    return float(low), float(high)


def _means(totals_BK: FloatArray) -> FloatArray:
    """(1, M, B) mean NLLs."""
    return bootstrap.divide(totals_BK[:, 1:].T, np.broadcast_to(totals_BK[:, 0], totals_BK[:, 1:].T.shape))[None]


def _over_orders(
    of_runs: bootstrap.Draws,
    runs: Sequence[tuple[Hashable, int]],
    place: Mapping[Hashable, int],
    rng: np.random.Generator,
) -> bootstrap.Draws:
    """Points as means over their S orders; resamples draw orders, too, deviating by √(S / (S − 1)) more: S is small."""
    orders = sorted({order for _, order in runs})
    n_resamples = of_runs.replicate_QMB.shape[2]
    drawn_BS = bootstrap.draw_counts(len(orders), n_resamples, rng)
    value_C, replicate_CB = np.empty(len(place)), np.empty((len(place), n_resamples))
    for point, row in place.items():
        columns = [m for m, (of, _) in enumerate(runs) if of == point]
        value_C[row] = of_runs.value_QM[0, columns].mean()
        of_order_SB = of_runs.replicate_QMB[0, columns]
        replicate_CB[row] = of_order_SB.mean(axis=0)
        if len(columns) > 1:
            part_BS = drawn_BS[:, [orders.index(runs[m][1]) for m in columns]]
            part_BS = part_BS / part_BS.sum(axis=1, keepdims=True) - 1 / len(columns)
            wider = (len(columns) / (len(columns) - 1)) ** 0.5
            replicate_CB[row] += wider * (part_BS.T * of_order_SB).sum(axis=0)
    weight_P1C = np.repeat(of_runs.weight_UQM[:, :, :1], len(place), axis=2)
    return bootstrap.Draws(value_C[None], replicate_CB[None], weight_P1C)


def _difference(draws: bootstrap.Draws, parts: Mapping[int, float]) -> bootstrap.Draws:
    columns, part_C = list(parts), np.array(list(parts.values()))
    value = np.array([[part_C @ draws.value_QM[0, columns]]])
    replicate = (part_C @ draws.replicate_QMB[0, columns])[None, None]
    return bootstrap.Draws(value, replicate, draws.weight_UQM[:, :, columns[:1]])
