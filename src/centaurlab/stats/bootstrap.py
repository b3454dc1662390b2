"""Participants and studies drawn again and again: the sampling variation of what they estimate.

A sum over responses is a sum over participants, so a resample of participants is a row of counts and all
resamples of a study are one matrix product: counts (resamples × participants) times sums (participants × k).
The cost is that of drawing participants, whatever the number of responses.

What is drawn are the outermost units that an estimate generalises over: participants for one study; for a mean over
studies the studies, each with everybody in it. Drawing people anew within the drawn studies would count the variation
within studies twice, as it is already in the spread of the studies' estimates (Davison & Hinkley 1997, Bootstrap
Methods and their Application, section 3.8), and with few people per study widen the interval by up to 40 %.

An interval is the estimate ± Student's t times the standard deviation of the resampled estimates times
sqrt(n / (n - 1)), for n units drawn. Percentiles of the resampled estimates are too narrow with few units, by that root
and by the difference of Student's t from the normal distribution (Hesterberg 2015,
doi:10.1080/00031305.2015.1089789). The degrees of freedom are G - 1, the usual ones for G clusters (Cameron & Miller
2015, doi:10.3368/jhr.50.2.317, section VI), where G = (Σ w²)² / Σ w⁴ is the number of units that would do as well if
they weighed the same (w: a unit's share of what is averaged; Carter, Schnepel & Steigerwald 2017,
doi:10.1162/REST_a_00639): people who answered 400 times beside such as answered 20 times count for few. In simulations
95 % intervals held the truth in 92 to 98 % of data sets from two units on (``tests/stats/test_coverage.py``;
percentiles of five units, in 85 %). No interval knows of units that are rare and far off and not in the sample.

A mean over studies has two intervals, which answer two questions. *Studies like these*: the studies are drawn, and what
they vary by is in the interval; one study says nothing of others. *These studies, new people*: the studies stay, and
the interval is of the variances of each of them (``over_these``).

Every analysis estimates by ``estimate``: sums of each study's people, a statistic of their totals, and where its random
numbers come from. A statistic may be one of several *columns* that share draws, such as the pairs of models that are
compared on the same people: averages over columns are then those of the same resamples.

Shapes: P participants, B resamples, S studies, K sums or values, Q statistics, M columns, U units that are drawn.
"""

import math
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import stdtr, stdtrit  # Student's t as scipy.stats has it, without the second that that takes

from centaurlab.stats.estimate import CONFIDENCE, NAN, Estimate, FloatArray
from centaurlab.stats.scale import PLAIN, SHARE, Scale

Statistic = Callable[[FloatArray], FloatArray]
"""Totals (B, K) of a study's sums into values (Q, M, B); NaN where not defined."""

_MAX_UNDEFINED = 0.05  # of all resamples
_EQUAL = 1e-9  # of a value: what studies differ less in is rounding
_BLOCK = 1_000_000  # counts held at once


@dataclass(frozen=True)
class Study:
    """What an estimate needs to know of a study.

    Attributes
    ----------
    sums_PK : array (P, K)
        Sums over the responses of each participant.
    statistic : callable
        ``sums_PK``'s totals into values; studies may differ in constants, such as the mean that sums are taken from.
    weight_PQM : array (P, Q, M)
        How much of a statistic is a participant's, such as their number of responses, in any unit; 0: nothing.
    """

    sums_PK: FloatArray
    statistic: Statistic
    weight_PQM: FloatArray


@dataclass(frozen=True)
class Spread:
    """An estimate and what its interval is made of: its standard error, and the degrees of freedom of that.

    ``n_units``: how many were drawn. NaN where there is no interval.
    """

    value: float
    error: float = NAN
    freedom: float = NAN
    n_units: int = 0

    def estimate(self, scale: Scale = PLAIN) -> Estimate:
        """With the 95 % interval, found on a ``scale`` on which the quantity has no bounds."""
        if not math.isfinite(self.error):
            return Estimate(self.value, n_units=self.n_units)
        ends = scale.interval(self.value, quantile(self.freedom) * self.error, self.n_units)
        p = float(2 * stdtr(self.freedom, -abs(self.value) / self.error)) if self.error > 0 else NAN
        return Estimate(self.value, *ends, p, n_units=self.n_units)


