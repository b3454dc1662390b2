"""How far simulated behaviour is from people's, beside how far two halves of the people are from each other.

Every distance between groups of few people is above zero by chance alone. So none is shown without its floor, what two
random halves of the people are apart, brought to the same numbers; and whether there is more is asked by permutation:
which session was the person's and which the model's is drawn again and again.

Shapes: N people, M simulated sessions, R replicates, K numbers of a session, C cells, I items, F features.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtr, stdtrit

from centaurlab.stats.estimate import CONFIDENCE, NAN, Estimate, FloatArray, IntArray

Distance = Callable[[FloatArray, FloatArray], float]
"""Of two groups of sessions (N, K) and (M, K); NaN where it is not defined."""

Mean = tuple[float, float, float]
"""A mean, its standard error and degrees of freedom; NaN where there are none."""

N_SPLITS = 200
_SEES = 1.959964
_ROUNDING = 1e-9  # of the largest value: what is less apart is equal, and no unit for distances


@dataclass(frozen=True)
class Sessions:
    """Numbers of each session: of people ``people_NK``, and of simulated ones.

    ``model_NRK`` where each person has replicates (R may be 1, and one group of M sessions is (M, 1, K) with
    ``is_paired`` false, which are then of other people than ``people_NK``).
    """

    people_NK: FloatArray
    model_NRK: FloatArray
    is_paired: bool


@dataclass(frozen=True)
class Fidelity:
    """A distance with its interval over people, the mean ``floor`` of two halves of the people, and p of no more."""

    distance: Estimate
    floor: float
    p: float


def total_variation(item_C: IntArray) -> Distance:
    """The distance ½ Σ |p − q| of what is answered to an item, averaged over items that both groups answered.

    ``item_C``: which item each cell of counts is an answer to, ascending.
    """
    starts_I = np.flatnonzero(np.diff(item_C, prepend=-1))

    def distance(first_NC: FloatArray, second_NC: FloatArray) -> float:
        if not len(starts_I):
            return NAN
        shares = []
        answered_I = np.ones(len(starts_I), dtype=bool)
        for group_NC in (first_NC, second_NC):
            sum_C = group_NC.sum(0)
            total_I = np.add.reduceat(sum_C, starts_I)
            answered_I &= total_I > 0
            shares.append(sum_C / np.repeat(np.maximum(total_I, 1), np.diff([*starts_I, len(item_C)])))
        apart_I = 0.5 * np.add.reduceat(np.abs(shares[0] - shares[1]), starts_I)
        return float(apart_I[answered_I].mean()) if answered_I.any() else NAN

    return distance


def individual_distance(first_NF: FloatArray, second_NF: FloatArray) -> float:
    """Wasserstein-1 distance of what people differ in, averaged over features in units of the first group's SD.

    The SD is that of whoever is called the first group, so that a permutation of who is whose changes it as well: with
    the people's own in all of them, labels could not be exchanged.
    """
    from scipy.stats import wasserstein_distance  # here: --help would wait for it

    scale_F = sd_of_features(first_NF)
    apart = []
    for feature in np.flatnonzero(scale_F > 0):
        a, b = (group[:, feature][np.isfinite(group[:, feature])] for group in (first_NF, second_NF))
        if len(a) and len(a) == len(b):
            apart.append(float(np.abs(np.sort(a) - np.sort(b)).mean()) / scale_F[feature])
        elif len(a) and len(b):
            apart.append(float(wasserstein_distance(a, b)) / scale_F[feature])
    return float(np.mean(apart)) if apart else NAN


def fidelity(sessions: Sessions, distance: Distance, permutations: int, resamples: int, seed: int) -> Fidelity:
    """The distance of simulated sessions from people's.

    With replicates, the mean over them, each of as many sessions as there are people. Under the hypothesis that the
    model is one more person like these, a person's own session and its replicates can be exchanged; without pairs, all
    sessions. p = (1 + permutations that are as far apart) / (1 + permutations).

    References
    ----------
    Phipson & Smyth 2010, doi:10.2202/1544-6115.1585, on p values of permutations.
    """
    rng = np.random.default_rng(seed)
    value = _distance(sessions, distance)
    if not math.isfinite(value) or len(sessions.people_NK) < 4:
        return Fidelity(Estimate(value), NAN, NAN)
    permuted = [_distance(_exchanged(sessions, rng), distance) for _ in range(permutations)]
    p = (1 + sum(other >= value - 1e-12 for other in permuted)) / (1 + permutations)
    redrawn = [_distance(_redrawn(sessions, rng), distance) for _ in range(resamples)]
    n = len(sessions.people_NK)
    half_width = float(stdtrit(n - 1, (1 + CONFIDENCE) / 2)) * _finite_sd(redrawn) * math.sqrt(n / (n - 1))
    return Fidelity(
        Estimate(value, max(0.0, value - half_width), value + half_width), _floor(sessions, distance, rng), p
    )


def _distance(sessions: Sessions, distance: Distance) -> float:
    if not sessions.is_paired:
        return distance(sessions.people_NK, sessions.model_NRK[:, 0])
    of_replicates = [distance(sessions.people_NK, group) for group in np.moveaxis(sessions.model_NRK, 1, 0)]
    return float(np.mean(of_replicates))


def _exchanged(sessions: Sessions, rng: np.random.Generator) -> Sessions:
    n = len(sessions.people_NK)
    if not sessions.is_paired:
        pooled = np.concatenate([sessions.people_NK, sessions.model_NRK[:, 0]])[
            rng.permutation(n + len(sessions.model_NRK))
        ]
        return Sessions(pooled[:n], pooled[n:, None], is_paired=False)
    together = np.concatenate([sessions.people_NK[:, None], sessions.model_NRK], axis=1)
    everybody, chosen = np.arange(n), rng.integers(together.shape[1], size=n)
    people = together[everybody, chosen]
    together[everybody, chosen] = together[:, 0]
    return Sessions(people, together[:, 1:], is_paired=True)


def _redrawn(sessions: Sessions, rng: np.random.Generator) -> Sessions:
    n, m = len(sessions.people_NK), len(sessions.model_NRK)
    drawn = rng.integers(n, size=n)
    of_model = drawn if sessions.is_paired else rng.integers(m, size=m)
    return Sessions(sessions.people_NK[drawn], sessions.model_NRK[of_model], sessions.is_paired)


def _floor(sessions: Sessions, distance: Distance, rng: np.random.Generator) -> float:
    """What random halves of the people are apart, times what the larger numbers of the two groups leave of it."""
    n, m = len(sessions.people_NK), len(sessions.model_NRK)
    halves = []
    for _ in range(N_SPLITS):
        order = rng.permutation(n)
        halves.append(distance(sessions.people_NK[order[: n // 2]], sessions.people_NK[order[n // 2 :]]))
    of_halves = 1 / (n // 2) + 1 / (n - n // 2)
    known = np.array(halves)[np.isfinite(halves)]
    return float(known.mean()) * math.sqrt((1 / n + 1 / m) / of_halves) if len(known) else NAN


def sd_ratio(sessions: Sessions, resamples: int, seed: int) -> Estimate:
    """How much simulated people differ from one another against how much people do: below 1, they are too alike.

    The geometric mean over features of SD(model) / SD(people), the model's over people within each replicate: 0,
    without an interval, where simulated people do not differ at all in something that people differ in.
    """
    rng = np.random.default_rng(seed)
    value = _log_sd_ratio(sessions)
    redrawn = [_log_sd_ratio(_redrawn(sessions, rng)) for _ in range(resamples)]
    n = len(sessions.people_NK)
    if not math.isfinite(value) or n < 3 or np.isfinite(redrawn).mean() < CONFIDENCE:
        return Estimate(math.exp(value))
    half_width = float(stdtrit(n - 1, (1 + CONFIDENCE) / 2)) * _finite_sd(redrawn) * math.sqrt(n / (n - 1))
    return Estimate(math.exp(value), math.exp(value - half_width), math.exp(value + half_width))


def _log_sd_ratio(sessions: Sessions) -> float:
    with np.errstate(all="ignore"):
        sd_F = sd_of_features(sessions.people_NK)
        sd_RF = np.array([sd_of_features(group) for group in np.moveaxis(sessions.model_NRK, 1, 0)])
        ratio_F = np.nansum(sd_RF, 0) / np.isfinite(sd_RF).sum(0) / sd_F
        known = ratio_F[np.isfinite(ratio_F)]
        return float(np.log(known).mean()) if len(known) else NAN


def _finite_sd(values: Sequence[float]) -> float:
    known = np.array(values)[np.isfinite(values)]
    return float(known.std()) if len(known) else NAN


def sd_of_features(group_NF: FloatArray) -> FloatArray:
    """SD over sessions of each feature (F,), NaN being none; NaN of fewer than two, 0 of equal ones."""
    counts = np.isfinite(group_NF).sum(0)
    centred = group_NF - np.nansum(group_NF, 0) / np.maximum(counts, 1)
    found: FloatArray = np.sqrt(np.nansum(centred**2, 0) / np.maximum(counts - 1, 1))
    largest_F = np.where(np.isfinite(group_NF), np.abs(group_NF), 0.0).max(0, initial=0.0)
    found[found <= _ROUNDING * largest_F] = 0.0
    found[counts < 2] = NAN
    return found


@dataclass(frozen=True)
class EffectFidelity:
    """A named effect in people and in the model, in its own unit, and what became of it.

    ``difference``: model − people, with p of no difference. ``margin``: what two halves of the people stay within in
    95 % of splits: a difference that is surely within it counts as none.
    """

    people: Estimate
    model: Estimate
    difference: Estimate
    margin: float
    is_within_margin: bool

    @property
    def ratio(self) -> float:
        """model / people."""
        return self.model.value / self.people.value if self.people.value else NAN

    def verdict(self, differs: bool) -> str:
        """What became of the effect; ``differs``: whether the difference counts, among all that were asked."""
        if not self.people.excludes_zero:
            return "differs, none in people" if differs else "none in people"
        if differs:
            if not self.model.excludes_zero:
                return "absent"
            if self.model.value * self.people.value < 0:
                return "reversed"
            return "attenuated" if abs(self.model.value) < abs(self.people.value) else "exaggerated"
        return "reproduced" if self.is_within_margin else "cannot be told"


def effect_fidelity(people_N: FloatArray, model_NR: FloatArray, is_paired: bool) -> EffectFidelity:
    """An effect, one value per session (NaN: it has none), of the people and the model; intervals are over people.

    References
    ----------
    Two one-sided tests of equivalence: Schuirmann 1987, doi:10.1007/BF01068419; unequal variances: Welch 1947,
    doi:10.1093/biomet/34.1-2.28.
    """
    with np.errstate(all="ignore"):
        model_N = np.nansum(model_NR, 1) / np.isfinite(model_NR).sum(1)
    people, model = _mean(people_N), _mean(model_N)
    largest = float(np.abs(np.nan_to_num([people_N, model_N])).max(initial=0.0)) if is_paired else 0.0
    difference = _mean(model_N - people_N, largest) if is_paired else _apart(people, model)
    return _effect_fidelity(people, model, difference)


def effect_of_groups(people: Mean, model: Mean) -> EffectFidelity:
    """An effect of people, and of a model in the place of others, each with its standard error."""
    return _effect_fidelity(people, model, _apart(people, model))


def _apart(people: Mean, model: Mean) -> Mean:
    """model − people of two groups, with Welch's degrees of freedom."""
    (value_people, error_people, _), (value_model, error_model, _) = people, model
    error = math.hypot(error_people, error_model)
    parts = [(e**4 / f) if f > 0 else NAN for _, e, f in (people, model)]
    return value_model - value_people, error, error**4 / sum(parts) if sum(parts) > 0 else NAN


