"""NLLs by number of people into a curve with intervals, the number at which it reaches a line, and its power law.

A point of the curve is the mean NLL of the same held-out people after learning from n others. Whom one learns from is a
draw as well: with several orders of people an interval has what these vary by, which few of them say little of.

Shapes: P held-out people, M runs (a method, a number of people and an order), C points, N numbers of people, B
resamples.
"""

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from centaurlab.stats import bootstrap
from centaurlab.stats.estimate import CONFIDENCE, NAN, Estimate, FloatArray
from centaurlab.stats.scale import POSITIVE

_LEAST_SIZES = 4
"""Numbers of people above 0 that a law of three parameters is fitted to: one more than these."""
_MAX_UNFITTED = 0.05
"""Share of resamples that no law may fit, where there is an interval."""
_C = np.geomspace(0.05, 5.0, 200)
"""What the exponent c may be."""


@dataclass(frozen=True)
class Points:
    """The NLL at C points; of one study, or the mean over studies.

    ``place``: which row a point is. ``value_C`` and ``replicate_CB``: each, and the same in resamples of held-out
    people and of orders; ``order_CS``: in each order. ``draws``: of studies, None where it is one study; ``studies``:
    of people.
    """

    place: Mapping[Hashable, int]
    value_C: FloatArray
    replicate_CB: FloatArray
    order_CS: FloatArray
    draws: bootstrap.Draws | None
    studies: Sequence[bootstrap.Draws]

    def nll(self, point: Hashable) -> tuple[Estimate, Estimate]:
        """The NLL of a point, with the interval for studies like these, and that for new people in these studies."""
        row = self.place[point]
        spread = bootstrap.over_these(self.studies, columns=[row])
        these = _with_orders(spread, self.order_CS[row]).estimate(POSITIVE)
        return (self.draws.estimate(columns=[row], scale=POSITIVE) if self.draws else these), these

    def change(self, first: Hashable, second: Hashable) -> tuple[Estimate, Estimate]:
        """NLL of the first point less that of the second, on the same people, with the same two intervals."""
        parts = {self.place[first]: 1.0, self.place[second]: -1.0}
        if len(parts) == 1:
            return Estimate(0.0), Estimate(0.0)
        spread = bootstrap.over_these([_difference(one, parts) for one in self.studies])
        these = _with_orders(spread, self.order_CS[self.place[first]] - self.order_CS[self.place[second]]).estimate()
        return (_difference(self.draws, parts).estimate() if self.draws else these), these


def _with_orders(spread: bootstrap.Spread, value_S: FloatArray) -> bootstrap.Spread:
    """With what S orders vary by beside people, S − 1 degrees of freedom for it (Satterthwaite); of one, nothing."""
    variance = float(value_S.var(ddof=1)) / len(value_S) if len(value_S) > 1 else 0.0
    if not (variance > 0 and math.isfinite(spread.error)):
        return spread
    both = bootstrap.satterthwaite(
        np.array([spread.error**2, variance]), np.array([spread.freedom, len(value_S) - 1.0])
    )
    return bootstrap.Spread(spread.value, *both, spread.n_units)


def curve_points(
    sums_by_study: Mapping[str, FloatArray], runs: Sequence[tuple[Hashable, int]], n_resamples: int, seed: int
) -> tuple[Points, dict[str, Points]]:
    """The points of a curve over all studies, and study by study.

    Parameters
    ----------
    sums_by_study : mapping of str to array (P, 1 + M)
        Of each held-out person the number of responses, then the sum of their NLLs in nats in each run.
    runs : sequence of (point, order)
        Which point and which order of people each of the M runs is of, sorted alike: a point has a run of every order,
        or one for all of them. Its NLL is the mean over orders.
    n_resamples, seed : int
        Of the bootstrap.

    Returns
    -------
    Points, dict of str to Points
        With ``draws`` of the studies' people and, overall, of studies.
    """
    place: dict[Hashable, int] = {point: i for i, point in enumerate(dict.fromkeys(point for point, _ in runs))}
    by_study = {}
    for study, sums_PK in sums_by_study.items():
        weight_P1M = np.repeat(sums_PK[:, :1, None], len(runs), axis=2)
        known = bootstrap.Study(sums_PK, _means, weight_P1M)
        of_runs = bootstrap.draw_people(known, n_resamples, bootstrap.generator(seed, "realignment", study))
        by_study[study] = _over_orders(of_runs, runs, place, bootstrap.generator(seed, "orders", study))
    found = list(by_study.values())
    studies = [of.studies[0] for of in found]
    overall = bootstrap.draw_studies(studies, lambda: bootstrap.generator(seed, "realignment"))
    replicate_CB, order_CS = (
        np.mean([getattr(of, name) for of in found], axis=0) for name in ("replicate_CB", "order_CS")
    )
    return Points(place, overall.value_QM[0], replicate_CB, order_CS, overall, studies), by_study


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

    Unlike an NLL, n* has no standard error: in some resamples it may not be there at all. At each number of people the
    resamples are as far from the line as the interval of that difference says.
    """
    n_N, rows = sorted(curve), [points.place[curve[n]] for n in sorted(curve)]
    line_row = points.place[line]
    (value,) = crossing(n_N, points.value_C[rows, None], points.value_C[[line_row]])
    above_NB = np.stack([_resampled(points, {row: 1.0, line_row: -1.0}) for row in rows])
    if np.isnan(above_NB).any():
        return Reached(float(value), NAN, NAN, NAN)
    found_B = crossing(n_N, above_NB, np.zeros(above_NB.shape[1]))
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

    Intervals are percentiles of refits to resamples of held-out people and orders, which are as far apart as the NLLs'
    own intervals say. There is none where no law fits more than 5 % of the resamples.
    """
    n_N = [n for n in sorted(curve) if n > 0]
    if len(n_N) < _LEAST_SIZES:
        return None
    rows = [points.place[curve[n]] for n in n_N]
    ((a,), (b,), (c,)) = _fit(n_N, points.value_C[rows, None])
    if math.isnan(a):
        return None
    resampled_NB = np.stack([_resampled(points, {row: 1.0}) for row in rows])
    a_B, _, c_B = _fit(n_N, resampled_NB)
    is_fitted_B = np.isfinite(a_B)
    if is_fitted_B.mean() < 1 - _MAX_UNFITTED:
        return PowerLaw(Estimate(float(a)), float(b), Estimate(float(c)))
    return PowerLaw(
        Estimate(float(a), *_ends(a_B[is_fitted_B])), float(b), Estimate(float(c), *_ends(c_B[is_fitted_B]))
    )