@dataclass(frozen=True)
class Draws:
    """Values of Q statistics in M columns, the same in B resamples, and how much of each is whose of the U units.

    ``are_studies``: the units are studies. Where all are equal, as copies of one are, nothing is known
    of how studies differ: there is no interval, and not one of no width.
    """

    value_QM: FloatArray
    replicate_QMB: FloatArray
    weight_UQM: FloatArray
    are_studies: bool = False

    def spread(self, statistic: int = 0, columns: Sequence[int] = (0,)) -> Spread:
        """The mean over those of the ``columns`` that have the statistic.

        The columns are not drawn: all of them are in every resample.
        """
        defined = [m for m in columns if np.isfinite(self.value_QM[statistic, m])]
        if not defined:
            return Spread(NAN)
        found = self.combination(statistic, {m: 1 / len(defined) for m in defined})
        return replace(found, value=float(self.value_QM[statistic, defined].mean()))

    def combination(self, statistic: int, parts: Mapping[int, float]) -> Spread:
        """The sum of the columns, each times its part."""
        columns, part_M = list(parts), np.array(list(parts.values()))
        value = float(part_M @ self.value_QM[statistic, columns])
        weight_UM = self.weight_UQM[:, statistic, columns]
        weight_U = divide(weight_UM, np.broadcast_to(weight_UM.sum(axis=0), weight_UM.shape)) @ part_M
        return Spread(value, *standard_error(part_M @ self.replicate_QMB[statistic, columns], weight_U))

    def estimate(self, statistic: int = 0, columns: Sequence[int] = (0,), scale: Scale = PLAIN) -> Estimate:
        """The mean over those of the ``columns`` that have the statistic, with its interval."""
        found = self.spread(statistic, columns)
        if self.are_studies and scale is not SHARE and found.error < _EQUAL * abs(found.value):
            found = replace(found, error=NAN)
        return found.estimate(scale)


@dataclass(frozen=True)
class Estimated:
    """The mean over studies, and each study by name."""

    overall: Draws
    studies: Mapping[str, Draws]

    def these(self, statistic: int = 0, columns: Sequence[int] = (0,), scale: Scale = PLAIN) -> Estimate:
        """The mean over studies with the interval over their people, the studies being these."""
        return over_these(list(self.studies.values()), statistic, columns).estimate(scale)


def estimate(
    studies: Mapping[str, Study], n_resamples: int, generator_of: Callable[[str | None], np.random.Generator]
) -> Estimated:
    """Estimate a statistic of every study, drawing its participants, and its mean over studies, drawing these.

    Parameters
    ----------
    studies : mapping of str to Study
        At least one.
    n_resamples : int
        Resamples B of each.
    generator_of : callable
        Gives the random numbers by which a study's participants are drawn and, for None, those for the studies. A
        study's resamples depend on its own generator alone, whatever other studies there are.

    Returns
    -------
    Estimated
        With 95 % intervals by ``Draws.estimate``.
    """
    drawn = {name: draw_people(study, n_resamples, generator_of(name)) for name, study in studies.items()}
    return Estimated(draw_studies(list(drawn.values()), lambda: generator_of(None)), drawn)


def draw_people(study: Study, n_resamples: int, rng: np.random.Generator) -> Draws:
    """A study's statistics, and the same of ``n_resamples`` draws of its participants."""
    value_QM = study.statistic(study.sums_PK.sum(axis=0, keepdims=True))[..., 0]
    replicate_QMB = study.statistic(resampled_sums(study.sums_PK, n_resamples, rng))
    return Draws(value_QM, replicate_QMB, study.weight_PQM)