def _effect_fidelity(people: Mean, model: Mean, difference: Mean) -> EffectFidelity:
    value, error, freedom = difference
    margin = _SEES * 2 * people[1]
    bound = abs(value) + (float(stdtrit(freedom, CONFIDENCE)) * error if freedom > 0 else NAN)
    if not error > 0:  # where all differ alike, nothing is known of how others would
        return EffectFidelity(_estimate(*people), _estimate(*model), Estimate(value), margin, is_within_margin=False)
    return EffectFidelity(_estimate(*people), _estimate(*model), _estimate(*difference), margin, bool(bound <= margin))


def _mean(values_N: FloatArray, largest: float = 0.0) -> Mean:
    """Mean, its standard error and degrees of freedom; ``largest``: of what the values were computed from."""
    known = values_N[np.isfinite(values_N)]
    if len(known) < 2:
        return (float(known.mean()) if len(known) else NAN), NAN, NAN
    spread = float(known.std(ddof=1))
    if spread <= _ROUNDING * max(largest, np.abs(known).max()):
        spread = 0.0
    return float(known.mean()), spread / math.sqrt(len(known)), len(known) - 1.0


def _estimate(value: float, error: float, freedom: float) -> Estimate:
    if not (math.isfinite(error) and freedom > 0):
        return Estimate(value)
    half_width = float(stdtrit(freedom, (1 + CONFIDENCE) / 2)) * error
    p = 2 * float(stdtr(freedom, -abs(value) / error)) if error else float(value == 0)
    return Estimate(value, value - half_width, value + half_width, p)


def holm(p_values: Sequence[float]) -> list[float]:
    """p values adjusted so that of a family one in twenty would have any below .05 by chance; NaN is in no family.

    References
    ----------
    Holm 1979, Scandinavian Journal of Statistics 6, 65-70.
    """
    known = sorted((p, i) for i, p in enumerate(p_values) if math.isfinite(p))
    adjusted, highest = [NAN] * len(p_values), 0.0
    for rank, (p, i) in enumerate(known):
        highest = max(highest, min(1.0, (len(known) - rank) * p))
        adjusted[i] = highest
    return adjusted