def _fit(n_N: Sequence[int], nll_NB: FloatArray) -> FloatArray:
    """(3, B) a, b and c of each column; NaN where it does not fall, or a is not above 0, or c is at an end of ``_C``.

    Of a given c the law is linear in a and b, which leaves c to be searched (variable projection; Golub & Pereyra 1973,
    doi:10.1137/0710036): on a grid, then on a finer one between its neighbours.
    """
    log_n_N = np.log(np.asarray(n_N, float))
    y_NB = nll_NB - nll_NB.mean(axis=0)

    def fitted(c_GB: FloatArray) -> tuple[FloatArray, FloatArray]:
        """The slope b for each c, and by how much it lowers the sum of squares."""
        x_NGB = np.exp(-c_GB * log_n_N[:, None, None])
        x_NGB -= x_NGB.mean(axis=0)
        xy_GB, xx_GB = (x_NGB * y_NB[:, None]).sum(axis=0), (x_NGB**2).sum(axis=0)
        return xy_GB / xx_GB, xy_GB**2 / xx_GB

    best_B = fitted(_C[:, None])[1].argmax(axis=0)
    is_inside_B = (best_B > 0) & (best_B < len(_C) - 1)
    place_B = best_B.clip(1, len(_C) - 2)
    c_GB = np.linspace(_C[place_B - 1], _C[place_B + 1], 101)
    slope_GB, lowered_GB = fitted(c_GB)
    finest_B, every_B = lowered_GB.argmax(axis=0), np.arange(y_NB.shape[1])
    b_B, c_B = slope_GB[finest_B, every_B], c_GB[finest_B, every_B]
    a_B = nll_NB.mean(axis=0) - b_B * np.exp(-c_B * log_n_N[:, None]).mean(axis=0)
    return np.where(is_inside_B & (a_B > 0) & (b_B > 0), np.stack([a_B, b_B, c_B]), NAN)


def _resampled(points: Points, parts: Mapping[int, float]) -> FloatArray:
    """(B,) resamples of a sum of points, each times its part, whose percentiles reach as far as its own interval does.

    Raw percentiles are too narrow with few people or orders. NaN where there is no interval.
    """
    rows, part_C = list(parts), np.array(list(parts.values()))
    spread = bootstrap.over_these([_difference(one, parts) for one in points.studies])
    spread = _with_orders(spread, part_C @ points.order_CS[rows])
    value, replicate_B = float(part_C @ points.value_C[rows]), part_C @ points.replicate_CB[rows]
    if not math.isfinite(spread.error):
        return np.full_like(replicate_B, NAN)
    reach = float(ndtri((1 + CONFIDENCE) / 2) * replicate_B.std())
    wider = bootstrap.quantile(spread.freedom) * spread.error / reach if reach > 0 else 1.0
    return value + wider * (replicate_B - value)


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
) -> Points:
    """Points as means over their S orders; resamples draw orders, too, deviating by √(S / (S − 1)) more: S is small."""
    orders = sorted({order for _, order in runs})
    n_resamples = of_runs.replicate_QMB.shape[2]
    drawn_BS = bootstrap.draw_counts(len(orders), n_resamples, rng)
    order_CS = np.empty((len(place), len(orders)))
    people_CB, replicate_CB = (np.empty((len(place), n_resamples)) for _ in range(2))
    for point, row in place.items():
        columns = [m for m, (of, _) in enumerate(runs) if of == point]
        order_CS[row] = of_runs.value_QM[0, columns]
        of_order_SB = of_runs.replicate_QMB[0, columns]
        people_CB[row] = replicate_CB[row] = of_order_SB.mean(axis=0)
        if len(columns) > 1:
            part_BS = drawn_BS / len(orders) - 1 / len(orders)
            wider = (len(orders) / (len(orders) - 1)) ** 0.5
            replicate_CB[row] += wider * (part_BS.T * of_order_SB).sum(axis=0)
    value_C = order_CS.mean(axis=1)
    weight_P1C = np.repeat(of_runs.weight_UQM[:, :, :1], len(place), axis=2)
    people = bootstrap.Draws(value_C[None], people_CB[None], weight_P1C)
    return Points(place, value_C, replicate_CB, order_CS, None, [people])


def _difference(draws: bootstrap.Draws, parts: Mapping[int, float]) -> bootstrap.Draws:
    columns, part_C = list(parts), np.array(list(parts.values()))
    value = np.array([[part_C @ draws.value_QM[0, columns]]])
    replicate = (part_C @ draws.replicate_QMB[0, columns])[None, None]
    return bootstrap.Draws(value, replicate, draws.weight_UQM[:, :, columns[:1]], draws.are_studies)