def draw_studies(studies: Sequence[Draws], generator: Callable[[], np.random.Generator]) -> Draws:
    """Means over studies, and the same of as many draws of the studies as each study has resamples.

    Every statistic gets a new ``generator``, hence the same draws of the studies that have it.
    """
    value_SQM = np.stack([study.value_QM for study in studies])
    n_statistics, _, n_resamples = studies[0].replicate_QMB.shape
    replicate_QBM = [resampled_means(value_SQM[:, q], n_resamples, generator()) for q in range(n_statistics)]
    replicate_QMB = np.stack(replicate_QBM).transpose(0, 2, 1)
    return Draws(mean(value_SQM), replicate_QMB, np.isfinite(value_SQM).astype(np.float64), are_studies=True)


def over_these(studies: Sequence[Draws], statistic: int = 0, columns: Sequence[int] = (0,)) -> Spread:
    """The mean over studies, of which only the people are drawn: each study's variance, over the number of studies.

    A study of one person has no variance of its own. It gets that of one person of the others, which is their mean
    n · variance over n people. The degrees of freedom are Satterthwaite's (1946, doi:10.2307/3002019) for a weighted
    sum of variances.
    """
    value_SM = np.array([study.value_QM[statistic, list(columns)] for study in studies])
    is_defined_SM = np.isfinite(value_SM)
    n_M = is_defined_SM.sum(axis=0)
    n_columns = int((n_M > 0).sum())
    if not n_columns:
        return Spread(NAN)
    found = []
    for study, is_defined_M in zip(studies, is_defined_SM, strict=True):
        parts = {m: 1 / (n_columns * n) for m, n, is_in in zip(columns, n_M, is_defined_M, strict=True) if is_in}
        if parts:
            share = sum(parts.values())
            found.append((share, study.combination(statistic, parts)))
    value, n_units = sum(spread.value for _, spread in found), sum(spread.n_units for _, spread in found)
    if any(not math.isfinite(spread.error) and spread.n_units > 1 for _, spread in found):
        return Spread(value, n_units=n_units)
    several = [(share, spread) for share, spread in found if spread.n_units > 1]
    if not several:
        return Spread(value, n_units=max(spread.n_units for _, spread in found))
    alone = sum(share**2 for share, spread in found if spread.n_units < 2)
    variance_S = np.array([spread.error**2 for _, spread in several])
    of_one_S = np.array([spread.n_units / share**2 for share, spread in several])
    factor_S = 1 + alone * of_one_S / len(several)
    freedom_S = np.array([spread.freedom for _, spread in several])
    return Spread(value, *satterthwaite(factor_S * variance_S, freedom_S), n_units=n_units)


def satterthwaite(variance_S: FloatArray, freedom_S: FloatArray) -> tuple[float, float]:
    """The standard error of a sum of independent estimates, and its degrees of freedom."""
    total = float(variance_S.sum())
    if total == 0:
        return 0.0, float(freedom_S.sum())
    return math.sqrt(total), total**2 / float((variance_S**2 / freedom_S).sum())


def generator(seed: int, *names: str) -> np.random.Generator:
    """Random numbers that depend on ``seed`` and ``names`` alone, whatever else is drawn."""
    return np.random.default_rng([seed, *(zlib.crc32(name.encode("utf-8", "surrogatepass")) for name in names)])


def mean(values: FloatArray) -> FloatArray:
    """Mean over the first axis of what is defined; NaN where nothing is."""
    is_defined = np.isfinite(values)
    total, n = np.where(is_defined, values, 0.0).sum(axis=0), is_defined.sum(axis=0).astype(np.float64)
    return divide(total, n)


def divide(above: FloatArray, below: FloatArray) -> FloatArray:
    """``above / below``, NaN where ``below`` is zero."""
    return np.divide(above, below, out=np.full_like(above, NAN), where=below != 0)


def resampled_sums(sums_PK: FloatArray, n_resamples: int, rng: np.random.Generator) -> FloatArray:
    """Totals (B, K) of per-participant sums over ``n_resamples`` draws of P people with replacement; of nobody, 0."""
    n_participants, n_sums = sums_PK.shape
    if not n_participants:
        return np.zeros((n_resamples, n_sums))
    n_rows = max(1, _BLOCK // n_participants)
    totals_BK = np.empty((n_resamples, n_sums))
    for start in range(0, n_resamples, n_rows):
        counts_BP = draw_counts(n_participants, min(n_rows, n_resamples - start), rng)
        totals_BK[start : start + len(counts_BP)] = counts_BP @ sums_PK
    return totals_BK


def draw_counts(n_units: int, n_resamples: int, rng: np.random.Generator) -> FloatArray:
    """How often each of ``n_units`` is drawn (B, n_units) in as many draws with replacement, ``n_resamples`` times."""
    drawn_BU = rng.integers(n_units, size=(n_resamples, n_units))
    drawn_BU += np.arange(0, n_resamples * n_units, n_units)[:, None]
    counts = np.bincount(drawn_BU.ravel(), minlength=n_resamples * n_units)
    return counts.reshape(n_resamples, n_units).astype(np.float64)


def resampled_means(values_SK: FloatArray, n_resamples: int, rng: np.random.Generator) -> FloatArray:
    """Means (B, K) over studies drawn with replacement from those that have a value.

    An undefined value (NaN) is left out of its mean; a study that has no other is not drawn.
    """
    is_defined_SK = np.isfinite(values_SK)
    columns = np.concatenate([np.where(is_defined_SK, values_SK, 0.0), is_defined_SK], axis=1)
    columns = columns[is_defined_SK.any(axis=1)]
    if not len(columns):
        return np.full((n_resamples, values_SK.shape[1]), NAN)
    total_BK, n_BK = np.split(resampled_sums(columns, n_resamples, rng), 2, axis=1)
    return divide(total_BK, n_BK)


def standard_error(resampled_B: FloatArray, weight_U: FloatArray) -> tuple[float, float, int]:
    """Of an estimate by its resamples: its standard error, degrees of freedom, and of how many units it is.

    Two NaN where there are fewer than two units, or more than 5 % of the resampled estimates are undefined.
    """
    n_units = int((weight_U > 0).sum())
    is_defined_B = np.isfinite(resampled_B)
    n_defined = int(is_defined_B.sum())
    if n_units < 2 or n_defined < 2 or n_defined < (1 - _MAX_UNDEFINED) * len(resampled_B):
        return NAN, NAN, n_units
    error = float(np.std(resampled_B[is_defined_B], ddof=1)) * (n_units / (n_units - 1)) ** 0.5
    return error, effective_units(weight_U) - 1, n_units


def effective_units(weight_U: FloatArray) -> float:
    """How many units of the same weight vary as little as these: (Σ w²)² / Σ w⁴, two at least."""
    share_U = weight_U / weight_U.sum()
    return max(float((share_U**2).sum() ** 2 / (share_U**4).sum()), 2.0)


def quantile(freedom: float) -> float:
    """How many standard errors a 95 % interval reaches to either side."""
    return float(stdtrit(freedom, (1 + CONFIDENCE) / 2))


def jackknife(value: float, without_one_P: FloatArray, n_units: int) -> Spread:
    """An estimate with the jackknife's standard error, from the estimates without each unit in turn.

    For what resamples of few units make extreme (Miller 1974, doi:10.1093/biomet/61.1.1). NaN where one is undefined.
    """
    if n_units < 2 or not np.isfinite(without_one_P).all():
        return Spread(value, n_units=n_units)
    error = float(np.std(without_one_P)) * (len(without_one_P) * (n_units - 1) / n_units) ** 0.5
    return Spread(value, error, n_units - 1, n_units)
